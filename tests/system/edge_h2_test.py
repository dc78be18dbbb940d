"""HTTP/2 at a real edge, frame by frame: what RFC 9113 demands where nghttp2 leaves it to its user,
floods, and requests that HTTP/2 can carry and an HTTP/1.1 origin must never see."""

import os
import shutil
import struct
import subprocess
import time

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
STREAM_CLOSED, ENHANCE_YOUR_CALM = 5, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) \
        + payload


def block(fields):
    """Fields as HPACK literals without indexing (RFC 7541 §6.2.2), without Huffman coding."""
    def text(value):
        data = value.encode("latin-1")
        if len(data) < 127:
            return bytes((len(data),)) + data
        rest, size = len(data) - 127, b"\x7f"
        while rest >= 128:
            size, rest = size + bytes((rest % 128 + 128,)), rest // 128
        return size + bytes((rest,)) + data
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def get(path="/", method="GET", more=()):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "shop.test"),
            *more]


class H2:
    """A client's connection with prior knowledge."""

    def __init__(self, port):
        self.wire = rig.connect(port)
        self.wire.send(PREFACE + frame(SETTINGS))
        self.last = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.__exit__()

    def send(self, *frames):
        try:
            self.wire.send(b"".join(frames))
        except (BrokenPipeError, ConnectionResetError):
            pass  # told already

    def request(self, fields, flags=END_STREAM | END_HEADERS):
        """Sends a request's head on a new stream; its number."""
        self.last += 2
        self.send(frame(HEADERS, flags, self.last, block(fields)))
        return self.last

    def frames(self):
        """(type, flags, stream, payload) until the connection ends."""
        try:
            while True:
                head = self.wire.take(9)
                kind, flags = head[3], head[4]
                stream = struct.unpack("!I", head[5:])[0]
                yield kind, flags, stream, self.wire.take(int.from_bytes(head[:3], "big"))
        except (EOFError, ConnectionResetError):
            return

    def response(self, stream):
        """(fields' block, body) of a stream; AssertionError when it or the connection is reset."""
        head, body = None, b""
        for kind, flags, number, payload in self.frames():
            assert kind != GOAWAY, payload
            if number != stream:
                continue
            assert kind != RST_STREAM, payload
            head = payload if kind == HEADERS and head is None else head
            body += payload if kind == DATA else b""
            if flags & END_STREAM and kind in (HEADERS, DATA):
                return head, body
        raise AssertionError("the connection ended before the response")

    def end(self):
        """("goaway" or "reset", error code) of the first of both; None: the connection just ended."""
        for kind, _, _, payload in self.frames():
            if kind == GOAWAY:
                return "goaway", struct.unpack("!I", payload[4:8])[0]
            if kind == RST_STREAM:
                return "reset", struct.unpack("!I", payload)[0]
        return None


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    class World:
        pass

    w = World()
    w.origin = rig.Origin("a")
    w.port, = rig.free_ports(1)
    w.edge = rig.Edge(tmp_path_factory.mktemp("h2"), f"""
listeners: [{{ address: 127.0.0.1, port: {w.port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{w.origin.port}"] }} }}
cache_policies: {{ pages: {{ }} }}
routes: [{{ origins: web, cache: pages }}]
threads: 1
""")
    with w.edge:
        yield w


def test_streams_share_a_connection(world):
    def page(wire, request):
        world.origin.answer(wire, request, 200, b"x" * 300_000, [("Cache-Control", "max-age=60")])

    world.origin.handlers["/page"] = page
    with H2(world.port) as h2:
        # A window as large as the body, so that nothing has to be given back.
        h2.send(frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 1 << 20)),
                frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1 << 20)))
        for path, want in (("/a", b"a /a\n"), ("/page", b"x" * 300_000), ("/page", b"x" * 300_000)):
            assert h2.response(h2.request(get(path)))[1] == want
        post = h2.request(get("/post", "POST"), END_HEADERS)
        h2.send(frame(DATA, 0, post, b"abc"), frame(DATA, END_STREAM, post, b"def"))
        assert h2.response(post)[1] == b"a /post\n"
        streams = [h2.request(get(f"/{i}")) for i in range(50)]
        open_, bodies = set(streams), {}
        for kind, flags, number, payload in h2.frames():
            if kind == DATA:
                bodies[number] = bodies.get(number, b"") + payload
            if flags & END_STREAM and kind in (HEADERS, DATA):
                open_.discard(number)
            if not open_:
                break
    assert world.origin.last("/post").body == b"abcdef"
    assert world.origin.last("/post").field("Via") == "2.0 gcp-edge"
    assert world.origin.count("/page") == 1
    assert [bodies[s] for s in streams] == [f"a /{i}\n".encode() for i in range(50)]


