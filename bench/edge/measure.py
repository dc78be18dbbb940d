"""The edge's benchmark; run.sh says what it measures."""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
import rig  # noqa: E402
import attack  # noqa: E402
import candidates  # noqa: E402
import failover  # noqa: E402
import objects  # noqa: E402
import paced  # noqa: E402
import speed  # noqa: E402
import waf  # noqa: E402
import waf_attack  # noqa: E402

CONNECTIONS = 64
HERD, HERD_SECONDS = 100, 0.5
# name: (path, protocol)
LOADS = {"1 KiB": ("/1k.bin", "h1"), "100 KiB": ("/100k.bin", "h1"), "1 KiB HTTPS": ("/1k.bin", "tls"),
         "1 KiB HTTP/2": ("/1k.bin", "h2"), "miss 1 KiB": ("/miss/1k.bin", "h1")}


def h1_load(candidate, path, seconds):
    """One run of load.cc."""
    argv = [rig.binary("leeward-bench-load"), str(candidate.port), path, str(CONNECTIONS), str(seconds)]
    run = rig.loaded_run(argv, [candidate.server], seconds + 30)
    return {**run, "us": 1e6 * run["server_cpu_seconds"] / max(1.0, run["rate"] * run["seconds"])}


def h2load(candidate, path, protocol, seconds):
    """The same by HTTPS or HTTP/2."""
    argv = ["h2load", "-t1", f"-c{CONNECTIONS}", "-D", str(seconds), "--warm-up-time=1",
            *(["-m8"] if protocol == "h2" else ["--h1"]), f"https://127.0.0.1:{candidate.tls}{path}"]
    before, used = candidate.server.cpu(), resource.getrusage(resource.RUSAGE_CHILDREN)
    began, busy = time.monotonic(), rig.busy_seconds()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=False,
                          preexec_fn=rig.pinned(rig.CLIENT_CORE))
    wall = time.monotonic() - began
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    total = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
    if done.returncode != 0 or not rate or not total or int(total[2]) + int(total[3]) > 0 \
            or "2xx" not in done.stdout:
        sys.exit(f"h2load against {candidate.name}: {done.stdout[-800:]}{done.stderr[-400:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    server = candidate.server.cpu() - before
    # CPU includes the second of warming up; requests are those of the measured time.
    requests = float(rate[1]) * wall
    return {"rate": float(rate[1]), "us": 1e6 * server / max(1.0, requests),
            "server_core": server / wall, "client_core": client / wall,
            "others": max(0.0, (rig.busy_seconds() - busy - client - server) / wall)}


def hits(run, seconds, rounds):
    makers = candidates.makers()
    runs = {}
    with candidates.responder(run, rig.CLIENT_CORE) as origin:
        for _ in range(rounds):
            for name in ["responder", *makers]:
                made = candidates.responder(run) if name == "responder" else makers[name](run, [origin.port])
                with made as candidate:
                    for load, (path, protocol) in LOADS.items():
                        if (protocol != "h1" and not candidate.tls) or \
                                (name == "responder" and load not in ("1 KiB", "100 KiB")):
                            continue
                        runs.setdefault((load, name), []).append(
                            h1_load(candidate, path, seconds) if protocol == "h1"
                            else h2load(candidate, path, protocol, seconds))
    rows = [["load", "server", "requests/s", "µs CPU", "leeward's ratio to it", "limit"]]
    for (load, name), measured in runs.items():
        ratio = rig.paired_ratio([r["rate"] for r in runs[load, "leeward"]],
                                 [r["rate"] for r in measured])
        rows.append([load, name, rig.show(rig.spread(r["rate"] for r in measured)),
                     f"{min(r['us'] for r in measured):.1f}",
                     "" if name == "leeward" else rig.show(ratio, 2), rig.limit(measured)])
    rig.table(rows)
    return {f"{load}, {name}": measured for (load, name), measured in runs.items()}


def lose(run, rate):
    rows = [["server", "loss", "GET lost", "POST lost", "GET > 500 ms", "longest GET", "fail-back"]]
    results = {}
    for name, make in candidates.makers().items():
        for how in failover.LOSSES:
            with contextlib.ExitStack() as stack:
                a = failover.Origin(rig.free_port(), "A", run)
                stack.callback(a.stop)
                b = failover.Origin(rig.free_port(), "B", run)
                stack.callback(b.stop)
                for origin in (a, b):
                    while not rig.accepts(origin.port):
                        time.sleep(0.02)
                candidate = stack.enter_context(make(run, [a.port, b.port]))
                time.sleep(1.5)  # for everybody's health checks
                seen = results[f"{name}, {how}"] = failover.run(candidate.port, rate, a, how)
            back = seen["failback_seconds"]
            rows.append([name, how, f"{seen['get_lost']} of {seen['get']}", str(seen["post_lost"]),
                         str(seen["get_slow"]), f"{seen['get_max_seconds']:.2f} s",
                         "never" if back is None else f"{back:.2f} s"])
    rig.table(rows)
    return results


async def _herd(port, origin_port):
    fetched = 0

    async def answer(reader, writer):
        nonlocal fetched
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"GET /herd" in head:
                    fetched += 1
                    await asyncio.sleep(HERD_SECONDS)
                writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1024\r\n\r\n"
                             + b"x" * 1024)
                await writer.drain()
                if b"\r\nconnection: close" in head.lower():
                    break  # Varnish's probes wait for that
        writer.close()

    async def get():
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /herd HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        data = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return time.monotonic() - began if data.startswith(b"HTTP/1.1 200") else None

    async with await asyncio.start_server(answer, "127.0.0.1", origin_port, backlog=512):
        await asyncio.sleep(1.5)  # for everybody's health checks
        times = await asyncio.gather(*[get() for _ in range(HERD)])
    answered = [t for t in times if t is not None]
    return {"fetches": fetched, "answered": len(answered), "longest_seconds": max(answered, default=0)}


