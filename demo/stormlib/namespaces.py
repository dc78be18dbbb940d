"""Three sites and a client as network namespaces, joined by a bridge that lives in a fourth one.

Names are lw-PID-NAME with the pid of the process that made them, so that leftovers can be told from
the namespaces of a run that is still alive. Nothing is ever changed in the machine's own network.
Needs root. All functions raise subprocess.CalledProcessError when `ip` refuses.
"""

import contextlib
import ctypes
import os
import subprocess
import threading

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_PREFIX = "lw-"
_HUB = "hub"


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def usable():
    """True when this process may create network namespaces."""
    if os.geteuid() != 0:
        return False
    name = f"{_PREFIX}{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
        return True
    except (OSError, subprocess.CalledProcessError):
        return False


class Net:
    """The namespaces of one run: `sites` maps names to addresses in 10.77.0.0/16."""

    def __init__(self, sites, owner_pid):
        self._sites = dict(sites)
        self._owner = owner_pid

    def name(self, site):
        return f"{_PREFIX}{self._owner}-{site}"

    def create(self):
        hub = self.name(_HUB)
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge0", "up")
        for site, address in self._sites.items():
            namespace = self.name(site)
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", hub, "link", "add", f"to-{site}", "type", "veth",
                "peer", "name", "eth0", "netns", namespace)
            _ip("-n", hub, "link", "set", f"to-{site}", "up")
            _ip("-n", namespace, "address", "add", f"{address}/16", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            self.join(site)

    def cut(self, site):
        """Takes a site off the bridge. Its own link stays up: packets vanish, as in a real partition."""
        _ip("-n", self.name(_HUB), "link", "set", f"to-{site}", "nomaster")

    def join(self, site):
        _ip("-n", self.name(_HUB), "link", "set", f"to-{site}", "master", "bridge0")

    def enter(self, site):
        """Moves the calling thread, and what it starts from now on, into a site's namespace."""
        _enter(f"/run/netns/{self.name(site)}")


def _enter(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"enter {path}: {os.strerror(error)}")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def visiting(net, site):
    """The calling thread is in a site's namespace for the length of the block."""
    home = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    descriptor = os.open(home, os.O_RDONLY)
    try:
        net.enter(site)
        yield
    finally:
        _libc.setns(descriptor, _CLONE_NEWNET)
        os.close(descriptor)


def delete_of(owner_pid):
    """Deletes every namespace that the process made. Its processes must have ended."""
    for name in _existing():
        if name.startswith(f"{_PREFIX}{owner_pid}-"):
            try:
                _ip("netns", "delete", name)
            except subprocess.CalledProcessError:
                if name in _existing():  # otherwise another cleaner was faster
                    raise


def owners():
    """Pids of the processes that made the namespaces that exist now."""
    found = set()
    for name in _existing():
        owner = name[len(_PREFIX):].partition("-")[0]
        if name.startswith(_PREFIX) and owner.isdigit():
            found.add(int(owner))
    return found


def _existing():
    try:
        return sorted(os.listdir("/run/netns"))
    except FileNotFoundError:
        return []
