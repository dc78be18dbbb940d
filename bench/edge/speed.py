"""The reference architecture's comparison of its origin with its CDN, by `leeward speed`: an origin that takes
as long as the reference's did."""

import http.server
import json
import subprocess
import sys
import threading
import time

import candidates
import rig

REQUESTS = 10
SLOW_ORIGIN = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ o: {{ servers: [{servers}] }} }}
cache_policies: {{ all: {{ }} }}
routes: [{{ origins: o, cache: all }}]
"""
# What the reference measured, in seconds: (from the origin, through its CDN).
REFERENCE = {"AWS, CloudFront": (3.84884, 0.61560), "GCP, Cloud CDN": (0.3125, 0.0495)}


class _Slow(http.server.BaseHTTPRequestHandler):
    """Answers after `seconds`, with what a cache may keep."""

    seconds = 0.0

    def do_GET(self):
        time.sleep(self.seconds)
        body = b"x" * 10240
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def speed(run):
    rows = [["reference", "origin ms", "edge ms", "lower by", "the reference's"]]
    results = {}
    for name, (slow, fast) in REFERENCE.items():
        _Slow.seconds = slow
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as origin:
            threading.Thread(target=origin.serve_forever, daemon=True).start()
            with candidates.leeward(run, [origin.server_port], SLOW_ORIGIN) as edge:
                done = subprocess.run(
                    [rig.binary("leeward"), "speed", f"http://127.0.0.1:{origin.server_port}/page", "--edge",
                     f"127.0.0.1:{edge.port}", "-n", str(REQUESTS), "-o", "json"],
                    capture_output=True, text=True, timeout=300, check=False)
            origin.shutdown()
        if done.returncode != 0:
            sys.exit(f"leeward speed: {done.stderr}")
        seen = results[name] = json.loads(done.stdout)["urls"][0]
        rows.append([name, *(f"{1000 * seen[way]['mean']:.1f}" for way in ("direct", "edge")),
                     f"{seen['mean_percent_lower']:.1f} %", f"{100 * (1 - fast / slow):.1f} %"])
    rig.table(rows)
    return results
