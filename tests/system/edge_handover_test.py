"""An edge that is replaced while it serves: no connection is refused, no request fails."""

import os
import threading

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}{more}]
origins: {{ one: {{ servers: ["127.0.0.1:{origin}"] }} }}
cache: {{ memory_bytes_max: 67108864, disk_bytes_max: 67108864 }}
cache_policies: {{ pages: {{ }} }}
routes:
  - {{ origins: one }}
  - {{ path: /cached, origins: one, cache: pages }}
threads: {threads}
{firewall}
"""


class World:
    def __init__(self, directory):
        self.origin = rig.Origin("a")
        self.port, self.second = rig.free_ports(2)
        self.edge = rig.Edge(directory, self.section())

    def section(self, threads=2, more="", firewall=""):
        return SECTION.format(port=self.port, origin=self.origin.port, threads=threads, more=more,
                              firewall=firewall)


@pytest.fixture()
def world(tmp_path):
    w = World(tmp_path)
    with w.edge:
        yield w


class Load:
    """Threads that open a connection for each request, and threads that keep theirs while they may."""

    def __init__(self, port):
        self._port, self._stop = port, threading.Event()
        self.answered, self.failures = 0, []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=run) for run in [self._anew, self._kept] * 3]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _count(self, reply):
        with self._lock:
            self.answered += 1
            if reply.status != 200:
                self.failures.append(reply.status)

    def _attempt(self, ask):
        try:
            self._count(ask())
            return True
        except (OSError, EOFError) as error:
            with self._lock:
                self.failures.append(repr(error))
            return False

    def _anew(self):
        def ask():
            with rig.connect(self._port) as wire:
                return wire.ask("/page", fields=[("Connection", "close")])
        while not self._stop.is_set():
            self._attempt(ask)

    def _kept(self):
        while not self._stop.is_set():
            with rig.connect(self._port) as wire:
                last = [None]

                def ask():
                    last[0] = wire.ask("/page")
                    return last[0]
                while not self._stop.is_set() and self._attempt(ask):
                    if last[0].field("Connection") == "close":
                        break


def test_successors_take_over_under_load_and_no_request_fails(world):
    keep = lambda wire, request: rig.Origin.answer(  # noqa: E731
        wire, request, 200, b"kept\n", [("Cache-Control", "max-age=600")])
    world.origin.handlers["/cached/page"] = keep
    with rig.connect(world.port) as wire:
        assert wire.ask("/cached/page").body == b"kept\n"
    load = Load(world.port)
    try:
        # Fewer threads than sockets, and more.
        for threads in (1, 3, 2):
            world.edge.write(world.section(threads))
            before = load.answered
            assert world.edge.take_over() == 0
            while load.answered < before + 200 and not load.failures:
                pass
    finally:
        load.stop()
    assert load.failures == [] and load.answered > 600
    # The successor found on disk what its predecessor had kept.
    with rig.connect(world.port) as wire:
        assert "hit" in wire.ask("/cached/page").field("Cache-Status")
    assert world.origin.count("/cached/page") == 1


def test_a_successor_may_have_other_listeners(world):
    world.edge.write(world.section(more=f", {{ address: 127.0.0.1, port: {world.second} }}"))
    assert world.edge.take_over() == 0
    for port in (world.port, world.second):
        with rig.connect(port) as wire:
            assert wire.ask("/x").status == 200
    world.edge.write(world.section())
    assert world.edge.take_over() == 0
    with pytest.raises(ConnectionRefusedError):
        rig.connect(world.second)


def test_a_successor_that_cannot_serve_changes_nothing(world):
    world.edge.write(world.section(firewall="firewall: { block_file: missing.txt }"))
    assert world.edge.take_over() is None
    world.edge.wait_for("the successor ended before it served")
    with rig.connect(world.port) as wire:
        assert wire.ask("/x").status == 200
    assert "leeward_edge" in world.edge.metrics()  # the admin port is back
    world.edge.write(world.section())
    assert world.edge.take_over() == 0


def test_without_a_predecessor_there_is_nothing_to_take_over(world):
    world.edge.terminate()
    assert world.edge.wait() == 0
    refused = world.edge.cli("edge", "--site", "gcp", "--takeover")
    assert refused.returncode != 0 and "no edge serves" in refused.stderr, refused.stderr
