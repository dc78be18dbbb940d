"""Requests through a firewall with OWASP's rules: our edge with its engine against nginx with ModSecurity.
Same rules file, no cache on the way, one core for each server."""

import pathlib
import re
import socket
import statistics
import subprocess
import threading
import time

import candidates
import rig

OPEN_LOOP = "500"  # requests a second whose latency is measured

RULES = """SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^application/json" \\
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
Include /etc/modsecurity/crs/crs-setup.conf
Include /usr/share/modsecurity-crs/rules/*.conf
"""
# For what is no JSON: XML, and bodies that cannot be read.
BODY_RULES = """SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\\+|/)|text/)xml" \\
    "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400"
"""
NGINX = """load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;
daemon off; worker_processes 1; pid {run}/waf.pid; error_log {run}/waf.err crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; client_max_body_size 4m; {temporary}
 client_body_buffer_size 2m; upstream o {{ server 127.0.0.1:{origin}; keepalive 64; }}
 server {{ listen 127.0.0.1:{port} backlog=1024; modsecurity on; modsecurity_rules_file {run}/rules.conf;
  location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""
LEEWARD = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ o: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: o, writer: none }}]
threads: 1
"""
FIREWALL = "firewall: {{ rules_file: {run}/rules.conf, mode: block, workers: 2, inspection_timeout: 1m }}\n"
ORIGIN = """daemon off; worker_processes 1; pid {run}/waf-origin.pid; error_log {run}/waf-origin.err;
events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 100000000; client_max_body_size 4m; {temporary}
 server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{body}"; }} }} }}
"""


def _origin(run):
    port = rig.free_port()
    config = run / "waf-origin.conf"
    config.write_text(ORIGIN.format(run=run, port=port, body="x" * 1024,
                                    temporary=candidates.temporary(run, "wo")))
    server = rig.Server(["nginx", "-c", str(config)], run / "waf-origin.log", rig.CLIENT_CORE)
    server.wait_until(lambda: rig.accepts(port))
    return server, port


def _nginx(run, origin):
    port = rig.free_port()
    config = run / f"waf-{port}.conf"
    config.write_text(NGINX.format(run=run, port=port, origin=origin,
                                   temporary=candidates.temporary(run, "w")))
    return candidates.Candidate("nginx", rig.Server(["nginx", "-c", str(config)], run / "waf.log"), port)


def _leeward(run, origin, firewall=FIREWALL):
    import edge_rig
    port = rig.free_port()
    folder = run / f"waf-leeward-{port}"
    folder.mkdir()
    edge = edge_rig.Edge(folder, (LEEWARD + firewall).format(run=run, port=port, origin=origin))
    argv = [rig.binary("leeward"), "edge", "--config", str(edge.directory / "leeward.yaml"), "--site", "gcp"]
    return candidates.Candidate("leeward", rig.Server(argv, folder / "log"), port)


def _rate(candidate, seconds, more=()):
    argv = ["h2load", "-t1", "-c16", "-D", str(seconds), "--warm-up-time=1", "--h1", *more,
            "-H", "accept: */*", "-H", "user-agent: Mozilla/5.0",
            f"http://127.0.0.1:{candidate.port}/shop?article=17&size=XL"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=True,
                          preexec_fn=rig.pinned(rig.CLIENT_CORE))
    wrong = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
    if any(int(n) for n in wrong.groups()):
        raise SystemExit(f"{candidate.name}: {done.stdout[-600:]}")
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)[1])


def _ask(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=120) as s:
        s.sendall(data)
        reply = s.recv(65536)
        while b"\r\n\r\n" not in reply:
            reply += s.recv(65536)
        return int(reply.split()[1])


