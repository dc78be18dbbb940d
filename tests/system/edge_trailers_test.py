"""Trailers of requests: they come when a request was judged already, so they must say nothing that matters."""

import os

import pytest

import edge_rig as rig
from h2_wire import DATA, END_HEADERS, END_STREAM, H2, HEADERS, block, frame, get

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")
HARMLESS = [("X-Sum", "3"), ("Server-Timing", "a;dur=1")]
# What an application that puts trailers to the fields of the head would take for a proxy's word, or for another
# request than the one that was judged.
LIES = [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.test"), ("x_forwarded_proto", "https"),
        ("X-Forwarded-User", "admin"), ("X-Real-IP", "127.0.0.1"), ("Forwarded", "for=127.0.0.1"),
        ("X-Original-URL", "/admin"), ("X-Rewrite-URL", "/admin"), ("X-Original-Host", "evil.test"),
        ("X-HTTP-Method-Override", "DELETE"), ("X_HTTP_Method", "DELETE"), ("Proxy", "http://evil.test"),
        ("Via", "1.1 gcp-edge"), ("Leeward-Edge-Hop", "127.0.0.1"), ("leeward_edge_hop", "127.0.0.1"),
        ("If-Match", '"a"'), ("Transfer_Encoding", "chunked"), ("Content_Length", "0"), ("Cookie", "session=1"),
        ("Authorization", "Basic YTpi")]


def post_http1(port, target, trailers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    with rig.connect(port) as wire:
        wire.send((f"POST {target} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                   f"3\r\nabc\r\n0\r\n{lines}\r\n").encode())
        assert wire.reply().status == 200


def post_http2(port, target, trailers):
    with H2(port) as h2:
        stream = h2.request(get(target, "POST"), END_HEADERS)
        h2.send(frame(DATA, 0, stream, b"abc"),
                frame(HEADERS, END_STREAM | END_HEADERS, stream,
                      block([(name.lower(), value) for name, value in trailers])))
        head, _ = h2.response(stream)
        assert head.startswith(b"\x88"), head


POSTS = [post_http1, post_http2]


def arrived(world, target):
    seen = world.origin.last(target)
    assert seen.body == b"abc"
    return [(name.lower(), value) for name, value in seen.trailers]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = rig.OneOrigin(tmp_path_factory.mktemp("trailers"))
    with w.edge:
        yield w


@pytest.fixture(scope="module", params=["block", "detect"])
def judged(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("judged")
    (directory / "rules.conf").write_text(
        'SecRuleEngine On\nSecRule ARGS "@contains evil" "id:1,phase:2,deny,log,msg:\'No evil\'"\n')
    w = rig.OneOrigin(directory, more=f"firewall: {{ rules_file: rules.conf, mode: {request.param}, workers: 2 }}")
    with w.edge:
        yield w


@pytest.mark.parametrize("post", POSTS)
def test_an_origin_gets_those_that_a_head_could_have_too(world, post):
    post(world.port, "/mixed", [HARMLESS[0], *LIES, HARMLESS[1]])
    assert arrived(world, "/mixed") == [(name.lower(), value) for name, value in HARMLESS]


@pytest.mark.parametrize("post", POSTS)
def test_where_there_are_rules_none_goes_on(judged, post):
    post(judged.port, "/judged", [*HARMLESS, ("X-Query", "evil")])
    assert arrived(judged, "/judged") == []
