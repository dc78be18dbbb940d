#!/bin/sh
# How fast `leeward dns` answers over UDP, against the authoritative servers gdnsd, Knot and NSD.
#
#   ROUNDS=3 SECONDS=2 bench/dns/run.sh      (at least 3 rounds; seconds of one run)
#
# Static: 100 names with one A record. Failover: 100 names whose answer follows the active site
# (ours), or a monitored service (gdnsd's multifo). All servers have one UDP thread on the same core,
# the load is on another, and they take turns: each round asks every server once.
#
# How to read it. "ratio" is ours divided by the peer's in the same round; above 1 we are faster.
# "limit" says which side had no time left. Only with "server" is answers/s a figure of the server;
# with "client" it is one of the load generator, and the server could do more: compare the CPU
# microseconds per answer instead. On loopback a sender also pays for the delivery to the receiver's
# socket, so most of these microseconds are the kernel's, for every server alike. "others" is the CPU
# that neither side used, in percent of one core. "other load" means that the machine was too busy for
# a rate: only the CPU per answer says something then, and a quiet machine says more.
set -eu
cd "$(dirname "$0")/../.."
ninja -C "${BUILD:-build/release}" leeward leeward-bench-dns >/dev/null
exec /usr/bin/python3 bench/dns/measure.py
