#!/bin/sh
# What the edge costs and what it saves, against the proxies that people know.
#
#   ROUNDS=3 SECONDS=4 bench/edge/run.sh [hits] [paced] [objects] [failover] [collapse] [speed] [waf] [attack] [waf-attack] [limits]     (default: all)
#
# hits      cached hits of 1 KiB and 100 KiB over 64 keep-alive connections, by HTTP/1.1, and of 1 KiB by
#           HTTPS and HTTP/2; misses of 1 KiB; beside the peers a responder that only reads and writes
#           (responder.cc), which is what this machine can do at all, and is the origin too. Server on one
#           core, load (load.cc; by HTTPS and HTTP/2 h2load) and origin on the other.
# paced     latency of 1 KiB hits at half of the fastest peer's rate. "of windows": the median of the p99s of
#           successive 10,000 requests, which a machine that stands still now and then spoils less.
# objects   memory after a million (OBJECTS) different objects of 1 KiB.
# failover  1,000 requests/s (RATE) in an open loop, nine GETs to a POST; one of two origins is lost for
#           6 s: refused, hung, or answering 503. Lost requests, GETs above 500 ms, time to fail back.
# collapse  100 clients ask at once for what is not cached; the origin takes 500 ms.
# speed     what the reference architecture compared: `leeward speed` with an origin as slow as its own.
# waf       the same rules (OWASP's CRS) in the edge and in nginx with ModSecurity 3: GET/s, POST of
#           2 KiB of JSON/s; small GETs one after the other while two clients post a megabyte each. Medians.
#           Then p99 of the same GET and POST at 500 requests/s in an open loop, with the firewall and without.
# attack    400 requests/s, half of them cached, half proxied, with and without an attack, in turn: slow heads and
#           bodies (1,000 connections each), large heads, many fields, HPACK bombs, rapid reset, CONTINUATION,
#           PING, SETTINGS and unknown frames (16 connections that come back), 50,000 (IDLE) idle connections.
#           p99 and how the edge ended the attackers' connections. Some only: ATTACKS="rapid reset,idle".
#           "idle elsewhere": as many idle connections, but at bare responders beside the edge on its core; what the
#           load feels of these is the machine's.
#           Attackers share the load's core when it is idle (SCHED_IDLE), and are bounded in number and time.
# waf-attack  the same load behind OWASP's CRS, and requests that are dear to inspect: JSON and XML 100,000 deep,
#           100,000 parameters, 10,000 parts, packed bodies, large fields, a megabyte of what nearly matches.
# limits    a rate rule at 100,000 requests/s in an open loop, a million addresses of which a thousand ask too
#           often, for 30 s (LIMIT_SECONDS), in one process: how much passes of what may, per address; the table.
#
# How to read hits: candidates take turns, ratios are of one round. "limit" says which side had no time
# left. Where it says "client" the server could have done more; its CPU per request then compares.
# "other load" means that the machine was too busy for the rates to say anything.
#
# Needed: nghttp2-client (h2load). Peers where installed: nginx, haproxy, varnish;
# for waf nginx with libnginx-mod-http-modsecurity, and modsecurity-crs.
set -eu
cd "$(dirname "$0")/../.."
ninja -C "${BUILD:-build/release}" leeward leeward-bench-responder leeward-bench-load leeward-bench-limits >/dev/null
exec /usr/bin/python3 bench/edge/measure.py "$@"
