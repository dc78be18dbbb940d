"""Attacks on the border between two requests, over HTTP/1.1 and in the way down from HTTP/2. An origin
records what arrives: nothing of an attack may reach it as a request of its own, and what is passed on has
one framing.
"""

import collections
import os
import time

import pytest

import edge_rig as rig
from h2_wire import (DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, RST_STREAM, block, frame, get,
                     request)

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"
SIZE = f"{len(SMUGGLED):x}"
BOTH = str(len("0\r\n\r\n" + SMUGGLED))
LAST = "0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def post(fields="", body="", line="POST /first HTTP/1.1"):
    return f"{line}\r\nHost: shop.test\r\n{fields}\r\n{body}"


def after(fields, line="POST /first HTTP/1.1"):
    """Fields of which one reader believes that the body ends before SMUGGLED, and another does not."""
    return post(fields, LAST + SMUGGLED, line)


def chunks(text):
    return post(CHUNKED, text + SMUGGLED)


# Refused with 400, 417, 501 or 505, and the connection is closed: no origin sees a whole request.
REFUSED = {
    # ---- two framings
    "CL.TE": after(f"Content-Length: {BOTH}\r\n{CHUNKED}"),
    "TE.CL": post(f"{CHUNKED}Content-Length: 4\r\n", f"{SIZE}\r\n{SMUGGLED}\r\n{LAST}"),
    "CL 0 and TE": after(f"Content-Length: 0\r\n{CHUNKED}"),
    "CL and TE in HTTP/1.0": after(f"Content-Length: {BOTH}\r\n{CHUNKED}", "POST /first HTTP/1.0"),
    "TE in HTTP/1.0": after(CHUNKED, "POST /first HTTP/1.0"),
    "CL and TE behind Connection":
        after(f"Connection: Content-Length\r\nContent-Length: {BOTH}\r\n{CHUNKED}"),
    # ---- one transfer coding that two readers take for different ones
    **{f"TE.TE {name}": after(fields) for name, fields in {
        "twice": CHUNKED * 2,
        "and identity": f"{CHUNKED}Transfer-Encoding: identity\r\n",
        "and nonsense": f"{CHUNKED}Transfer-Encoding: cow\r\n",
        "nonsense first": f"Transfer-Encoding: cow\r\n{CHUNKED}",
        "identity": f"Transfer-Encoding: identity\r\nContent-Length: {BOTH}\r\n",
        "list": "Transfer-Encoding: identity, chunked\r\n",
        "list, chunked first": "Transfer-Encoding: chunked, identity\r\n",
        "chunked twice in a list": "Transfer-Encoding: chunked, chunked\r\n",
        "an empty element": "Transfer-Encoding: ,chunked\r\n",
        "a parameter": "Transfer-Encoding: chunked;q=1\r\n",
        "gzip": "Transfer-Encoding: gzip, chunked\r\n",
        "misspelt": "Transfer-Encoding: xchunked\r\n",
        "misspelt at the end": "Transfer-Encoding: chunkedx\r\n",
        "quoted": 'Transfer-Encoding: "chunked"\r\n',
        "in single quotes": "Transfer-Encoding: 'chunked'\r\n",
        "empty": f"Transfer-Encoding:\r\nContent-Length: {BOTH}\r\n",
        "space before the colon": "Transfer-Encoding : chunked\r\n",
        "tab before the colon": "Transfer-Encoding\t: chunked\r\n",
        "vertical tab": "Transfer-Encoding: \x0bchunked\r\n",
        "form feed": "Transfer-Encoding: \x0cchunked\r\n",
        "no-break space": "Transfer-Encoding: \xa0chunked\r\n",
        "NUL": "Transfer-Encoding: chunked\0\r\n",
        "backspace": "Transfer-Encoding: chunkedd\b\r\n",
        "CR in the middle": "Transfer-Encoding: chun\rked\r\n",
        "CR before it": "Transfer-Encoding: \rchunked\r\n",
        "CR behind it": "Transfer-Encoding: chunked\r\r\n",
        "LF before it": "Transfer-Encoding:\nchunked\r\n",
        "LF in the name": "Transfer-Encoding\n: chunked\r\n",
        "NUL in the name": "Transfer-Encoding\0: chunked\r\n",
        "octet above 0x7f in the name": "Transfer-Encoding\x80: chunked\r\n",
        "space in the name": "Transfer Encoding: chunked\r\n",
        "underscore": f"Transfer_Encoding: chunked\r\nContent-Length: {BOTH}\r\n",
        "space before the name": " Transfer-Encoding: chunked\r\n",
        "folded": "Transfer-Encoding:\r\n chunked\r\n",
        "folded with a tab": "Transfer-Encoding:\r\n\tchunked\r\n",
        "folded behind it": f"{CHUNKED} , identity\r\n",
        "folded behind another": f"X-A: 1\r\n {CHUNKED}Content-Length: {BOTH}\r\n",
        "behind a bare LF": f"X-A: 1\n{CHUNKED}",
        "behind a bare CR": f"X-A: 1\r{CHUNKED}\r\n",
    }.items()},
    # ---- lengths
    **{f"CL {name}": after(fields) for name, fields in {
        "twice": f"Content-Length: 5\r\nContent-Length: {BOTH}\r\n",
        "twice the same": "Content-Length: 5\r\n" * 2,
        "list": f"Content-Length: 5, {BOTH}\r\n",
        "list of the same": "Content-Length: 5, 5\r\n",
        "plus": "Content-Length: +5\r\n",
        "minus": "Content-Length: -5\r\n",
        "hex": "Content-Length: 0x5\r\n",
        "exponent": "Content-Length: 5e0\r\n",
        "underscore inside": "Content-Length: 1_0\r\n",
        "space inside": "Content-Length: 0 5\r\n",
        "fraction": "Content-Length: 5.0\r\n",
        "overflow": "Content-Length: 18446744073709551621\r\n",
        "empty": "Content-Length:\r\n",
        "quoted": 'Content-Length: "5"\r\n',
        "NUL behind it": "Content-Length: 5\0\r\n",
        "folded": "Content-Length:\r\n 5\r\n",
        "space before the colon": "Content-Length : 5\r\n",
        "underscore in the name": "Content_Length: 5\r\n",
        "NUL in the name": "Content-Length\0: 5\r\n",
        "no colon": "Content-Length\r\n",
        "fullwidth digit": "Content-Length: \xef\xbc\x95\r\n",
    }.items()},
    # ---- lines
    "obs-fold": after(f"X-A: 1\r\n Content-Length: {BOTH}\r\n"),
    "obs-fold in the first line": post(" X-A: 1\r\n").replace("Host", " Host"),
    "bare LF": after(f"X-A: 1\nContent-Length: {BOTH}\r\n"),
    "bare LF ends the head": post("X-A: 1\n\n", SMUGGLED).replace("\r\n\r\nGET", "\nGET"),
    "bare LF ends the request line": post().replace("1.1\r\n", "1.1\n") + SMUGGLED,
    "bare CR": after(f"X-A: 1\rContent-Length: {BOTH}\r\n"),
    "bare CR in the empty line": post().replace("\r\n\r\n", "\r\n\r\r\n") + SMUGGLED,
    "NUL in a value": after("X-A: 1\0\r\nContent-Length: 0\r\n"),
    "no name": after(f": 1\r\nContent-Length: {BOTH}\r\n"),
    # ---- request lines and hosts
    "two spaces": post(line="POST  /first HTTP/1.1") + SMUGGLED,
    "a tab": post(line="POST\t/first HTTP/1.1") + SMUGGLED,
    "words behind the version": post(line="POST /first HTTP/1.1 HTTP/1.1") + SMUGGLED,
    "a version's lookalike": post(line="POST /first HTTP/1.1x") + SMUGGLED,
    "HTTP/0.9": "GET /smuggled\r\n\r\n",
    "HTTP/2.0 in words": post(line="POST /first HTTP/2.0") + SMUGGLED,
    "LF in the target": post(line="POST /first\n/smuggled HTTP/1.1") + SMUGGLED,
    "NUL in the target": post(line="POST /first\0 HTTP/1.1") + SMUGGLED,
    "a fragment": post(line="POST /first#/smuggled HTTP/1.1") + SMUGGLED,
    "two hosts": post("Host: other.test\r\n") + SMUGGLED,
    "two hosts, the same": post("Host: shop.test\r\n") + SMUGGLED,
    "no host": "GET /smuggled HTTP/1.1\r\n\r\n",
    # ---- a body of two types: rules look at it as one, an origin as the other
    "two media types": post("Content-Type: application/x-www-form-urlencoded\r\nContent-Type: text/xml\r\n"
                            "Content-Length: 0\r\n"),
    "two boundaries": post('Content-Type: multipart/form-data; boundary=a\r\n'
                           'content-type: multipart/form-data; boundary=b\r\nContent-Length: 0\r\n'),
    "another authority": post(line="POST http://other.test/first HTTP/1.1") + SMUGGLED,
    "a host with a user": post().replace("shop.test", "me@shop.test") + SMUGGLED,
    "a host with a path": post().replace("shop.test", "shop.test/smuggled") + SMUGGLED,
    "a list of hosts": post().replace("shop.test", "shop.test, other.test") + SMUGGLED,
    "CONNECT": post(line="CONNECT shop.test:80 HTTP/1.1").replace("POST", "CONNECT") + SMUGGLED,
    "an unknown expectation": after(f"Expect: 100-continued\r\nContent-Length: {BOTH}\r\n"),
    # ---- chunks
    **{f"chunk {name}": chunks(text) for name, text in {
        "size with plus": "+0\r\n\r\n",
        "size with minus": "-0\r\n\r\n",
        "size with 0x": "0x0\r\n\r\n",
        "size empty": "\r\n\r\n",
        "size beyond 64 bits": "10000000000000000\r\n",
        "size of many zeros": "0" * 20 + "\r\n\r\n",
        "size with an underscore": "1_0\r\n",
        "space before the size": " 1\r\na\r\n" + LAST,
        "space behind the size": "1 \r\na\r\n" + LAST,
        "tab behind the size": "1\t\r\na\r\n" + LAST,
        "bare LF behind the size": "1\na\n0\n\n",
        "bare CR behind the size": "1\ra\r0\r\r",
        "CR CR LF": "1\r\r\na\r\n" + LAST,
        "data longer than the size": "1\r\naX\r\n" + LAST,
        "data shorter than the size": "3\r\na\r\n" + LAST,
        "data that ends with LF": "1\r\na\n" + LAST,
        "extension with LF": "1;a\nb\r\na\r\n" + LAST,
        "extension with LF at once": f"2;\nxx\r\n{SIZE}\r\n" + LAST,
        "extension with CR": "1;a\rb\r\na\r\n" + LAST,
        "extension with NUL": "1;a\0\r\na\r\n" + LAST,
        "extension, quoted LF": '1;a="\n"\r\na\r\n' + LAST,
        "extension without end": "1;" + "a" * 20_000 + "\r\na\r\n" + LAST,
        "trailer folded": "0\r\nX: 1\r\n y\r\n\r\n",
        "trailer with LF": "0\r\nX: 1\n\r\n",
        "trailer with a space before the colon": "0\r\nX : 1\r\n\r\n",
        "trailer without a colon": "0\r\nX\r\n\r\n",
        "trailer with NUL": "0\r\nX: \0\r\n\r\n",
        "end with LF": "0\n\n",
    }.items()},
}
# Passed on as exactly one request, with this body: what looks like a second one stays inside, or is gone.
PASSED = {
    "a request as the body": (post(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "a request as a chunk": (post(CHUNKED, f"{SIZE}\r\n{SMUGGLED}\r\n{LAST}"), SMUGGLED),
    "a chunk that looks like the last": (post(CHUNKED, f"5\r\n{LAST}\r\n{SIZE}\r\n{SMUGGLED}\r\n{LAST}"),
                                         LAST + SMUGGLED),
    "a body of GET":
        (post(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED, "GET /first HTTP/1.1"), SMUGGLED),
    "a length named in Connection":
        (post(f"Connection: Content-Length\r\nContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "a coding named in Connection":
        (post(f"Connection: Transfer-Encoding\r\n{CHUNKED}", f"{SIZE}\r\n{SMUGGLED}\r\n{LAST}"), SMUGGLED),
    "a content coding named in Connection":
        (post(f"Connection: Content-Encoding\r\nContent-Encoding: gzip\r\nContent-Length: {len(SMUGGLED)}\r\n",
              SMUGGLED), SMUGGLED),
    "a host named in Connection":
        (post(f"Connection: Host\r\nContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "the coding in capitals": (post("TRANSFER-ENCODING: CHUNKED\r\n", f"{SIZE}\r\n{SMUGGLED}\r\n{LAST}"),
                               SMUGGLED),
    "the coding between tabs": (post("Transfer-Encoding:\tchunked\t\r\n", f"{SIZE}\r\n{SMUGGLED}\r\n{LAST}"),
                                SMUGGLED),
    "leading zeros": (post(f"Content-Length: 000{len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "extensions": (post(CHUNKED, f'{SIZE};a=b;c="d;e"\r\n{SMUGGLED}\r\n0;f\r\n\r\n'), SMUGGLED),
    "a length as trailer": (post(CHUNKED, f"{SIZE}\r\n{SMUGGLED}\r\n0\r\nContent-Length: 0\r\n"
                                          "Transfer-Encoding: chunked\r\nHost: other.test\r\n\r\n"), SMUGGLED),
    "an upgrade to h2c":
        (post("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
              f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "an upgrade to h2c among others": (post(f"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"
                                            f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "an expectation":
        (post(f"Expect: 100-continue\r\nContent-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
    "one empty line first":
        ("\r\n" + post(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED), SMUGGLED),
}


class World:
    """One edge and the origin that records."""

    def __init__(self, directory):
        self.origin = rig.Origin("a")
        self.port, = rig.free_ports(1)
        self.edge = rig.Edge(directory, f"""
listeners: [{{ address: 127.0.0.1, port: {self.port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{self.origin.port}"] }} }}
routes: [{{ origins: web }}]
threads: 1
""")
        self.expected = 0  # requests at the origin, of all cases

    def arrived(self):
        return len(self.origin.requests)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("smuggling"))
    with w.edge:
        yield w


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(world, name):
    before = world.arrived()
    with rig.connect(world.port) as wire:
        wire.send(REFUSED[name].encode("latin-1"))
        answer = wire.rest()
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 405", b"HTTP/1.1 417", b"HTTP/1.1 501",
                           b"HTTP/1.1 505"), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert world.arrived() == before


@pytest.mark.parametrize("name", PASSED)
def test_what_can_be_read_in_one_way_is_one_request(world, name):
    sent, body = PASSED[name]
    before = world.arrived()
    world.expected += 1
    with rig.connect(world.port) as wire:
        wire.send(sent.encode("latin-1"))
        assert wire.reply().status == 200
    assert world.arrived() == before + 1
    seen = world.origin.requests[-1]
    assert (seen.target, seen.body) == ("/first", body.encode("latin-1"))
    names = collections.Counter(n.lower() for n, _ in seen.fields)
    assert names["host"] == 1 and names["content-length"] + names["transfer-encoding"] == 1
    assert names["upgrade"] == 0 and names["http2-settings"] == 0
    assert names["content-encoding"] == sent.count("Content-Encoding:")
    assert not {n.lower() for n, _ in seen.trailers} & {"host", "content-length", "transfer-encoding"}


# ---- the way down from HTTP/2: fields, and what the DATA is

POST = get("/first", "POST")
DOWNGRADES = {
    "H2.TE": [*POST, ("transfer-encoding", "chunked")],
    "H2.TE in capitals": [*POST, ("Transfer-Encoding", "chunked")],
    "H2.TE with an underscore": [*POST, ("transfer_encoding", "chunked")],
    "H2.TE behind a line break in a value": [*POST, ("x-a", "1\r\ntransfer-encoding: chunked")],
    "H2.TE behind a line break in a name": [*POST, ("x-a: 1\r\ntransfer-encoding", "chunked")],
    "H2.TE behind a line break in a cookie": [*POST, ("cookie", "a=1\r\ntransfer-encoding: chunked")],
    "H2.TE behind a line break in te": [*POST, ("te", "trailers\r\ntransfer-encoding: chunked")],
    "H2.CL too small": [*POST, ("content-length", "5")],
    "H2.CL 0": [*POST, ("content-length", "0")],
    "H2.CL too large": [*POST, ("content-length", "500")],
    "H2.CL twice": [*POST, ("content-length", "0"), ("content-length", "5")],
    "H2.CL twice the same": [*POST, *[("content-length", str(len(SMUGGLED)))] * 2],
    "H2.CL list": [*POST, ("content-length", f"{len(SMUGGLED)}, {len(SMUGGLED)}")],
    "H2.CL plus": [*POST, ("content-length", f"+{len(SMUGGLED)}")],
    "H2.CL with an underscore": [*POST, ("content_length", "0")],
    "H2.CL behind an LF in a value": [*POST, ("x-a", "1\ncontent-length: 0")],
    "H2.CL behind a CR in a value": [*POST, ("x-a", "1\rcontent-length: 0")],
    "a colon in a name": [*POST, ("content-length:", "0")],
    "NUL in a value": [*POST, ("x-a", "1\0")],
    "connection": [*POST, ("connection", "keep-alive")],
    "upgrade": [*POST, ("upgrade", "h2c")],
    "a request in the path": [(n, "/first HTTP/1.1\r\nHost: shop.test\r\n\r\n" + SMUGGLED
                               if n == ":path" else v) for n, v in POST],
    "a space in the path": get("/first HTTP/1.1", "POST"),
    "a tab in the path": get("/first\tHTTP/1.1", "POST"),
    "a fragment in the path": get("/first#a", "POST"),
    "an absolute path": get("http://other.test/first", "POST"),
    "a request in the method": [(":method", "GET /smuggled HTTP/1.1\r\nA: b"), *POST[1:]],
    "a space in the method": [(":method", "GET /smuggled"), *POST[1:]],
    "a line break in the scheme": [POST[0], (":scheme", "http\r\nx-a: 1"), *POST[2:]],
    "a line break in the authority": [*POST[:3], (":authority", "shop.test\r\ncontent-length: 0")],
    "a space in the authority": [*POST[:3], (":authority", "shop.test other.test")],
    "a path in the authority": [*POST[:3], (":authority", "shop.test/smuggled?")],
    "two media types": [*POST, ("content-type", "text/xml"), ("content-type", "application/json")],
    "a user in the authority": [*POST[:3], (":authority", "other.test@shop.test")],
    "two hosts": [*POST, ("host", "other.test")],
    "a host twice": [*POST[:3], ("host", "shop.test"), ("host", "other.test")],
    "two paths": [*POST[:3], (":path", "/smuggled"), POST[3]],
    "two methods": [*POST, (":method", "GET")],
    "a pseudo field after others": [("x-a", "1"), *POST],
    "no method": POST[1:],
    "no scheme": [POST[0], *POST[2:]],
    "an unknown pseudo field": [*POST, (":evil", "1")],
    "a pseudo field of a response": [*POST, (":status", "200")],
    "an empty name": [*POST, ("", "1")],
    "an unknown expectation": [*POST, ("expect", "200-ok")],
}
# Trailers after a body without content-length: that becomes a chunked one, and they its trailers.
TRAILERS = {
    "a length": [("content-length", "0")], "a coding": [("transfer-encoding", "chunked")],
    "a line break": [("x-a", "1\r\n\r\n" + SMUGGLED)], "a host": [("host", "other.test")],
    "a pseudo field": [(":path", "/smuggled")],
}


def outcome(h2, stream):
    """"refused", or the status that the response's HPACK block begins with."""
    for kind, _, number, payload in h2.frames():
        if kind == GOAWAY or (kind == RST_STREAM and number == stream):
            return "refused"
        if kind == HEADERS and number == stream:
            return "passed" if payload.startswith(b"\x88") else "refused"
    return "refused"


@pytest.mark.parametrize("name", DOWNGRADES)
def test_nothing_is_smuggled_on_the_way_down_from_http2(world, name):
    before = world.arrived()
    with H2(world.port) as h2:
        h2.send(request(1, DOWNGRADES[name], END_HEADERS),
                frame(DATA, END_STREAM, 1, SMUGGLED.encode()))
        assert outcome(h2, 1) == "refused"
    # What is refused at its head never reaches an origin; a wrong length may, as a request that breaks off.
    assert world.arrived() == before


@pytest.mark.parametrize("name", TRAILERS)
def test_trailers_of_http2_frame_nothing(world, name):
    before = world.arrived()
    with H2(world.port) as h2:
        h2.send(request(1, POST, END_HEADERS), frame(DATA, 0, 1, b"abc"),
                frame(HEADERS, END_STREAM | END_HEADERS, 1, block(TRAILERS[name])))
        passed = outcome(h2, 1) == "passed"
    world.expected += passed
    assert world.arrived() == before + passed
    if passed:
        assert world.origin.requests[-1].body == b"abc" and not world.origin.requests[-1].trailers


def test_http2_bodies_are_framed_once(world):
    for fields, framing in (([], "transfer-encoding"),
                            ([("content-length", str(len(SMUGGLED)))], "content-length")):
        with H2(world.port) as h2:
            h2.send(request(1, [*POST, *fields], END_HEADERS), frame(DATA, END_STREAM, 1, SMUGGLED.encode()))
            assert outcome(h2, 1) == "passed"
        world.expected += 1
        seen = world.origin.requests[-1]
        assert (seen.target, seen.body) == ("/first", SMUGGLED.encode())
        assert [n.lower() for n, _ in seen.fields if n.lower() in ("content-length", "transfer-encoding")] \
            == [framing]


# ---- what origins say

RESPONSES = {
    "CL and TE": "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL twice": "Content-Length: 2\r\nContent-Length: 7\r\n\r\nok",
    "CL with plus": "Content-Length: +2\r\n\r\nok",
    "TE list": "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "folded": "X-A: 1\r\n Content-Length: 2\r\n\r\nok",
    "bare LF": "X-A: 1\nContent-Length: 2\r\n\r\nok",
    "space before the colon": "Content-Length : 2\r\n\r\nok",
}


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_that_could_be_read_in_two_ways_are_refused(world, name):
    world.origin.handlers["/odd"] = lambda wire, _: wire.send(
        ("HTTP/1.1 200 OK\r\n" + RESPONSES[name]).encode())
    with rig.connect(world.port) as wire:
        assert wire.ask("/odd", "POST").status == 502


def test_in_the_end_the_origin_has_seen_what_was_meant_for_it(world):
    """The edge is ended, so every connection to the origin is, and what was under way has arrived."""
    world.edge.terminate()
    world.edge.wait()
    deadline = time.monotonic() + 10
    while world.origin.connections() and time.monotonic() < deadline:
        time.sleep(0.01)
    targets = collections.Counter(r.target for r in world.origin.requests)
    targets.pop("/odd", None)
    assert targets == {"/first": world.expected}
