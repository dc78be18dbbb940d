"""What a modest load on the edge feels of attacks, one after the other; run.sh says how it is measured."""

import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time

import attackers
import candidates
import rig

RATE, CONNECTIONS = 200, 8
LOADS = {"cached": "/1k.bin", "proxied": "/miss/1k.bin"}
IDLE, IDLE_PER_SOURCE = 50_000, 16_000  # a source address has 28,000 ports
SPARE_FILES = 1_000
ATTACKERS = pathlib.Path(attackers.__file__)
SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins:
  o: {{ servers: ["127.0.0.1:{origin}"] }}
  silent: {{ servers: ["127.0.0.1:{silent}"] }}
cache_policies: {{ all: {{ }} }}
routes:
  - {{ origins: o, cache: all, writer: none }}
  - {{ path: /silent, origins: silent, writer: none }}
threads: 1
"""


class Edge:
    """One or several processes that listen on the same port."""

    def __init__(self, run, origin, silent, processes=1, section=SECTION):
        import edge_rig
        self.port = rig.free_port()
        self._servers = []
        for number in range(processes):
            folder = run / f"attacked-{self.port}-{number}"
            folder.mkdir()
            edge = edge_rig.Edge(folder, section.format(port=self.port, origin=origin, silent=silent, run=run))
            self._servers.append(rig.Server(
                [rig.binary("leeward"), "edge", "--config", str(edge.directory / "leeward.yaml"),
                 "--site", "gcp"], folder / "log"))

    def __enter__(self):
        for server in self._servers:
            server.wait_until(lambda: rig.accepts(self.port))
        return self

    def __exit__(self, *_):
        for server in self._servers:
            server.stop()

    def cpu(self):
        return sum(server.cpu() for server in self._servers)

    def resident_bytes(self):
        status = "".join(pathlib.Path(f"/proc/{process}/status").read_text()
                         for server in self._servers for process in server.processes())
        return 1024 * sum(map(int, re.findall(r"VmRSS:\s+(\d+)", status)))


def quietly():
    """For attackers: on the client's core, when the load that is measured leaves it to them."""
    rig.pinned(rig.CLIENT_CORE)()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def felt(edge, seconds):
    """Both loads at once: {load: its result}, and the share of its core that the edge used."""
    used = edge.cpu()
    began = time.monotonic()
    running = {name: subprocess.Popen(
        [rig.binary("leeward-bench-load"), str(edge.port), path, str(CONNECTIONS), str(seconds), str(RATE)],
        stdout=subprocess.PIPE, text=True, preexec_fn=rig.pinned(rig.CLIENT_CORE))
        for name, path in LOADS.items()}
    results = {}
    for name, process in running.items():
        text, _ = process.communicate(timeout=seconds + 60)
        if process.returncode != 0:
            sys.exit(f"{name}: not every request was answered with 200")
        results[name] = json.loads(text)
        if results[name]["requests"] == 0:
            sys.exit(f"{name}: not one request fell into the time: other work has taken the machine")
    return results, (edge.cpu() - used) / (time.monotonic() - began)


def attacked(edge, name, seconds, script=ATTACKERS):
    """The loads while the attack lasts; what the attackers saw."""
    attack = subprocess.Popen([sys.executable, str(script), name, str(edge.port), str(seconds + 3)],
                              stdout=subprocess.PIPE, text=True, preexec_fn=quietly)
    time.sleep(1)  # until it is in full swing
    results, core = felt(edge, seconds)
    text, _ = attack.communicate(timeout=120)
    return results, core, json.loads(text)


