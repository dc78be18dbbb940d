"""Start times of functions. run.sh says what is measured and how to read it."""

import base64
import http.client
import io
import json
import os
import pathlib
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve() / "bin"
RUNS = int(os.environ.get("RUNS", "100"))
STORM = 1000
SHOP = ROOT / "demo/shop"
GOALS = {"shop frozen": 3, "echo frozen": 3, "shop prepared": 20, "echo prepared": 20}


def archive(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100755 << 16
            z.writestr(info, data)
    return base64.b64encode(out.getvalue()).decode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    def __init__(self, state, *arguments):
        self.log = pathlib.Path(state + ".log")
        self.process = subprocess.Popen(
            [os.environ.get("LEEWARD_BINARY", BIN / "leeward"), "functions", "--listen", f"127.0.0.1:{free_port()}", "--state", state,
             *arguments, "--log-format", "json"], stderr=open(self.log, "ab"))
        deadline = time.monotonic() + 20
        while not (found := re.search(rb'"address":"127.0.0.1:(\d+)"', self._log())):
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("the function host did not start:\n" + self._log().decode())
            time.sleep(0.01)
        self.port = int(found[1])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)

    def _log(self):
        return self.log.read_bytes()

    def call(self, method, path, body=None):
        self.connection.request(method, path, body=body)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {data[:300]!r}")
        return data

    def api(self, method, path, **body):
        return json.loads(self.call(method, path, json.dumps(body)) or "null")

    def create(self, name, runtime, handler, files, **more):
        self.api("POST", "/2015-03-31/functions", FunctionName=name, Runtime=runtime,
                 Handler=handler, Role="arn:aws:iam::0:role/none", Code={"ZipFile": archive(files)},
                 Timeout=30, MemorySize=512, **more)

    def make_cold(self, name):
        """New settings end the environments that there are; the next invocation starts one."""
        self.api("PUT", f"/2015-03-31/functions/{name}/configuration",
                 Description=str(time.monotonic()))
        self.wait(name, lambda e: sum(e.values()) == 0)

    def wait(self, name, condition):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            functions = json.loads(self.call("GET", "/leeward/functions"))["functions"]
            if condition(next(f["environments"] for f in functions if f["name"] == name)):
                return
            time.sleep(0.002)
        sys.exit(f"{name} did not come to rest")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def timed(action):
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


def plain_start(port):
    """The web tier as a process, until /livez answers. Milliseconds."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        ["/usr/bin/python3", SHOP / "web.py"], cwd=SHOP, stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "SHOP_LISTEN": f"127.0.0.1:{port}", "SHOP_APP": "127.0.0.1:9",
             "SHOP_SITE": "bench", "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        # As sparing as the adapter's own waiting: this client must not take the time that it measures.
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    while s.recv(65536):
                        pass
                    return (time.perf_counter() - begin) * 1000
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()


def storm(port, method, path, body):
    """STORM requests at once, each on a connection of its own. Seconds until each answer."""
    request = (f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
               f"Connection: close\r\n\r\n{body}").encode()
    selector = selectors.DefaultSelector()
    begin = time.perf_counter()
    for _ in range(STORM):
        s = socket.socket()
        s.connect(("127.0.0.1", port))
        s.sendall(request)
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ, [time.perf_counter(), b""])
    times, good = [], 0
    while len(times) < STORM and time.perf_counter() - begin < 60:
        for key, _ in selector.select(1):
            data = key.fileobj.recv(65536)
            if data:
                key.data[1] += data
                continue
            times.append(time.perf_counter() - key.data[0])
            good += key.data[1].startswith(b"HTTP/1.1 200 ")
            selector.unregister(key.fileobj)
            key.fileobj.close()
    return sorted(times), good


def main():
    with tempfile.TemporaryDirectory() as folder:
        for arguments, measure in (
                (("--prepared", "0"), measure_starts),
                # What was used is gone at once, so that each request meets a prepared environment.
                (("--prepared", "1", "--keep-idle", "60ms"), measure_prepared)):
            host = Host(f"{folder}/{measure.__name__}", *arguments)
            try:
                measure(host, create(host))
            finally:
                host.stop()


def create(host):
    """The functions, and how each is asked."""
    shop = {str(p.relative_to(SHOP)): p.read_bytes() for p in SHOP.rglob("*")
            if p.is_file() and "__pycache__" not in p.parts}
    host.create("shop", "http", "/usr/bin/python3 web.py", shop, Environment={"Variables": {
        "SHOP_LISTEN": "127.0.0.1:8080", "SHOP_APP": "127.0.0.1:9", "SHOP_SITE": "bench"}})
    host.create("echo", "provided", "x", {"bootstrap": (BIN / "leeward-bench-function").read_bytes()})
    url = host.api("POST", "/2021-10-31/functions/shop/url", AuthType="NONE")["FunctionUrl"]
    livez = re.sub(r"^http://[^/]+", "", url) + "livez"
    return {"shop": lambda: host.call("GET", livez),
            "echo": lambda: host.call("POST", "/2015-03-31/functions/echo/invocations", '"x"')}, livez


def tell(results):
    print(f"{'':22}{'median':>9}{'p90':>9}{'max':>9}   milliseconds, {RUNS} runs")
    for name in sorted(results):
        values = sorted(results[name])
        median = statistics.median(values)
        goal = GOALS.get(name)
        if name == "shop cold":
            goal = statistics.median(results["shop plain process"]) + 20
        mark = "" if goal is None else f"   goal {goal:.1f}: {'met' if median <= goal else 'MISSED'}"
        print(f"{name:22}{median:9.2f}{values[int(len(values) * 0.9)]:9.2f}{values[-1]:9.2f}{mark}")


def measure_prepared(host, functions):
    results = {}
    for name, ask in functions[0].items():
        ask()
        for _ in range(RUNS):
            host.wait(name, lambda e: e["prepared"] == 1 and sum(e.values()) == 1)
            time.sleep(0.06)  # it is frozen by now
            results.setdefault(f"{name} prepared", []).append(timed(ask))
        used = next(f for f in json.loads(host.call("GET", "/leeward/functions"))["functions"]
                    if f["name"] == name)
        if (used["cold_starts"], used["prepared_starts"]) != (1, RUNS):
            sys.exit(f"{name}: {used['prepared_starts']} of {RUNS} were prepared")
    tell(results)


def measure_starts(host, functions):
    asks, livez = functions
    results = {}

    def note(name, milliseconds):
        results.setdefault(name, []).append(milliseconds)

    port = free_port()
    for _ in range(RUNS):
        note("shop plain process", plain_start(port))
        for name, ask in asks.items():
            host.make_cold(name)
            note(f"{name} cold", timed(ask))
            note(f"{name} warm", timed(ask))
            host.wait(name, lambda e: e["frozen"] == 1)
            note(f"{name} frozen", timed(ask))

    tell(results)
    for name, method, path, body in (
            ("echo", "POST", "/2015-03-31/functions/echo/invocations", '"x"'),
            ("shop", "GET", livez, "")):
        host.make_cold(name)
        times, good = storm(host.port, method, path, body)
        p99 = times[int(len(times) * 0.99) - 1] if times else float("inf")
        print(f"storm of {STORM} on a cold {name}: {good} answered by 200, p50 {times[len(times) // 2]:.2f} s, "
              f"p99 {p99:.2f} s   goal 2 s: {'met' if good == STORM and p99 <= 2 else 'MISSED'}")


if __name__ == "__main__":
    main()
