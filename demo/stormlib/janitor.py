"""Cleans up after a run, whatever ended it.

The harness starts this as a process of its own session and keeps the write end of its standard input.
When the harness ends, by itself, by Ctrl-C or by SIGKILL, that end closes; the janitor then kills the
run's processes and deletes its namespaces. It is the only place where a run is cleaned up.

  python3 -m stormlib.janitor RUN_ID OWNER_PID
"""

import os
import signal
import sys

from stormlib import groups, namespaces, processes


def clean(run_id, owner_pid):
    """Ends a run; safe to repeat."""
    processes.kill_all(run_id)
    if not groups.in_use():
        groups.remove_empty()
    namespaces.delete_of(owner_pid)


def sweep():
    """Ends the leftovers of runs whose owner and janitor both died."""
    for run_id in processes.runs():
        owner = run_id.partition("-")[0]
        if owner.isdigit() and not _is_ours(int(owner)):
            clean(run_id, int(owner))
    for owner in namespaces.owners():
        if not _is_ours(owner):
            namespaces.delete_of(owner)


def _is_ours(pid):
    """True while `pid` runs the storm or the tests; a pid may have been given to somebody else."""
    words = " ".join(processes.command_line(pid))
    return "storm" in words or "pytest" in words


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run_id, owner_pid = sys.argv[1], int(sys.argv[2])
    while os.read(0, 4096):
        pass
    clean(run_id, owner_pid)


if __name__ == "__main__":
    main()
