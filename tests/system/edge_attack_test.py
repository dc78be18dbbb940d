"""Clients that mean harm, and a disk that fails: what the edge does about each, and that others are served
meanwhile. How much others feel of it is a benchmark (bench/edge/run.sh attack).
"""

import os
import random
import resource
import socket
import struct
import subprocess
import time

import pytest

import edge_rig as rig
from h2_wire import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, H2, HEADERS,
                     NO_ERROR, PING, PREFACE, PRIORITY, SETTINGS, block, dependency, frame, get, request,
                     rst_stream, text, window_update)

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

HEADER_SECONDS = BODY_SECONDS = 1.0
PATIENCE_SECONDS = 8.0
IDLE = 2000


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    class World:
        pass

    w = World()
    w.origin = rig.Origin("a")
    w.port, w.tls = rig.free_ports(2)
    directory = tmp_path_factory.mktemp("attack")
    rig.certify(directory, "shop", "shop.test")
    w.edge = rig.Edge(directory, f"""
listeners:
  - {{ address: 127.0.0.1, port: {w.port} }}
  - {{ address: 127.0.0.1, port: {w.tls}, tls: true }}
certificates: [{{ chain: shop.pem, key: shop.key }}]
origins: {{ web: {{ servers: ["127.0.0.1:{w.origin.port}"] }} }}
routes: [{{ origins: web }}]
timeouts: {{ header: {HEADER_SECONDS:.0f}s, body: {BODY_SECONDS:.0f}s }}
threads: 1
""")
    with w.edge:
        yield w


def served(world, path="/other"):
    with rig.connect(world.port) as wire:
        assert wire.ask(path).body == f"a {path}\n".encode()


# ---- clients that take their time

def trickle(wires, octets):
    """An octet to each connection every 50 ms until the edge has ended them all; what it said on each.
    AssertionError when one is open after PATIENCE_SECONDS.
    """
    said, deadline = {wire: b"" for wire in wires}, time.monotonic() + PATIENCE_SECONDS
    live = set(wires)
    for wire in wires:
        wire.socket.settimeout(0.05 / len(wires))
    while live:
        assert time.monotonic() < deadline, f"{len(live)} connections are still open"
        for wire in list(live):
            try:
                wire.send(octets[:1])
                data = wire.socket.recv(65536)
                said[wire] += data
                if not data:
                    live.discard(wire)
            except TimeoutError:
                pass
            except OSError:
                live.discard(wire)
    return list(said.values())


def test_heads_and_bodies_that_never_end_are_ended(world):
    heads = [rig.connect(world.port) for _ in range(50)]
    for wire in heads:
        wire.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\nX-A: ")
    served(world)
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in trickle(heads, b"y"))
    bodies = [rig.connect(world.port) for _ in range(50)]
    for wire in bodies:
        wire.send(b"POST /slow HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\nx")
        wire.socket.settimeout(PATIENCE_SECONDS)
    served(world)
    assert all(wire.rest().startswith(b"HTTP/1.1 408 ") for wire in bodies)
    assert world.origin.count("/slow") == 0


BEGINNINGS = {
    "HTTP/1": b"GET / HTTP/1.1\r\nHost: shop.test\r\n",
    "preface": PREFACE[:10],
    "HTTP/2": PREFACE + frame(SETTINGS) + frame(HEADERS, END_STREAM, 1, block(get()), length=4000),
    "handshake": b"\x16\x03\x01\x02\x00\x01",
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_beginning_that_goes_on_octet_by_octet_is_ended(world, name):
    with rig.connect(world.tls if name == "handshake" else world.port) as wire:
        wire.send(BEGINNINGS[name])
        trickle([wire], b"S")
    served(world)


def test_a_connection_that_says_nothing_is_ended(world):
    for port in (world.port, world.tls):
        with rig.connect(port, PATIENCE_SECONDS) as wire:
            assert wire.rest() == b""


# ---- HTTP/2

def ended(h2):
    """The error code of the GOAWAY that ended the connection; None: it just ended."""
    code = None
    for kind, _, _, payload in h2.frames():
        if kind == GOAWAY:
            code = struct.unpack("!I", payload[4:8])[0]
    return code


def resets(first):
    return b"".join(request(stream, get("/rapid")) + rst_stream(stream)
                    for stream in range(first, first + 200, 2))


def made_to_reset(first):
    """Requests whose next frame is an error, so that it is the edge who resets (CVE-2025-8671)."""
    return b"".join(request(stream, get("/rapid", "POST"), END_HEADERS) + window_update(stream, 2**31 - 1)
                    for stream in range(first, first + 200, 2))


@pytest.mark.parametrize("kind", [resets, made_to_reset])
def test_requests_that_are_taken_back_at_once_end_the_connection(world, kind):
    before = world.origin.count("/rapid")
    with H2(world.port) as h2:
        for first in range(1, 4001, 200):
            h2.send(kind(first))
            if first == 1001:
                served(world)
        assert ended(h2) == ENHANCE_YOUR_CALM
    served(world)
    assert world.origin.count("/rapid") - before < 100


def test_hpack_bombs_end_the_connection(world):
    """A field of 4,000 octets, named again and again by one octet each."""
    with H2(world.port) as h2:
        h2.send(frame(HEADERS, END_STREAM, 1, block(get("/bomb")) + b"\x40" + text("x") + text("y" * 4000)),
                frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 16000))
        assert ended(h2) == ENHANCE_YOUR_CALM
    served(world)
    assert world.origin.count("/bomb") == 0


