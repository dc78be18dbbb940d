"""One client that has bodies held back, and hardly sends more of them, keeps nobody else's from being inspected."""

import os
import socket
import threading
import time

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

HELD_BYTES_MAX, BODY_BYTES_MAX = 4 << 20, 1 << 20
PATIENCE_SECONDS = 20.0
SECTION = f"""
listeners: [{{{{ address: 127.0.0.1, port: {{port}} }}}}]
origins: {{{{ web: {{{{ servers: ["127.0.0.1:{{origin}}"] }}}} }}}}
routes: [{{{{ origins: web }}}}]
firewall:
  rules_file: rules.conf
  mode: block
  workers: 2
  body_bytes_max: {BODY_BYTES_MAX}
  held_bytes_max: {HELD_BYTES_MAX}
timeouts: {{{{ body: 3s }}}}
threads: 1
"""


@pytest.fixture()
def world(tmp_path):
    class World:
        pass

    w = World()
    w.origin, (w.port,) = rig.Origin("web"), rig.free_ports(1)
    (tmp_path / "rules.conf").write_text(
        "SecRuleEngine On\nSecRule ARGS \"@contains evil\" \"id:1,phase:2,deny,log\"\n")
    w.edge = rig.Edge(tmp_path, SECTION.format(port=w.port, origin=w.origin.port))
    with w.edge:
        yield w
    w.origin.stop()


def connect_from(world, address):
    """A client of another network: each /24 of 127.0.0.0/8 is one."""
    connection = socket.create_connection(("127.0.0.1", world.port), PATIENCE_SECONDS, (address, 0))
    return rig.Wire(connection, PATIENCE_SECONDS)


def begin(world):
    """Almost the largest body that may be; refused, or held back for the rest."""
    wire = rig.connect(world.port)
    try:
        wire.send(f"POST /hold HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n".encode()
                  + b"x" * (BODY_BYTES_MAX - 1000))
    except OSError:
        pass  # the edge has answered, and closed
    return wire


def trickle(wires):
    """An octet to each now and then, until the edge has ended them all; what it said on each."""
    deadline, live = time.monotonic() + PATIENCE_SECONDS, set(wires)
    for wire in wires:
        wire.socket.settimeout(0.02)
    while live:
        assert time.monotonic() < deadline, f"{len(live)} are still held back"
        for wire in list(live):
            try:
                wire.send(b"x")
                wire.fill()
            except TimeoutError:
                pass
            except (EOFError, OSError):
                live.discard(wire)
    return [wire.raw for wire in wires]


def upload_slowly(world, statuses):
    """50 KB/s for longer than the edge waits for the next part of a body."""
    with connect_from(world, "127.0.2.1") as wire:
        wire.send(b"POST /slow HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 200000\r\n\r\n")
        for _ in range(20):
            wire.send(b"x" * 10_000)
            time.sleep(0.2)
        statuses.append(wire.reply().status)


def test_bodies_of_others_are_inspected_while_one_client_holds_what_it_can(world):
    statuses = []
    slow = threading.Thread(target=upload_slowly, args=(world, statuses))
    slow.start()
    wires = [begin(world) for _ in range(8)]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (held := world.edge.metric("leeward_waf_held_bytes ")) < BODY_BYTES_MAX / 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert held <= HELD_BYTES_MAX * 3 / 4  # half, beside the slow one
    for _ in range(3):
        with connect_from(world, "127.0.1.1") as wire:
            assert wire.ask("/honest", "POST", body=b"x" * 500_000).status == 200
    assert len(world.origin.last("/honest").body) == 500_000
    said = trickle(wires)
    assert any(answer.startswith(b"HTTP/1.1 408 ") for answer in said)
    slow.join()
    assert statuses == [200]
    assert world.origin.count("/hold") == 0
    assert world.edge.metric("leeward_waf_held_bytes ") == 0
    with rig.connect(world.port) as wire:  # and the client has room again
        assert wire.ask("/honest", "POST", body=b"x" * 500_000).status == 200