def test_cookies_are_joined_and_trailers_pass(world):
    with H2(world.port) as h2:
        stream = h2.request(get("/pieces", "POST", [("cookie", "a=1"), ("cookie", "b=2"),
                                                   ("te", "trailers")]), END_HEADERS)
        h2.send(frame(DATA, 0, stream, b"abc"),
                frame(HEADERS, END_STREAM | END_HEADERS, stream, block([("x-sum", "3")])))
        h2.response(stream)
    seen = world.origin.last("/pieces")
    assert seen.field("cookie") == "a=1; b=2" and seen.body == b"abc"
    assert [(n.lower(), v) for n, v in seen.trailers] == [("x-sum", "3")]


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"
DOWNGRADES = {
    "TE": get("/first", "POST", [("transfer-encoding", "chunked")]),
    "connection": get("/first", "POST", [("connection", "keep-alive")]),
    "CRLF in a value": get("/first", "POST", [("x-a", "1\r\ntransfer-encoding: chunked")]),
    "LF in a value": get("/first", "POST", [("x-a", "1\ncontent-length: 0")]),
    "CRLF in a name": get("/first", "POST", [("x-a: 1\r\ncontent-length", "0")]),
    "colon in a name": get("/first", "POST", [("content-length:", "0")]),
    "upper case": get("/first", "POST", [("Content-Length", "0")]),
    "CL too small": get("/first", "POST", [("content-length", "5")]),
    "CL twice": get("/first", "POST", [("content-length", "0"), ("content-length", "5")]),
    "CRLF in the path": get("/first HTTP/1.1\r\nHost: shop.test\r\n\r\n" + SMUGGLED, "POST"),
    "space in the path": get("/first HTTP/1.1", "POST"),
    "space in the method": [(":method", "GET /smuggled HTTP/1.1\r\nA: b"), *get()[1:]],
    "CRLF in the authority": [*get("/first", "POST")[:3],
                              (":authority", "shop.test\r\ncontent-length: 0")],
    "two hosts": get("/first", "POST", [("host", "other.test")]),
    "two paths": get("/first", "POST", [])[:3] + [(":path", "/smuggled"), (":authority", "shop.test")],
    "pseudo field after others": [("x-a", "1"), *get("/first", "POST")],
    "no method": get("/first")[1:],
    "unknown pseudo field": get("/first", "POST")[:4] + [(":evil", "1")],
}


@pytest.mark.parametrize("name", DOWNGRADES)
def test_nothing_is_smuggled_in_a_downgrade(world, name):
    before = len(world.origin.requests), world.origin.count("/smuggled")
    with H2(world.port) as h2:
        stream = h2.request(DOWNGRADES[name], END_HEADERS)
        h2.send(frame(DATA, END_STREAM, stream, SMUGGLED.encode()))
        refused = None
        for kind, flags, number, payload in h2.frames():
            if kind in (RST_STREAM, GOAWAY):
                refused = True
                break
            if kind == HEADERS and number == stream:
                refused = not payload.startswith(b"\x88")  # HPACK's ":status 200"
                break
    assert refused, "it was answered with 200"
    assert world.origin.count("/smuggled") == before[1]
    # What is refused at its head never reaches an origin at all; a wrong length may, as one request
    # that breaks off.
    assert len(world.origin.requests) == before[0]