@pytest.mark.parametrize("payload", [b"", block([("x-a", "1")])])
def test_a_head_in_pieces_without_end_ends_the_connection(world, payload):
    with H2(world.port) as h2:
        h2.send(request(1, get("/pieces"), END_STREAM))
        for _ in range(50):
            h2.send(frame(CONTINUATION, 0, 1, payload) * 1000)
        assert ended(h2) not in (None, NO_ERROR)
    served(world)
    assert world.origin.count("/pieces") == 0


FLOODS = {
    "PING": frame(PING, 0, 0, b"12345678"),
    "SETTINGS": frame(SETTINGS),
    "PRIORITY": frame(PRIORITY, 0, 1, dependency(0)),
    "empty DATA": frame(DATA, 0, 1),
    "unknown frames": frame(0xbb) * 10,
}


@pytest.mark.parametrize("name", FLOODS)
def test_frames_that_ask_for_nothing_end_the_connection_in_the_end(world, name):
    with H2(world.port) as h2:
        h2.request(get("/flood", "POST"), END_HEADERS)
        for _ in range(20):
            h2.send(FLOODS[name] * 100)
        assert ended(h2) == ENHANCE_YOUR_CALM
    served(world)


# ---- heads, and many connections

@pytest.mark.parametrize("fields", ["X-A: " + "y" * 300_000,
                                    "".join(f"X-{i}: 1\r\n" for i in range(20_000))])
def test_header_bombs_are_refused(world, fields):
    with rig.connect(world.port) as wire:
        try:
            wire.send(f"GET /bomb HTTP/1.1\r\nHost: shop.test\r\n{fields}".encode())
        except OSError:
            pass  # refused before its end
        assert wire.rest().startswith(b"HTTP/1.1 431 ")
    served(world)
    assert world.origin.count("/bomb") == 0


def test_many_idle_connections_are_kept_and_others_are_served(world):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, IDLE + 500)), hard))
    wires = []
    try:
        for _ in range(IDLE):
            wires.append(rig.connect(world.port))
            assert wires[-1].ask("/idle").status == 200
        served(world)
        assert wires[0].ask("/first").status == wires[-1].ask("/last").status == 200
    finally:
        for wire in wires:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- the disk

def page(number):
    """What the origin says of page `number`: small ones, and some that are sent from the file."""
    return random.Random(number).randbytes(2_000 if number % 4 else 100_000)


def origin_of_pages():
    origin = rig.Origin("a")
    for number in range(200):
        origin.handlers[f"/page/{number}"] = lambda wire, asked, n=number: origin.answer(
            wire, asked, 200, page(n), [("Cache-Control", "max-age=600")])
    return origin


def cached_edge(directory, origin, port, **named):
    return rig.Edge(directory, f"""
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin.port}"] }} }}
cache: {{ memory_bytes_max: 1048576, disk_bytes_max: 67108864 }}
cache_policies: {{ pages: {{ }} }}
routes: [{{ origins: web, cache: pages }}]
threads: 1
""", **named)


def ask_for_all(port, count):
    with rig.connect(port) as wire:
        for number in range(count):
            reply = wire.ask(f"/page/{number}")
            assert (reply.status, reply.body) == (200, page(number)), number


def may_mount():
    return subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True,
                          timeout=20).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no mount namespaces here")
def test_a_full_disk_is_served_past(tmp_path):
    """The state directory is a file system of 2 MiB, in a namespace that ends with the edge."""
    origin, (port,) = origin_of_pages(), rig.free_ports(1)
    (tmp_path / "state").mkdir()
    edge = cached_edge(tmp_path, origin, port, prefix=[
        "unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=2m tmpfs {tmp_path}/state && exec \"$@\"", "sh"])
    with edge:
        for _ in range(2):
            ask_for_all(port, 200)
        edge.wait_for("disk tier cannot write")
        ask_for_all(port, 20)


def segments(directory):
    return sorted((directory / "state").rglob("*.seg"))


def flip(data, chance):
    for _ in range(20):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def truncate(data, chance):
    del data[chance.randrange(len(data)):]


def overwrite(data, chance):
    at = chance.randrange(len(data))
    data[at:at + 5000] = chance.randbytes(5000)


def append(data, chance):
    """Behind the last record, from the middle of another."""
    data += data[chance.randrange(1, len(data)):]
    data[:100] = chance.randbytes(100)


@pytest.mark.parametrize("damage", [flip, truncate, overwrite, append])
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_cache_never_makes_wrong_bytes(tmp_path, damage, seed):
    origin, (port,) = origin_of_pages(), rig.free_ports(1)
    edge = cached_edge(tmp_path, origin, port)
    with edge:
        ask_for_all(port, 60)
        edge.terminate()
        edge.wait()
    chance, found = random.Random(seed), segments(tmp_path)
    assert found and sum(path.stat().st_size for path in found) > 1_000_000
    for path in found:
        data = bytearray(path.read_bytes())
        if data:
            damage(data, chance)
            path.write_bytes(data)
    asked = len(origin.requests)
    with edge:
        for _ in range(2):
            ask_for_all(port, 60)
    assert len(origin.requests) > asked  # something was lost, and fetched
