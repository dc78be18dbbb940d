"""What one client can make of the answer that others get: nothing. Each request here tries to have something
stored that only its sender should have seen.
"""

import os

import pytest

import edge_rig as rig
from h2_wire import H2, get

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")
KEPT = ("Cache-Control", "max-age=60")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = rig.OneOrigin(tmp_path_factory.mktemp("poison"), ", cache: all",
                      "cache_policies: { all: { store_post: true } }")
    with w.edge:
        yield w


def ask(world, target, fields=(), **more):
    with rig.connect(world.port) as wire:
        return wire.ask(target, fields=fields, **more)


def test_a_coding_that_only_one_asked_for_is_not_sent_to_others(world):
    def negotiate(wire, request):
        accepted = request.field("Accept-Encoding") or ""
        coded = [("Content-Encoding", "deflate")] if "deflate" in accepted else []
        world.origin.answer(wire, request, 200, b"coded" if coded else b"plain",
                            [KEPT, ("Vary", "Accept-Encoding"), *coded])

    world.origin.handlers["/coded"] = negotiate
    assert ask(world, "/coded", [("Accept-Encoding", "deflate")]).body == b"coded"
    assert ask(world, "/coded").body == b"plain"
    assert ask(world, "/coded", [("Accept-Encoding", "deflate;q=0")]).body == b"plain"


@pytest.mark.parametrize("named", ["Accept-Language", "accept-language, close", "X, Accept-Language"])
def test_what_the_origin_was_not_told_does_not_choose_the_variant(world, named):
    target = "/page?" + "".join(c for c in named if c.isalnum())

    def by_language(wire, request):
        text = b"de" if request.field("Accept-Language") == "de" else b"default"
        world.origin.answer(wire, request, 200, text, [KEPT, ("Vary", "Accept-Language")])

    world.origin.handlers["/page"] = by_language
    assert ask(world, target, [("Accept-Language", "de"), ("Connection", named)]).body == b"default"
    assert ask(world, target, [("Accept-Language", "de")]).body == b"de"


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Forwarded-Port", "X_Forwarded_Host",
                                  "x-forwarded-prefix", "X-Forwarded-Server", "X-Forwarded-Scheme",
                                  "Forwarded", "X-Real-IP", "X_Real_IP", "Proxy"])
def test_a_client_does_not_tell_the_origin_what_only_a_proxy_knows(world, name):
    target = f"/links?{name}"

    def link(wire, request):
        told = request.field(name) or "shop.test"
        world.origin.answer(wire, request, 200, f"https://{told}/".encode(), [KEPT])

    world.origin.handlers["/links"] = link
    assert ask(world, target, [(name, "evil.test")]).body == b"https://shop.test/"
    assert ask(world, target).body == b"https://shop.test/"


def to_canonical_host(world):
    """An origin that sends everybody to the host as it writes it, and lets that be stored."""
    def page(wire, request):
        if request.field("Host") == "shop.test":
            return world.origin.answer(wire, request, 200, b"page", [KEPT])
        return world.origin.answer(wire, request, 301, b"", [KEPT, ("Location", "http://shop.test/canonical")])

    world.origin.handlers["/canonical"] = page


@pytest.mark.parametrize("written", ["shop.test.", "shop.test:80", "SHOP.test", "Shop.Test.:80"])
def test_a_host_written_otherwise_is_the_same_host_to_the_origin_too(world, written):
    to_canonical_host(world)
    target = f"/canonical?{written.replace(':', '-')}"
    assert (ask(world, target, host=written).status, ask(world, target).status) == (200, 200)
    assert world.origin.count(target) == 1 and world.origin.last(target).field("Host") == "shop.test"


@pytest.mark.parametrize("written", ["shop.test:8080", "shop.test:443", "other.test"])
def test_another_host_or_port_has_an_answer_of_its_own(world, written):
    to_canonical_host(world)
    target = f"/canonical?{written.replace(':', '-')}"
    assert ask(world, target, host=written).status == 301
    assert world.origin.last(target).field("Host") == written
    assert ask(world, target).status == 200
    assert ask(world, target, host=written.upper()).status == 301
    assert world.origin.count(target) == 2


def test_a_host_of_http2_written_otherwise_is_the_same_host_too(world):
    to_canonical_host(world)
    with H2(world.port) as h2:
        fields = [(name, "SHOP.test." if name == ":authority" else value) for name, value in get("/canonical?h2")]
        assert h2.response(h2.request(fields))[1] == b"page"
    assert ask(world, "/canonical?h2").body == b"page"
    assert world.origin.count("/canonical?h2") == 1


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "x-http-method", "X_Method_Override"])
def test_a_get_that_an_application_takes_for_another_method_is_nobody_elses(world, name):
    target = f"/overridden?{name}"

    def overridden(wire, request):
        body = b"" if request.field(name) == "HEAD" else b"page"
        world.origin.answer(wire, request, 200, body, [KEPT])

    world.origin.handlers["/overridden"] = overridden
    assert ask(world, target, [(name, "HEAD")]).body == b""
    assert ask(world, target).body == b"page"
    told = ask(world, target, [(name, "HEAD")])  # not from the cache either
    assert told.body == b"" and "detail=method-override" in told.field("Cache-Status")
    assert ask(world, target).body == b"page"


def test_what_varies_by_what_the_edge_says_of_the_client_is_that_clients_own(world):
    def personal(wire, request):
        world.origin.answer(wire, request, 200, request.field("X-Forwarded-For").encode(),
                            [KEPT, ("Vary", "X-Forwarded-For")])

    world.origin.handlers["/personal"] = personal
    for _ in range(2):
        reply = ask(world, "/personal")
        assert "detail=vary-star" in reply.field("Cache-Status")
    assert world.origin.count("/personal") == 2


def test_no_content_has_no_length(world):
    def nothing(wire, request):
        wire.send(b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n")

    world.origin.handlers["/nothing"] = nothing
    reply = ask(world, "/nothing", method="PUT", body=b"")
    assert reply.status == 204 and reply.field("Content-Length") is None
