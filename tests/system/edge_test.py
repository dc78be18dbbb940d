"""A real `leeward edge` between raw sockets: what clients and origins see, byte for byte.

One edge with one configuration serves nearly all tests; its tests differ in paths and hosts.
"""

import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners:
  - {{ address: 127.0.0.1, port: {plain} }}
  - {{ address: 127.0.0.1, port: {tls}, tls: true }}
  - {{ address: 127.0.0.1, port: {proxied}, proxy_protocol: true }}
certificates:
  - {{ chain: one.pem, key: one.key }}
  - {{ chain: two.pem, key: two.key }}
origins:
  web:
    servers: ["127.0.0.1:{a}", "127.0.0.1:{b}"]
    ejection: 300ms
    check: {{ path: /ready, interval: 100ms, timeout: 80ms }}
  one: {{ servers: ["127.0.0.1:{a}"] }}
  told: {{ servers: ["127.0.0.1:{told}"], proxy_protocol: true }}
cache: {{ memory_bytes_max: 67108864, disk_bytes_max: 67108864 }}
cache_policies:
  pages: {{ stale_if_error: 1h }}
routes:
  - {{ origins: one }}
  - {{ host: two.test, origins: web, writer: none }}
  - {{ host: told.test, origins: told }}
  - {{ path: /cached, origins: one, cache: pages }}