def _get_beside_uploads(candidate, seconds):
    """Milliseconds of small GETs, one after the other, while two clients post a megabyte each."""
    head = "Host: shop.test\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nConnection: close\r\n"
    body = (b"note=" + b"the+quick+brown+fox+" * 50_000)[:1_000_000]
    post = (f"POST /upload HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    get = f"GET /shop?article=17 HTTP/1.1\r\n{head}\r\n".encode()
    end = time.monotonic() + seconds
    uploads = []

    def upload():
        while time.monotonic() < end:
            uploads.append(_ask(candidate.port, post))

    threads = [threading.Thread(target=upload) for _ in range(2)]
    for thread in threads:
        thread.start()
    times = []
    while time.monotonic() < end:
        began = time.monotonic()
        if _ask(candidate.port, get) != 200:
            raise SystemExit(f"{candidate.name} refused a normal request")
        times.append(1000 * (time.monotonic() - began))
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    if set(uploads) != {200}:
        raise SystemExit(f"{candidate.name} answered uploads with {sorted(set(uploads))}")
    times.sort()
    return {"median_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)],
            "longest_ms": times[-1], "gets": len(times), "uploads": len(uploads)}


def _p99(candidate, seconds, *body):
    """Microseconds, of requests that fall due one after the other whatever became of those before."""
    argv = [rig.binary("leeward-bench-load"), str(candidate.port), "/shop?article=17&size=XL", "16",
            str(seconds + 1), OPEN_LOOP, *body]
    return 1e6 * rig.run_json(argv, seconds + 30)["p99"]


def added_latency(run, port, seconds, rounds):
    """p99 through our edge with the firewall less that without it, in turn."""
    added = {"get": [], "post": []}
    for _ in range(rounds):
        for kind, body in (("get", []), ("post", [str(run / "post.json")])):
            p99 = []
            for firewall in (FIREWALL, ""):
                with _leeward(run, port, firewall) as candidate:
                    p99.append(_p99(candidate, seconds, *body))
            added[kind].append({"with": p99[0], "without": p99[1], "added": p99[0] - p99[1]})
    rows = [[f"firewall, CRS: {OPEN_LOOP} requests/s", "p99 with", "p99 without", "added p99"]]
    for kind, measured in added.items():
        rows.append([kind.upper(), *(f"{rig.show(rig.spread(m[key] for m in measured))} µs"
                                     for key in ("with", "without", "added"))])
    rig.table(rows)
    return added


def waf(run, seconds, rounds):
    (run / "rules.conf").write_text(RULES)
    item = '{"article": %d, "size": "XL", "note": "with care", "tags": ["blue", "linen"]}'
    (run / "post.json").write_text('{"items": [' + ", ".join(item % i for i in range(26)) + "]}")
    post = ["-d", str(run / "post.json"), "-H", "content-type: application/json"]
    makers = {"leeward": _leeward}
    if pathlib.Path("/usr/lib/nginx/modules/ngx_http_modsecurity_module.so").exists():
        makers["nginx"] = _nginx
    runs = {name: [] for name in makers}
    origin, port = _origin(run)
    try:
        for _ in range(rounds):
            for name, make in makers.items():
                with make(run, port) as candidate:
                    runs[name].append({"get": _rate(candidate, seconds),
                                       "post": _rate(candidate, seconds, post),
                                       **_get_beside_uploads(candidate, 2 * seconds)})
        added = added_latency(run, port, seconds, rounds)
    finally:
        origin.stop()
    middle = {name: {key: statistics.median(r[key] for r in all_of) for key in all_of[0]}
              for name, all_of in runs.items()}
    rows = [["firewall, CRS", "GET/s", "POST 2 KiB/s", "GET beside 1 MB: median", "p99", "longest",
             "uploads"]]
    for name, m in middle.items():
        rows.append([name, f"{m['get']:.0f}", f"{m['post']:.0f}", f"{m['median_ms']:.1f} ms",
                     f"{m['p99_ms']:.0f} ms", f"{m['longest_ms']:.0f} ms", f"{m['uploads']:.0f}"])
    rig.table(rows)
    return {**middle, "added": added}
