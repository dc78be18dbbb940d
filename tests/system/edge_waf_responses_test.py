"""What origins answer, under rules of phases 3 and 4: leaks are refused before their first byte, and
everything else arrives as it was sent."""

import gzip
import json
import os
import subprocess
import threading

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
cache_policies:
  pages: {{ ttl_default: 1h }}
  films: {{ ttl_default: 1h, slice_bytes: 65536 }}
routes:
  - {{ origins: web }}
  - {{ path: /cached, origins: web, cache: pages }}
  - {{ path: /sliced, origins: web, cache: films }}
firewall:
  rules_file: rules.conf
  mode: {mode}
  responses: true
  response_bytes_max: 65536
  response_hold: 500ms
  audit_log: relevant
threads: 1
access_log: json
"""
RULES = """
SecRuleEngine On
SecResponseBodyAccess On
SecResponseBodyMimeType text/html application/json
SecRule RESPONSE_HEADERS:X-Debug "@rx ." "id:31,phase:3,deny,status:502,log,msg:'Debugging'"
SecRule RESPONSE_BODY "@contains stack trace" "id:41,phase:4,deny,log,msg:'A stack trace'"
SecRule REQUEST_HEADERS:X-Tester "@streq yes" "id:11,phase:1,pass,nolog,ctl:ruleRemoveById=41"
"""
HTML = ("Content-Type", "text/html; charset=utf-8")
LEAK = b"<p>oops</p><pre>stack trace: at shop.Main</pre>"


class World:
    def __init__(self, directory, mode="block"):
        self.origin, (self.port,) = rig.Origin("web"), rig.free_ports(1)
        (directory / "rules.conf").write_text(RULES)
        self.directory = directory
        self.edge = rig.Edge(directory, self.section(mode))

    def section(self, mode):
        return SECTION.format(port=self.port, origin=self.origin.port, mode=mode)

    def serve(self, path, body, status=200, fields=(HTML,)):
        self.origin.handlers[path] = lambda wire, request: rig.Origin.answer(
            wire, request, status, body, fields)

    def ask(self, target, method="GET", fields=()):
        with rig.connect(self.port) as wire:
            return wire.ask(target, method, fields)

    def outcome(self, name):
        return self.edge.metric(f'leeward_waf_responses_total{{outcome="{name}"}}')


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("responses"))
    with w.edge:
        yield w


def test_a_leak_is_refused_before_its_first_byte(world):
    world.serve("/leak", LEAK)
    refused = world.ask("/leak")
    assert refused.status == 403 and b"stack" not in refused.body
    world.serve("/debug", b"fine", fields=(HTML, ("X-Debug", "1")))
    assert world.ask("/debug").status == 502
    told = world.edge.access_lines(lambda e: e["target"] == "/leak")[-1]
    assert told["waf"] == "block" and told["rule"] == "41" and told["status"] == 403
    world.edge.wait_for("a response was refused")
    (audit,) = (world.directory / "state").rglob("audit.log")
    entry = json.loads(audit.read_text().splitlines()[0])["transaction"]
    assert entry["messages"][0]["details"]["ruleId"] == "41" and entry["response"]["http_code"] == 403


def test_what_phase_1_takes_out_for_a_request_is_out_for_its_response(world):
    world.serve("/leak", LEAK)
    assert world.ask("/leak", fields=[("X-Tester", "yes")]).body == LEAK


def test_packed_leaks_are_found_and_packed_pages_arrive_as_sent(world):
    packed = (HTML, ("Content-Encoding", "gzip"))
    world.serve("/packed-leak", gzip.compress(LEAK), fields=packed)
    assert world.ask("/packed-leak", fields=[("Accept-Encoding", "gzip")]).status == 403
    page = gzip.compress(b"<p>fine</p>" * 1000)
    world.serve("/packed", page, fields=packed)
    reply = world.ask("/packed", fields=[("Accept-Encoding", "gzip")])
    assert reply.body == page and reply.field("Content-Encoding") == "gzip"


def test_answers_of_every_shape_arrive_whole(world):
    world.serve("/empty", b"")
    assert world.ask("/empty").body == b""
    world.serve("/page", b"<p>fine</p>")
    assert world.ask("/page").body == b"<p>fine</p>"
    head = world.ask("/page", "HEAD")
    assert head.status == 200 and head.field("Content-Length") == "11"
    large = b"x" * 65536 + LEAK * 20_000
    world.serve("/large", large)  # longer than what is looked at
    assert world.ask("/large").body == large
    world.serve("/image", LEAK, fields=(("Content-Type", "image/png"),))
    assert world.ask("/image").body == LEAK  # no type that the rules read
    world.serve("/part", LEAK, 206, (HTML, ("Content-Range", "bytes 0-46/100")))
    assert world.ask("/part", fields=[("Range", "bytes=0-46")]).status == 206

    def chunked(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n"
                  b"Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n")

    world.origin.handlers["/chunked"] = chunked
    reply = world.ask("/chunked")
    assert reply.body == b"hello" and ("X-Sum", "5") in reply.trailers
    done = subprocess.run(["curl", "-s", "--http2-prior-knowledge",
                           f"http://127.0.0.1:{world.port}/page"], capture_output=True, timeout=20)
    assert done.stdout == b"<p>fine</p>"
    with rig.connect(world.port) as wire:  # a connection goes on after a refusal
        assert [wire.ask(t).status for t in ("/page", "/leak", "/page")] == [200, 403, 200]


def test_a_slow_answer_is_held_for_a_while_only(world):
    go_on = threading.Event()

    def slow(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\n\r\nfirst")
        go_on.wait(20)
        wire.send(b"later")

    world.origin.handlers["/slow"] = slow
    with rig.connect(world.port) as wire:
        wire.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        first, _ = wire.head()
        assert "200" in first and wire.take(5) == b"first"  # while the rest has not been sent
        go_on.set()
        assert wire.take(5) == b"later"

    def broken(wire, _):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\n\r\nfirst")
        raise EOFError  # closes

    world.origin.handlers["/broken"] = broken
    assert world.ask("/broken").status == 502


def test_the_cache_keeps_no_leak_and_its_hits_are_not_inspected_again(world):
    world.serve("/cached/leak", LEAK)
    assert [world.ask("/cached/leak").status for _ in range(2)] == [403, 403]
    assert world.origin.count("/cached/leak") == 2
    world.serve("/cached/page", b"<p>kept</p>")
    assert world.ask("/cached/page").body == b"<p>kept</p>"
    inspected = world.outcome("pass")
    hit = world.ask("/cached/page")
    assert hit.body == b"<p>kept</p>" and "hit" in hit.field("Cache-Status")
    assert world.outcome("pass") == inspected and world.origin.count("/cached/page") == 1


def test_what_fits_into_one_slice_is_inspected_and_larger_answers_are_named(world):
    def serve_parts(path, body):
        def handler(wire, request):
            first, last = map(int, request.field("Range").removeprefix("bytes=").split("-"))
            last = min(last, len(body) - 1)
            rig.Origin.answer(wire, request, 206, body[first:last + 1],
                              (HTML, ("ETag", '"1"'), ("Content-Range", f"bytes {first}-{last}/{len(body)}")))

        world.origin.handlers[path] = handler

    serve_parts("/sliced/leak", LEAK)
    assert [world.ask("/sliced/leak").status for _ in range(2)] == [403, 403]
    assert world.origin.count("/sliced/leak") == 2
    serve_parts("/sliced/page", b"<p>kept</p>")
    first = world.ask("/sliced/page")
    assert first.status == 200 and first.body == b"<p>kept</p>"
    again = world.ask("/sliced/page")
    assert again.body == first.body and "hit" in again.field("Cache-Status")
    assert world.origin.count("/sliced/page") == 1
    large = LEAK + b"x" * 100_000  # in slices, of which none is the whole
    serve_parts("/sliced/large", large)
    assert world.ask("/sliced/large").body == large
    told = world.edge.cli("validate")
    assert told.returncode == 0, told.stderr
    assert "note: answers on route /sliced that are larger than 65536 bytes are not inspected" in told.stderr
    assert "/cached" not in told.stderr


def test_detect_only_tells(world):
    world.serve("/leak", LEAK)
    world.edge.write(world.section("detect"))
    world.edge.reload()
    assert world.ask("/leak").body == LEAK
    assert world.outcome("detect") == 1
    world.edge.wait_for("a response would be refused in mode block")
    world.edge.write(world.section("block"))
    world.edge.reload()
    assert world.ask("/leak").status == 403


POLICY = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall: {{ mode: block, responses: true, policy: {{ groups: {{ php: {php} }} }} }}
threads: 1
"""


@pytest.mark.skipif(not os.path.exists("/usr/share/modsecurity-crs/rules"),
                    reason="modsecurity-crs is not installed")
def test_a_policy_knows_the_errors_of_databases(tmp_path):
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    pages = {"/ok": b"<p>fine</p>", "/php": b"<?php $password = 1; ?>",
             "/sql": b"You have an error in your SQL syntax; check the manual that corresponds to "
                     b"your MySQL server version for the right syntax to use near 'a' at line 1"}
    for path, page in pages.items():
        origin.handlers[path] = lambda wire, request, page=page: rig.Origin.answer(
            wire, request, 200, page, (HTML,))
    fields = [("User-Agent", "Mozilla/5.0"), ("Accept", "*/*")]
    with rig.Edge(tmp_path, POLICY.format(port=port, origin=origin.port, php="block")) as edge:
        def ask(path):
            with rig.connect(port) as wire:
                return wire.ask(path, fields=fields).status

        assert [ask(path) for path in ("/ok", "/sql", "/php")] == [200, 403, 403]
        edge.write(POLICY.format(port=port, origin=origin.port, php='"off"'))
        edge.reload()
        assert [ask(path) for path in ("/ok", "/sql", "/php")] == [200, 403, 200]