def test_frames_on_closed_streams_are_errors(world):
    for late in (frame(DATA, END_STREAM, 1, b"x"),
                 frame(HEADERS, END_STREAM | END_HEADERS, 1, block(get("/again")))):
        with H2(world.port) as h2:
            h2.response(h2.request(get("/closed")))
            h2.send(late)
            assert h2.end()[1] == STREAM_CLOSED
    with H2(world.port) as h2:  # half-closed: the request was complete
        world.origin.handlers["/slow"] = lambda wire, request: (
            time.sleep(0.3), world.origin.answer(wire, request))
        h2.request(get("/slow"))
        h2.send(frame(DATA, 0, 1, b"x"))
        assert h2.end()[1] == STREAM_CLOSED
    with H2(world.port) as h2:  # a lower number than one that was used
        h2.last = 5
        h2.response(h2.request(get("/seven")))
        h2.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, block(get("/three"))))
        assert h2.end()[1] == STREAM_CLOSED


def served(world):
    began = time.monotonic()
    with H2(world.port) as h2:
        assert h2.response(h2.request(get("/other")))[1] == b"a /other\n"
    return time.monotonic() - began


def test_a_rapid_reset_is_ended_and_others_are_served(world):
    with H2(world.port) as h2:
        for _ in range(40):
            h2.send(*(frame(HEADERS, END_STREAM | END_HEADERS, stream, block(get("/rapid")))
                      + frame(RST_STREAM, 0, stream, struct.pack("!I", 8))
                      for stream in range(h2.last + 2, h2.last + 102, 2)))
            h2.last += 100
        assert served(world) < 5
        kinds = [h2.end()]
    assert kinds in ([("goaway", ENHANCE_YOUR_CALM)], [None])
    assert world.origin.count("/rapid") < 2000


@pytest.mark.parametrize("flood", ["CONTINUATION", "PING", "SETTINGS", "empty DATA"])
def test_floods_end_the_connection(world, flood):
    with H2(world.port) as h2:
        if flood == "CONTINUATION":
            h2.request(get("/flood"), 0)
            bytes_of = frame(CONTINUATION, 0, 1, block([("x-pad", "y" * 1000)]))
        elif flood == "PING":
            bytes_of = frame(PING, 0, 0, b"12345678")
        elif flood == "SETTINGS":
            bytes_of = frame(SETTINGS)
        else:
            h2.request(get("/flood", "POST"), END_HEADERS)
            bytes_of = frame(DATA, 0, 1)
        for _ in range(20):
            h2.send(bytes_of * 100)
        while h2.end() is not None:
            pass  # until it is closed, or the test's patience ends
    assert served(world) < 5


def test_a_head_that_is_too_large_is_refused(world):
    with H2(world.port) as h2:
        h2.last += 2
        fields = block(get("/large") + [(f"x-{i}", "y" * 900) for i in range(50)])
        h2.send(frame(HEADERS, END_STREAM, 1, fields[:16000]),
                frame(CONTINUATION, 0, 1, fields[16000:32000]),
                frame(CONTINUATION, END_HEADERS, 1, fields[32000:]))
        head, _ = h2.response(1)
    assert b"431" in head and world.origin.count("/large") == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_interim_responses_pass(world):
    def hints(wire, request):
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        world.origin.answer(wire, request, 200, b"page", [("Cache-Control", "max-age=60")])

    world.origin.handlers["/hints"] = hints
    heads = []
    for _ in range(2):
        done = subprocess.run(["curl", "-sSi", "--http2-prior-knowledge", "--max-time", "10",
                               f"http://127.0.0.1:{world.port}/hints"],
                              capture_output=True, text=True, timeout=20)
        heads.append([line.split()[1] for line in done.stdout.splitlines() if line.startswith("HTTP/2")])
        assert done.stdout.endswith("page"), done.stderr
    assert heads == [["103", "200"], ["200"]] and world.origin.count("/hints") == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_content(world, tmp_path):
    (tmp_path / "body").write_text("x" * 200_000)  # an argument cannot be so long
    done = subprocess.run(["curl", "-sS", "--fail", "--http2-prior-knowledge", "--max-time", "10",
                           "-o", "-", "-w", "%{http_version}\n", "-d", f"@{tmp_path}/body",
                           f"http://127.0.0.1:{world.port}/upload"],
                          capture_output=True, text=True, timeout=20)
    assert done.stdout == "a /upload\n2\n", done.stderr
    assert len(world.origin.last("/upload").body) == 200_000
