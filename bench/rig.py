"""What the benchmarks share: pinned servers that end with the benchmark, CPU accounting, the report.

A measurement takes turns: one round runs every candidate once, and candidates are compared within a
round, so that a busy minute of the host hits all of them. Servers run on one core and the load on
another. A figure says nothing unless it is known which side was the limit, so each run also counts
the CPU time of both sides and of everything else.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian has the servers
ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve()
TICKS = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]
_PR_SET_PDEATHSIG = 1
_FULL = 0.9  # a side that uses so much of its core is the limit


def environment_number(name, default, kind=int):
    """A positive number from the environment, e.g. ROUNDS=5."""
    try:
        value = kind(os.environ.get(name, default))
    except ValueError:
        value = 0
    if value <= 0:
        sys.exit(f"{name}={os.environ[name]}: write a positive number")
    return value


def rounds():
    return max(3, environment_number("ROUNDS", 3))


def binary(name):
    return str(BUILD / "bin" / name)


def installed(program, package):
    """Whether a peer's program is there; says how to get it if not."""
    found = shutil.which(program) is not None
    if not found:
        print(f"skipped: {program} is not installed (apt-get install --no-install-recommends {package})")
    return found


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core):
    """For preexec_fn: on one core, and killed when the benchmark dies."""
    def prepare():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, {core})
    return prepare


class Server:
    """A server in the foreground on the server core. Its process group is counted and ended with it."""

    def __init__(self, argv, log, core=SERVER_CORE):
        self._name = pathlib.Path(argv[0]).name
        self._log = pathlib.Path(log)
        with open(self._log, "wb") as out:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                             start_new_session=True, preexec_fn=pinned(core))

    def _stats(self):
        """{process id: fields of /proc/ID/stat after the name} of the process group."""
        found = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # that process has just ended
            if int(fields[2]) == self._process.pid:
                found[int(stat.parent.name)] = fields
        return found

    def processes(self):
        return list(self._stats())

    def cpu(self):
        """CPU seconds of the process group so far."""
        return sum(int(f[11]) + int(f[12]) for f in self._stats().values()) / TICKS

    def wait_until(self, ready, seconds=30):
        """Waits until ready() is true; ends the benchmark if the server dies or stays silent."""
        end = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                sys.exit(f"{self._name} did not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.02)

    def stop(self):
        for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass
            try:
                self._process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue


def accepts(port):
    """Whether something listens on a TCP port of 127.0.0.1."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def run_json(argv, seconds, core=CLIENT_CORE):
    """Runs a program to its end on the client core; its output is one JSON object."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=seconds, text=True, check=False,
                          preexec_fn=pinned(core))
    if done.returncode != 0:
        sys.exit(f"{pathlib.Path(argv[0]).name} ended with status {done.returncode}")
    return json.loads(done.stdout)


def busy_seconds():
    """CPU seconds that our two cores were not idle (and not stolen by the host) since boot."""
    wanted = {f"cpu{core}" for core in (SERVER_CORE, CLIENT_CORE)}
    ticks = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in wanted:
            user, nice, system, _, _, irq, softirq = map(int, fields[:7])
            ticks += user + nice + system + irq + softirq
    return ticks / TICKS


def loaded_run(argv, servers, seconds):
    """run_json of a load generator that reports cpu_seconds and seconds, with who was busy."""
    before, busy = [s.cpu() for s in servers], busy_seconds()
    result = run_json(argv, seconds)
    wall = result["seconds"]
    used = [s.cpu() - b for s, b in zip(servers, before)]
    result["server_cpu_seconds"] = sum(used)
    result["server_core"] = sum(used) / wall
    result["client_core"] = result["cpu_seconds"] / wall
    result["others"] = max(0.0, (busy_seconds() - busy - sum(used) - result["cpu_seconds"]) / wall)
    return result


def limit(runs):
    """Which side the runs were limited by, in words."""
    server = statistics.median(r["server_core"] for r in runs)
    client = statistics.median(r["client_core"] for r in runs)
    if SERVER_CORE == CLIENT_CORE:
        return "shared core"
    if server >= _FULL:
        return "both" if client >= _FULL else "server"
    if client >= _FULL:
        return "client"
    return "other load" if statistics.median(r["others"] for r in runs) > 0.15 else "waiting"


def spread(values):
    """median, min, max."""
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def paired_ratio(ours, theirs):
    """Ours divided by theirs, round by round."""
    return spread(a / b for a, b in zip(ours, theirs))


def show(value, digits=0):
    """A spread as text: median (min - max)."""
    return f"{value['median']:.{digits}f} ({value['min']:.{digits}f} - {value['max']:.{digits}f})"


def percent(runs, key):
    return f"{100 * statistics.median(r[key] for r in runs):.0f}"


def table(rows):
    """Prints rows of text; the first is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def write_json(name, results):
    """Writes build/bench/NAME.json: the results and the machine they are from."""
    machine = {"cores": len(_CORES), "server_core": SERVER_CORE, "client_core": CLIENT_CORE,
               "load_average": os.getloadavg()[0], "kernel": os.uname().release}
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"benchmark": name, "machine": machine, **results}, indent=2) + "\n")
    print(f"load average {machine['load_average']:.1f}; the same as JSON: {path.relative_to(ROOT)}")