def collapse(run):
    rows = [["server", "origin fetches", "answered", "longest"]]
    results = {}
    for name, make in candidates.makers().items():
        port = rig.free_port()
        with make(run, [port]) as candidate:
            seen = results[name] = asyncio.run(_herd(candidate.port, port))
        rows.append([name, str(seen["fetches"]), f"{seen['answered']} of {HERD}",
                     f"{1000 * seen['longest_seconds']:.0f} ms"])
    rig.table(rows)
    return results


def limits(seconds):
    done = subprocess.run([rig.binary("leeward-bench-limits"), str(seconds)], capture_output=True, text=True,
                          timeout=seconds + 60, check=True, preexec_fn=rig.pinned(rig.CLIENT_CORE))
    seen = json.loads(done.stdout)
    rig.table([["requests/s", "addresses", "passed of allowed", "worst address", "quiet refused", "ns a request",
                "table"],
               [f"{seen['requests_per_second']:.0f}", f"{seen['addresses']}",
                f"{100 * seen['loud_passed_of_allowed']:.2f} %", f"{100 * seen['worst_address_off']:.2f} % off",
                f"{seen['quiet_refused']}", f"{seen['ns_per_request']:.0f}",
                f"{seen['table_bytes'] / (1 << 20):.1f} MiB"]])
    return seen


def main():
    wanted = sys.argv[1:] or ["hits", "paced", "objects", "failover", "collapse", "speed", "waf",
                              "attack", "waf-attack", "limits"]
    if not rig.installed("h2load", "nghttp2-client"):
        sys.exit("h2load makes the load by HTTPS and HTTP/2")
    results = {}
    with tempfile.TemporaryDirectory(prefix="leeward-bench-edge.") as folder:
        run = pathlib.Path(folder)
        candidates.prepare(run)
        if "hits" in wanted:
            results["hits"] = hits(run, rig.environment_number("SECONDS", 4), rig.rounds())
        if "paced" in wanted:
            results["paced"] = paced.paced(run, rig.environment_number("SECONDS", 4), rig.rounds())
        if "objects" in wanted:
            results["objects"] = objects.objects(run, rig.environment_number("OBJECTS", 1_000_000))
        if "failover" in wanted:
            results["failover"] = lose(run, rig.environment_number("RATE", 1000))
        if "collapse" in wanted:
            results["collapse"] = collapse(run)
        if "speed" in wanted:
            results["speed"] = speed.speed(run)
        if "waf" in wanted:
            results["waf"] = waf.waf(run, rig.environment_number("SECONDS", 4), rig.rounds())
        if "attack" in wanted:
            results["attack"] = attack.attack(run, rig.environment_number("SECONDS", 4), rig.rounds())
        if "waf-attack" in wanted:
            results["waf-attack"] = waf_attack.waf_attack(run, rig.environment_number("SECONDS", 4), rig.rounds())
        if "limits" in wanted:
            results["limits"] = limits(rig.environment_number("LIMIT_SECONDS", 30))
    rig.write_json("edge", results)


if __name__ == "__main__":
    os.umask(0o022)
    main()
