"""Finding and ending the processes of a site.

Every process of a run inherits two environment variables from the `leeward up` that started it. They
identify it wherever it was re-parented to, in both network layouts, and never match a stranger.
"""

import os
import signal
import time

RUN_VARIABLE = "LEEWARD_STORM_RUN"
SITE_VARIABLE = "LEEWARD_STORM_SITE"


def _environment(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def command_line(pid):
    """argv of a process; empty when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def of_run(run_id, site=None):
    """Pids of the run's living processes, of one site or of all."""
    wanted = {f"{RUN_VARIABLE}={run_id}".encode()}
    if site:
        wanted.add(f"{SITE_VARIABLE}={site}".encode())
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if wanted <= set(_environment(pid)) and _alive(pid)]


def runs():
    """Identities of all runs that have a living process on this machine."""
    prefix = f"{RUN_VARIABLE}=".encode()
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            for entry in _environment(name):
                if entry.startswith(prefix) and _alive(int(name)):
                    found.add(entry[len(prefix):].decode(errors="replace"))
    return found


def role(run_id, site, name):
    """Pids of `leeward NAME` at a site."""
    return [pid for pid in of_run(run_id, site)
            if (argv := command_line(pid)) and os.path.basename(argv[0]) == "leeward"
            and name in argv[1:2]]


def server(run_id, site, name):
    """Pids of another program at a site, by the name that it was called by."""
    return [pid for pid in of_run(run_id, site)
            if (argv := command_line(pid)) and os.path.basename(argv[0].split(" ")[0]) == name]


def _in_function(pid):
    """Whether a process runs in a function's sandbox, by its control group."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return "/leeward-function-" in file.read()
    except OSError:
        return False


def _running(pids, names):
    """Those of `pids` that are Python programs; `names` are the ends of their paths."""
    return [pid for pid in pids
            if (argv := command_line(pid)) and "python" in os.path.basename(argv[0])
            and any(word.endswith(names) for word in argv[1:])]


def functions(names):
    """Pids of Python programs in functions. Those of other runs count as well: their sandboxes do not
    tell whose they are."""
    return _running({int(name) for name in os.listdir("/proc") if name.isdigit() and _in_function(name)},
                    names)


def instances(run_id, site, names):
    """Pids of Python programs at a site that its agent started."""
    return _running(of_run(run_id, site), names)


def programs(run_id, site, names):
    """Both."""
    return instances(run_id, site, names) + functions(names)


def send(pids, signal_number):
    """Signals each; one that is gone already is no error. Returns how many got it."""
    count = 0
    for pid in pids:
        try:
            os.kill(pid, signal_number)
            count += 1
        except ProcessLookupError:
            pass
    return count


def kill_all(run_id, site=None, seconds=10.0):
    """SIGKILLs until nothing is left; a supervisor may start another child while we count.

    Returns how many processes were killed; raises TimeoutError when some survive the deadline.
    """
    deadline = time.monotonic() + seconds
    killed = 0
    while pids := of_run(run_id, site):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of {site or run_id} cannot be killed")
        killed += send(pids, signal.SIGKILL)
        time.sleep(0.01)
    return killed
