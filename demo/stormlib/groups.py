"""Control groups that agents and function hosts of the demo left behind when they were killed."""

import os

from stormlib import processes

_ROOT = "/sys/fs/cgroup"
_DEPTH = 5


def _is_ours(name):
    return name.startswith(("leeward-shop-", "leeward-function-"))


def _found(root):
    """Directories of such groups, in all hierarchies."""
    for directory, names, _ in os.walk(root):
        if directory[len(root):].count("/") >= _DEPTH:
            names.clear()
        for name in [name for name in names if _is_ours(name)]:
            names.remove(name)
            yield os.path.join(directory, name)


def in_use():
    """Whether some Leeward runs here: its groups may be empty for a moment."""
    return any(os.path.basename(argv[0]) == "leeward"
               for name in os.listdir("/proc") if name.isdigit()
               if (argv := processes.command_line(name)))


def remove_empty(root=_ROOT):
    """Removes those that are empty. REQUIRES: not in_use()."""
    for top in list(_found(root)):
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:  # a process is in it, or somebody else was faster
                pass