timeouts: {{ drain: 10s, first_byte: 3s }}
threads: 2
access_log: json
"""


class World:
    """The edge of this module, its origins and its ports."""

    def __init__(self, directory):
        self.a, self.b, self.told = rig.Origin("a"), rig.Origin("b"), rig.Origin("told")
        self.told.proxy_headers = []
        self.plain, self.tls, self.proxied = rig.free_ports(3)
        for name, host in (("one", "shop.test"), ("two", "two.test")):
            rig.certify(directory, name, host)
        self.edge = rig.Edge(directory, SECTION.format(
            plain=self.plain, tls=self.tls, proxied=self.proxied, a=self.a.port, b=self.b.port,
            told=self.told.port))

    def connect(self):
        return rig.connect(self.plain)

    def ask(self, *arguments, **named):
        with self.connect() as wire:
            return wire.ask(*arguments, **named)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("edge"))
    with w.edge:
        yield w


# ---------------------------------------------------------------- messages pass as they are

def test_requests_pass_on_one_connection_and_say_who_asked(world):
    with world.connect() as wire:
        first = wire.ask("/hello?x=1", fields=[("X-Forwarded-For", "6.6.6.6"), ("X-Mine", "yes"),
                                              ("Connection", "X-Hop"), ("X-Hop", "secret")])
        second = wire.ask("/post", "POST", body=b"x" * 100_000)
        third = wire.ask("/hello", "HEAD")
    assert first.body == b"a /hello?x=1\n"
    assert first.field("Via") == "1.1 gcp-edge" and first.field("Date")
    seen = world.a.last("/hello?x=1")
    assert seen.field("X-Mine") == "yes" and seen.field("X-Hop") is None
    assert seen.field("X-Forwarded-For") == "127.0.0.1"  # not what a stranger says
    assert world.a.last("/post").body == b"x" * 100_000 and second.status == 200
    assert third.status == 200 and third.body == b""


def test_pipelined_requests_are_answered_in_order(world):
    with world.connect() as wire:
        wire.send(b"".join(f"GET /{i} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode()
                           for i in range(20)))
        assert [wire.reply().body for _ in range(20)] == [f"a /{i}\n".encode() for i in range(20)]


def test_chunks_and_trailers_pass_both_ways_without_waiting_for_the_end(world):
    gate = threading.Event()

    def slowly(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                  b"5\r\nfirst\r\n")
        assert gate.wait(10)
        wire.send(b"6\r\nsecond\r\n0\r\nX-Sum: 11\r\n\r\n")

    world.a.handlers["/chunks"] = slowly
    with world.connect() as wire:
        wire.send(b"POST /chunks HTTP/1.1\r\nHost: shop.test\r\nTE: trailers\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n3;why=not\r\nabc\r\n2\r\nde\r\n0\r\nX-Up: 1\r\n\r\n")
        _, fields = wire.head()
        assert wire.line() == b"5" and wire.take(7) == b"first\r\n"  # before the origin has ended
        gate.set()
        body, trailers = wire.chunks()
    assert ("Transfer-Encoding", "chunked") in fields
    assert body == b"second" and trailers == [("X-Sum", "11")]
    seen = world.a.last("/chunks")
    assert seen.body == b"abcde" and seen.trailers == [("X-Up", "1")]


def test_expectations_and_early_hints_reach_the_other_side(world):
    def hints(wire, request):
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        world.a.answer(wire, request, 200, b"page")

    world.a.handlers["/hints"] = hints
    with world.connect() as wire:
        wire.send(b"PUT /expected HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 4\r\n\r\n")
        first, _ = wire.head()
        assert first.startswith("HTTP/1.1 100")
        wire.send(b"body")
        assert wire.reply().status == 200 and world.a.last("/expected").body == b"body"
        reply = wire.ask("/hints")
    assert [(i.status, i.field("Link")) for i in reply.interim] == [(103, "</a.css>; rel=preload")]


def test_web_sockets_and_event_streams_pass(world):
    def socket_(wire, request):
        assert request.field("Upgrade") == "websocket"
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                  b"Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello")
        wire.send(wire.take(4)[::-1])

    def events(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert seen.wait(10)
        wire.send(b"data: 2\n\n")
        raise EOFError

    seen = threading.Event()
    world.a.handlers.update({"/socket": socket_, "/events": events})
    with world.connect() as wire:
        wire.send(b"GET /socket HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        reply = wire.head()
        assert reply[0].startswith("HTTP/1.1 101")
        assert ("Sec-WebSocket-Accept", "x") in reply[1]
        wire.send(b"abcd")
        assert wire.take(9) == b"hellodcba"
    with world.connect() as wire:
        wire.send(b"GET /events HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        wire.head()
        assert wire.take(int(wire.line(), 16)) == b"data: 1\n\n"
        seen.set()
        assert wire.line() == b"" and wire.take(int(wire.line(), 16)) == b"data: 2\n\n"


# ---------------------------------------------------------------- who the client is

def proxy_header(source, port):
    return (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12) + socket.inet_aton(source)
            + socket.inet_aton("127.0.0.1") + struct.pack("!HH", port, 80))


def test_the_proxy_protocol_names_clients_in_and_out(world):
    with rig.connect(world.proxied) as wire:
        wire.send(proxy_header("192.0.2.7", 4711))
        assert wire.ask("/x", host="told.test").status == 200
    assert world.told.last("/x").field("X-Forwarded-For") == "192.0.2.7"
    header = world.told.proxy_headers[-1]
    assert header[:13] == b"\r\n\r\n\0\r\nQUIT\n\x21" and socket.inet_aton("192.0.2.7") in header
    with rig.connect(world.proxied) as wire:  # a connection that does not begin with one is closed
        wire.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert wire.rest() == b""


# ---------------------------------------------------------------- TLS

def handshake(world, name, alpn=("http/1.1",)):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    raw = socket.create_connection(("127.0.0.1", world.tls), timeout=10)
    return context.wrap_socket(raw, server_hostname=name)


def certificate_of(connection):
    text = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
    done = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=text, text=True,
                          capture_output=True, check=True, timeout=20)
    return done.stdout.strip().removeprefix("subject=").replace(" ", "")


def test_certificates_follow_the_name_and_are_reloaded_live(world):
    kept = handshake(world, "shop.test")
    with handshake(world, "two.test") as two:
        assert certificate_of(two) == "CN=two.test"
    with handshake(world, "else.test") as other:
        assert certificate_of(other) == "CN=shop.test"  # the first one
    rig.certify(world.edge.directory, "two", "renewed.two.test")
    world.edge.reload()
    with handshake(world, "two.test") as two, handshake(world, "renewed.two.test") as renewed:
        assert certificate_of(renewed) == "CN=renewed.two.test"
        assert certificate_of(two) == "CN=shop.test"
    with rig.Wire(kept) as wire:  # what was open goes on
        assert wire.ask("/after").body == b"a /after\n"
    assert world.a.last("/after").field("X-Forwarded-Proto") == "https"


def test_a_tls_client_that_goes_away_ends_nothing(world):
    """The edge writes to a connection that its client has reset: an error, not a signal."""
    world.a.handlers["/gone"] = cacheable(world.a, [("Cache-Control", "no-store")], b"x" * 300_000)
    for _ in range(20):
        connection = handshake(world, "shop.test")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"GET /gone HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        connection.close()
    assert world.ask("/a").status == 200


# ---------------------------------------------------------------- the cache

def cacheable(origin, fields, body=b"page\n", delay=0.0):
    def handler(wire, request):
        time.sleep(delay)
        origin.answer(wire, request, 200, body, fields)
    return handler


def test_what_is_fresh_is_answered_by_the_edge(world):
    world.a.handlers["/cached/page"] = cacheable(
        world.a, [("Cache-Control", "max-age=60"), ("ETag", '"v1"')], b"0123456789")
    miss = world.ask("/cached/page")
    hit = world.ask("/cached/page")
    assert miss.field("Cache-Status") == "gcp-edge; fwd=miss; fwd-status=200; stored"
    assert hit.field("Cache-Status").startswith("gcp-edge; hit; ttl=") and int(hit.field("Age")) < 60
    assert hit.body == miss.body and world.a.count("/cached/page") == 1
    part = world.ask("/cached/page", fields=[("Range", "bytes=2-4")])
    assert (part.status, part.body, part.field("Content-Range")) == (206, b"234", "bytes 2-4/10")
    assert world.ask("/cached/page", fields=[("If-None-Match", '"v1"')]).status == 304
    assert world.ask("/cached/page", "HEAD").field("Content-Length") == "10"
    assert world.a.count("/cached/page") == 1


def test_what_may_not_be_kept_says_why(world):
    world.a.handlers["/cached/private"] = cacheable(world.a, [("Cache-Control", "private")])
    for _ in range(2):
        reply = world.ask("/cached/private")
        assert reply.field("Cache-Status") == "gcp-edge; fwd=miss; fwd-status=200; detail=private"
    assert world.ask("/cached/private", "POST", body=b"x").field("Cache-Status") == \
        "gcp-edge; fwd=method; fwd-status=200"
    assert world.a.count("/cached/private") == 3


def test_interim_responses_pass_the_cache_and_are_not_repeated(world):
    def hints(wire, request):
        wire.send(b"HTTP/1.1 102 Processing\r\n\r\n"
                  b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Early: 1\r\n\r\n")
        world.a.answer(wire, request, 200, b"page", [("Cache-Control", "max-age=60")])

    world.a.handlers["/cached/hints"] = world.a.handlers["/cached/old"] = hints
    miss, hit = world.ask("/cached/hints"), world.ask("/cached/hints")
    assert [i.status for i in miss.interim] == [102, 103]
    assert miss.interim[1].fields == [("Link", "</a.css>; rel=preload"), ("X-Early", "1")]
    assert hit.interim == [] and world.a.count("/cached/hints") == 1
    assert [r.field("X-Early") for r in (miss, hit)] == [None, None]
    with world.connect() as wire:  # RFC 9110 §15.2
        wire.send(b"GET /cached/old HTTP/1.0\r\nHost: shop.test\r\n\r\n")
        old = wire.reply()
    assert (old.status, old.interim, old.body) == (200, [], b"page")


def test_trailers_are_not_kept(world):
    def chunked(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"4\r\npage\r\n0\r\nX-Sum: 1\r\n\r\n")

    world.a.handlers["/cached/trailers"] = chunked
    world.ask("/cached/trailers")
    hit = world.ask("/cached/trailers")
    assert (hit.body, hit.trailers, hit.field("X-Sum")) == (b"page", [], None)
    assert hit.field("Content-Length") == "4" and world.a.count("/cached/trailers") == 1


def test_a_response_that_ends_with_its_connection_ends_at_once(world):
    """However body and end come: here mostly in one piece."""
    def handler(wire, request):
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npage")
        raise EOFError

    world.a.handlers["/until-close"] = handler
    began = time.monotonic()
    assert {world.ask("/until-close").body for _ in range(300)} == {b"page"}
    assert time.monotonic() - began < 30  # a missed end would wait for timeouts.origin_idle


def test_a_transfer_coding_that_does_not_exist_ends_with_the_connection(world):
    def odd(coding):
        def handler(wire, request):
            wire.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: "
                      + coding + b"\r\n\r\npage")
            raise EOFError
        return handler

    world.a.handlers["/cached/odd"] = odd(b"qwerty")
    for _ in range(2):
        reply = world.ask("/cached/odd")
        assert (reply.status, reply.body) == (200, b"page")
    assert world.a.count("/cached/odd") == 1
    world.a.handlers["/cached/gzip"] = odd(b"gzip")
    assert world.ask("/cached/gzip").status == 502


def test_a_herd_is_one_fetch(world):
    world.a.handlers["/cached/herd"] = cacheable(
        world.a, [("Cache-Control", "max-age=60")], b"x" * 200_000, delay=0.3)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(world.ask("/cached/herd")))
               for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [r.body for r in replies] == [b"x" * 200_000] * 40
    assert world.a.count("/cached/herd") == 1


def test_purges_are_in_force_at_once(world):
    for name in ("one", "two"):
        world.a.handlers[f"/cached/purge/{name}"] = cacheable(
            world.a, [("Cache-Control", "max-age=60"), ("Surrogate-Key", f"all key-{name}")])

    def fetched(name):
        before = world.a.count(f"/cached/purge/{name}")
        assert world.ask(f"/cached/purge/{name}").status == 200
        return world.a.count(f"/cached/purge/{name}") - before

    def purge(*arguments):
        done = world.edge.cli("edge", "purge", "--site", "gcp", *arguments)
        assert done.returncode == 0, done.stderr

    assert fetched("one") == fetched("two") == 1
    assert fetched("one") == fetched("two") == 0
    purge("http://shop.test/cached/purge/one")
    assert (fetched("one"), fetched("two")) == (1, 0)
    purge("--key", "key-two")
    assert (fetched("one"), fetched("two")) == (0, 1)
    purge("--prefix", "shop.test/cached/purge/")
    assert (fetched("one"), fetched("two")) == (1, 1)
    purge("--all", "--soft")
    assert (fetched("one"), fetched("two")) == (1, 1)


def test_an_edge_is_warmed_and_explains_itself(world):
    world.a.handlers["/cached/warm"] = cacheable(world.a, [("Cache-Control", "max-age=60")])
    url = "http://shop.test/cached/warm"
    assert "decision: fetch (miss)" in world.edge.cli("edge", "explain", "--site", "gcp", url).stdout
    done = world.edge.cli("edge", "warm", "--site", "gcp", url)
    assert done.stdout == "gcp: 1 URLs warmed, 0 failed\n", done.stderr
    assert world.ask("/cached/warm").field("Cache-Status").startswith("gcp-edge; hit")
    assert "decision: serve (fresh)" in world.edge.cli("edge", "explain", "--site", "gcp", url).stdout
    assert world.a.count("/cached/warm") == 1
    top = world.edge.cli("edge", "top", "--site", "gcp", "--once")
    assert "127.0.0.1:%d" % world.a.port in top.stdout, top.stderr
    speed = world.edge.cli("speed", url, "--direct", f"127.0.0.1:{world.a.port}", "--edge",
                           f"127.0.0.1:{world.plain}", "-n", "3")
    assert speed.returncode == 0 and "mean through the edge" in speed.stdout, speed.stderr


# ---------------------------------------------------------------- origins that fail

def test_requests_survive_each_kind_of_loss(world):
    """Refused, hung and 503: another origin answers, and the lost one is asked again when it is back."""
    def get():
        return world.ask("/loss", host="two.test")

    assert {get().body for _ in range(30)} == {b"a /loss\n", b"b /loss\n"}
    for loss in ("refused", "hang", "503"):
        downs = world.edge.told("health=down")
        if loss == "refused":
            world.a.stop()
        else:
            world.a.mode = loss
        for _ in range(20):
            reply = get()
            assert (reply.status, reply.body) == (200, b"b /loss\n"), loss
        world.edge.wait_for("health=down", count=downs + 1)  # a POST is not tried twice
        post = world.ask("/loss", "POST", body=b"x", host="two.test")
        assert post.status == 200, loss
        if loss == "refused":
            world.a.start()
        world.a.mode = "serve"
        deadline = time.monotonic() + 5
        while get().body != b"a /loss\n":
            assert time.monotonic() < deadline, f"not asked again after {loss}"


def test_a_dead_site_is_served_stale_from_the_cache(world):
    world.a.handlers["/cached/stale"] = cacheable(world.a, [("Cache-Control", "max-age=0"),
                                                           ("ETag", '"s"')])
    assert world.ask("/cached/stale").status == 200
    world.a.stop()
    try:
        reply = world.ask("/cached/stale")
        assert (reply.status, reply.body) == (200, b"page\n")
        assert "detail=" in reply.field("Cache-Status"), reply.field("Cache-Status")
        assert world.ask("/cached/never-seen").status == 502
    finally:
        world.a.start()


# ---------------------------------------------------------------- answers

def test_an_origin_cannot_answer_two_requests_with_one(world):
    """What an origin says beyond its response is never taken for the answer to the next request."""
    def two(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                  b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    world.a.handlers["/two"] = two
    for _ in range(5):
        assert world.ask("/two").body == b"ok"
        assert world.ask("/clean").body == b"a /clean\n"


# ---------------------------------------------------------------- limits

def test_limits_answer_with_their_status(world):
    cases = (("/" + "x" * 9000, [], 414), ("/", [("X-Long", "x" * 40_000)], 431),
             ("/", [(f"X-{i}", "1") for i in range(120)], 431))
    for target, fields, status in cases:
        with world.connect() as wire:
            assert wire.ask(target, fields=fields).status == status
    with world.connect() as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 99999999999\r\n\r\n")
        assert wire.reply().status == 413


# ---------------------------------------------------------------- the end

def test_an_edge_that_ends_drops_no_request_and_its_disk_cache_survives(tmp_path):
    """Requests under way are answered, connections that are kept end in good order, and the next
    process serves from what the first one stored."""
    origin = rig.Origin("a")
    origin.handlers["/page"] = cacheable(origin, [("Cache-Control", "max-age=600")])
    origin.handlers["/slow"] = cacheable(origin, [], b"slow\n", delay=0.7)
    port, = rig.free_ports(1)
    edge = rig.Edge(tmp_path, f"""
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin.port}"] }} }}
cache: {{ disk_bytes_max: 67108864 }}
cache_policies: {{ pages: {{ }} }}
routes: [{{ origins: web, cache: pages }}]
threads: 2
""")
    failed, stop, served = [], threading.Event(), [0]

    def client():
        while not stop.is_set():
            try:
                with rig.connect(port) as wire:
                    while not stop.is_set():
                        reply = wire.ask("/slow" if served[0] % 7 == 0 else f"/{served[0]}")
                        served[0] += 1
                        if reply.status != 200:
                            failed.append(reply.status)
                        if reply.field("Connection") == "close":
                            break
            except ConnectionRefusedError:
                return  # nobody listens any more: no request was lost
            except (EOFError, OSError) as error:
                failed.append(repr(error))

    with edge:
        with rig.connect(port) as wire:
            assert wire.ask("/page").status == 200
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while served[0] <= 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        edge.terminate()
        assert edge.wait() == 0
        stop.set()
        for thread in threads:
            thread.join(15)
    assert served[0] > 20 and not failed, failed
    with edge:
        with rig.connect(port) as wire:
            reply = wire.ask("/page")
    assert reply.field("Cache-Status").startswith("gcp-edge; hit") and origin.count("/page") == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_content(world):
    done = subprocess.run(["curl", "-sS", "--fail", "--max-time", "10", "-H", "Host: shop.test",
                           f"http://127.0.0.1:{world.plain}/a", f"http://127.0.0.1:{world.plain}/b"],
                          capture_output=True, text=True, timeout=20)
    assert done.stdout == "a /a\na /b\n", done.stderr
