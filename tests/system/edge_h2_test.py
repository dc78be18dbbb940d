"""HTTP/2 at a real edge: what clients of it rely on. Rules of RFC 9113 and 7541 case by case are in
edge_rfc9113_test.py and edge_rfc7541_test.py, attacks in edge_smuggling_test.py and edge_attack_test.py."""

import os
import shutil
import struct
import subprocess

import pytest

import edge_rig as rig
from h2_wire import (CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE,
                     block, frame, get, request, rst_stream)

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = rig.OneOrigin(tmp_path_factory.mktemp("h2"), ", cache: pages", "cache_policies: { pages: { } }")
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


def test_requests_may_come_with_the_preface(world):
    """More than the edge looks at before others have their turn."""
    streams = range(1, 200, 2)
    requests = b"".join(request(stream, get(f"/{stream}", more=[("x-pad", "y" * 200)])) for stream in streams)
    bodies = {}
    with H2(world.port, PREFACE + frame(SETTINGS) + requests) as h2:
        for kind, flags, number, payload in h2.frames():
            if kind == DATA:
                bodies[number] = bodies.get(number, b"") + payload
            if len(bodies) == len(streams) and flags & END_STREAM:
                break
    assert bodies == {stream: f"a /{stream}\n".encode() for stream in streams}


def test_a_new_client_may_take_everything_back(world):
    """A page that is left while it loads: every stream that it may have is reset, once."""
    with H2(world.port) as h2:
        streams = [h2.request(get(f"/left/{number}")) for number in range(128)]
        h2.send(*[rst_stream(stream) for stream in streams])
        assert h2.response(h2.request(get("/stays")))[1] == b"a /stays\n"


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