@contextlib.contextmanager
def idle_connections(port, count):
    """`count` clients that have asked once and stay; from several source addresses."""
    running = []
    for number in range(0, count, IDLE_PER_SOURCE):
        some = min(IDLE_PER_SOURCE, count - number)
        running.append(subprocess.Popen(
            [sys.executable, str(ATTACKERS), "idle", str(port), str(some),
             f"127.0.0.{2 + number // IDLE_PER_SOURCE}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=quietly))
    try:
        yield sum(json.loads(process.stdout.readline())["kept"] for process in running)
    finally:
        for process in running:
            process.communicate(timeout=60)


def ratios(pairs, load):
    """The load's p99 without and with, and the second divided by the first, round by round."""
    calm = [1e6 * without[load]["p99"] for without, _ in pairs]
    hot = [1e6 * during[load]["p99"] for _, during in pairs]
    return [f"{statistics.median(calm):.0f}", f"{statistics.median(hot):.0f}",
            rig.show(rig.paired_ratio(hot, calm), 2)]


def idle(run, origin, silent, seconds, rounds):
    """Clients that do nothing, at the edge; and, to know what the machine does with so many, as many at bare
    responders that the load never sees.
    """
    import resource
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES
    wanted = rig.environment_number("IDLE", IDLE)
    processes = -(-wanted // files)
    if processes > 1:
        print(f"a process may open {files + SPARE_FILES} files here: {processes} edges share the port")
    with contextlib.ExitStack() as stack:
        edge = stack.enter_context(Edge(run, origin, silent, processes))
        others = [stack.enter_context(candidates.responder(run, rig.SERVER_CORE)) for _ in range(processes)]
        felt(edge, 1)
        before = edge.resident_bytes()
        measured = {"idle": ([], []), "idle elsewhere": ([], [])}
        for _ in range(rounds):
            calm, _ = felt(edge, seconds)
            for where, ports in {"idle": [edge.port], "idle elsewhere": [o.port for o in others]}.items():
                with contextlib.ExitStack() as clients:
                    kept = sum(clients.enter_context(idle_connections(port, wanted // len(ports)))
                               for port in ports)
                    if where == "idle":
                        each = (edge.resident_bytes() - before) / max(1, kept)
                    hot, core = felt(edge, seconds)
                pairs, cores = measured[where]
                pairs.append((calm, hot))
                cores.append(core)
    print(f"{kept} idle connections: {each:.0f} octets of the edge's memory each")
    return {where: (*of_it, f"{kept} kept") for where, of_it in measured.items()}


def chosen(names):
    """Of these attacks, those that ATTACKS names."""
    wanted = [n for n in os.environ.get("ATTACKS", "").split(",") if n]
    return [n for n in names if not wanted or n in wanted]


def in_turn(edge, names, seconds, measured, script=ATTACKERS):
    """One round: for each attack the loads without it and with it."""
    felt(edge, 1)
    for name in names:
        pairs, cores, saw = measured[name]
        calm, _ = felt(edge, seconds)
        hot, core, seen = attacked(edge, name, seconds, script)
        pairs.append((calm, hot))
        cores.append(core)
        for how, count in seen["ended"].items():
            saw[how] = saw.get(how, 0) + count


def attack(run, seconds, rounds):
    names = chosen([*attackers.ATTACKS, "idle"])
    measured = {name: ([], [], {}) for name in names}
    silent = socket.create_server(("127.0.0.1", 0), backlog=4096)  # the kernel answers, nobody else
    with candidates.responder(run, rig.CLIENT_CORE) as origin, silent:
        ports = origin.port, silent.getsockname()[1]
        for _ in range(rounds):
            with Edge(run, *ports) as edge:
                in_turn(edge, [n for n in names if n != "idle"], seconds, measured)
        if "idle" in names:
            measured.update(idle(run, *ports, seconds, rounds))
    return table(measured)


def table(measured):
    rows = [["attack", "load", "p99 µs without", "with", "ratio", "edge's core", "connections ended"]]
    for name, (pairs, cores, saw) in measured.items():
        ended = saw if isinstance(saw, str) else ", ".join(f"{how}: {n}" for how, n in sorted(saw.items()))
        for load in LOADS:
            rows.append([name, load, *ratios(pairs, load), f"{100 * statistics.median(cores):.0f} %", ended])
    rig.table(rows)
    return {name: {"pairs": pairs, "core": cores, "ended": saw}
            for name, (pairs, cores, saw) in measured.items()}
