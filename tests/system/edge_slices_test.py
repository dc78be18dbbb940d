"""Large objects in slices at a real edge: curl downloads and seeks, origins come and go meanwhile."""

import hashlib
import os
import re
import subprocess

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")
SLICE = 64 << 10
FILM = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(100_000))  # 3.2 MB


class FileServer:
    """Makes `origin` serve one file at /film as a web server does (RFC 9110 sections 13 and 14)."""

    def __init__(self, origin, content=FILM, etag='"1"'):
        self.origin, self.content, self.etag = origin, content, etag
        self.ranges = []  # asked for
        self.break_at = None  # the range that breaks off in its middle, once
        origin.handlers["/film"] = self

    def __call__(self, wire, request):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.field("Range") or "")
        self.ranges.append(request.field("Range"))
        fields = [("ETag", self.etag), ("Cache-Control", "max-age=600")]
        if request.field("If-None-Match") == self.etag:
            wire.send(f"HTTP/1.1 304 Not Modified\r\nETag: {self.etag}\r\n\r\n".encode())
            return
        if not wanted or request.field("If-Range") not in (None, self.etag):
            self.origin.answer(wire, request, 200, self.content, fields)
            return
        first, last = int(wanted[1]), min(int(wanted[2]), len(self.content) - 1)
        part = self.content[first:last + 1]
        fields.append(("Content-Range", f"bytes {first}-{last}/{len(self.content)}"))
        if self.break_at == request.field("Range"):
            self.break_at = None
            wire.send(f"HTTP/1.1 206 Partial\r\nETag: {self.etag}\r\nContent-Length: {len(part)}\r\n"
                      f"Cache-Control: max-age=600\r\nContent-Range: {fields[-1][1]}\r\n\r\n".encode()
                      + part[:len(part) // 2])
            raise EOFError
        self.origin.answer(wire, request, 206, part, fields)


class World:
    def __init__(self, directory, disk=0):
        self.origins = [rig.Origin("a"), rig.Origin("b")]
        self.servers = [FileServer(origin) for origin in self.origins]
        self.port, self.secure = rig.free_ports(2)
        rig.certify(directory, "shop", "shop.test")
        servers = ", ".join(f'"127.0.0.1:{origin.port}"' for origin in self.origins)
        self.edge = rig.Edge(directory, f"""
listeners:
  - {{ address: 127.0.0.1, port: {self.port} }}
  - {{ address: 127.0.0.1, port: {self.secure}, tls: true }}
certificates: [{{ chain: shop.pem, key: shop.key }}]
origins: {{ web: {{ servers: [{servers}] }} }}
cache: {{ disk_bytes_max: {disk} }}
cache_policies: {{ films: {{ slice_bytes: {SLICE}, object_bytes_max: {SLICE} }} }}
routes: [{{ origins: web, cache: films, hedge: false }}]
""")

    def asked(self):
        return [r for server in self.servers for r in server.ranges]

    def curl(self, *arguments, secure=False):
        url = f"https://127.0.0.1:{self.secure}/film" if secure else f"http://127.0.0.1:{self.port}/film"
        return subprocess.run(["curl", "-sS", "-k", "--max-time", "30", *arguments, url],
                              capture_output=True, timeout=40)


@pytest.fixture()
def world(tmp_path):
    w = World(tmp_path)
    with w.edge:
        yield w


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_download_is_whole_and_costs_the_origin_each_slice_once(world, http):
    first = world.curl(http, secure=True)
    assert first.returncode == 0, first.stderr
    assert first.stdout == FILM
    assert len(world.asked()) == -(-len(FILM) // SLICE)
    assert len(set(world.asked())) == len(world.asked())
    assert world.curl(http, secure=True).stdout == FILM
    assert world.curl(http, "-r", "1000000-1999999", secure=True).stdout == FILM[1_000_000:2_000_000]
    assert len(world.asked()) == -(-len(FILM) // SLICE)


def test_a_seek_fetches_only_what_it_needs(world):
    assert world.curl("-r", "3000000-3000009").stdout == FILM[3_000_000:3_000_010]
    assert world.curl("-r", "-5").stdout == FILM[-5:]
    assert sorted(world.asked()) == [f"bytes={45 * SLICE}-{46 * SLICE - 1}",
                                     f"bytes={48 * SLICE}-{49 * SLICE - 1}"]


def test_many_clients_at_once_are_one_fetch_of_each_slice(world):
    url = f"http://127.0.0.1:{world.port}/film"
    clients = [subprocess.Popen(["curl", "-sS", "--max-time", "30", url], stdout=subprocess.PIPE)
               for _ in range(12)]
    for client in clients:
        assert client.communicate(timeout=40)[0] == FILM
    assert len(world.asked()) == len(set(world.asked())) == -(-len(FILM) // SLICE)


def test_a_download_goes_on_when_its_origin_dies_in_the_middle(world):
    for server in world.servers:
        server.break_at = f"bytes={10 * SLICE}-{11 * SLICE - 1}"
    done = world.curl()
    assert done.returncode == 0, done.stderr
    assert done.stdout == FILM
    # and when one of the two is gone altogether
    world.edge.cli("edge", "purge", "--all")
    with rig.connect(world.port) as wire:
        wire.send(b"GET /film HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        wire.head()
        body = wire.take(SLICE)
        world.origins[0].stop()
        body += wire.take(len(FILM) - len(body))
    assert body == FILM


def test_a_file_that_changes_is_never_mixed(world):
    assert world.curl("-r", "0-9").stdout == FILM[:10]
    other = FILM[::-1]
    for server in world.servers:
        server.content, server.etag = other, '"2"'
    broken = world.curl()
    assert broken.returncode == 18, "curl must see that the download is not whole"
    assert FILM.startswith(broken.stdout)
    assert world.curl().stdout == other


def test_the_slices_survive_a_restart(tmp_path):
    w = World(tmp_path, disk=64 << 20)
    with w.edge:
        assert w.curl().stdout == FILM
        w.edge.terminate()
        assert w.edge.wait() == 0
    with w.edge:
        for server in w.servers:
            server.ranges.clear()
        assert w.curl().stdout == FILM
        assert w.asked() == []
