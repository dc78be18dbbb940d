"""TLS from a real edge to its origins: who is verified, what is resumed, and what an operator learns
of a certificate that is none."""

import os
import ssl
import threading
import time

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins:
  good: {{ servers: ["127.0.0.1:{good}"], tls: {{ ca: ca.pem, name: origin.test }} }}
  address: {{ servers: ["127.0.0.1:{good}"], tls: {{ ca: ca.pem }} }}
  old: {{ servers: ["127.0.0.1:{old}"], tls: {{ ca: ca.pem, name: origin.test }} }}
  expired:
    servers: ["127.0.0.1:{expired}", "127.0.0.1:{good}"]
    ejection: 100ms
    tls: {{ ca: ca.pem, name: origin.test }}
  other: {{ servers: ["127.0.0.1:{other}"], tls: {{ ca: ca.pem, name: origin.test }} }}
  strange: {{ servers: ["127.0.0.1:{strange}"], tls: {{ ca: ca.pem, name: origin.test }} }}
  system: {{ servers: ["127.0.0.1:{good}"], tls: {{ name: origin.test }} }}
  plain: {{ servers: ["127.0.0.1:{plain}"], tls: {{ ca: ca.pem, name: origin.test }} }}
  mutual:
    servers: ["127.0.0.1:{mutual}"]
    tls: {{ ca: ca.pem, name: origin.test, certificate: edge.pem, key: edge.key }}
  nobody: {{ servers: ["127.0.0.1:{mutual}"], tls: {{ ca: ca.pem, name: origin.test }} }}
  told:
    servers: ["127.0.0.1:{told}"]
    proxy_protocol: true
    tls: {{ ca: ca.pem, name: origin.test }}
    check: {{ path: /ready, interval: 100ms, timeout: 2s }}
  checked:
    servers: ["127.0.0.1:{checked}"]
    tls: {{ ca: checked_ca.pem, name: origin.test }}
    check: {{ path: /ready, interval: 100ms, timeout: 2s }}
routes:
  - {{ host: good.test, origins: good }}
  - {{ host: address.test, origins: address }}
  - {{ host: old.test, origins: old }}
  - {{ host: expired.test, origins: expired }}
  - {{ host: other.test, origins: other }}
  - {{ host: strange.test, origins: strange }}
  - {{ host: system.test, origins: system }}
  - {{ host: plain.test, origins: plain }}
  - {{ host: mutual.test, origins: mutual }}
  - {{ host: nobody.test, origins: nobody }}
  - {{ host: told.test, origins: told }}
  - {{ host: checked.test, origins: checked }}
timeouts: {{ connect: 2s }}
threads: 1
"""
ORIGINS = ("good", "old", "expired", "other", "strange", "plain", "mutual", "told", "checked")


class World:
    """The edge of this module, its origins by name, and who signs for them."""

    def __init__(self, directory):
        self.ca = rig.Authority(directory)
        self.ca.issue("good", "DNS:origin.test,IP:127.0.0.1")
        self.ca.issue("expired", "DNS:origin.test", days=-1)
        self.ca.issue("other", "DNS:else.test")
        self.ca.issue("edge", "DNS:edge.test")
        stranger = rig.Authority(directory, "stranger")
        stranger.issue("strange", "DNS:origin.test")
        self.checked_ca = rig.Authority(directory, "checked_ca")
        self.checked_ca.issue("checked", "DNS:origin.test")
        self.origins = {name: rig.Origin(name) for name in ORIGINS}
        for name in ("good", "expired", "other", "strange", "checked"):
            self.origins[name].tls = self.ca.server(name)
        self.origins["old"].tls = self.ca.server("good")
        self.origins["old"].tls.maximum_version = ssl.TLSVersion.TLSv1_2
        self.origins["told"].tls = self.ca.server("good")
        self.origins["told"].proxy_headers = []
        self.origins["mutual"].tls = self.ca.server("good", asks_for="ca")
        self.port, = rig.free_ports(1)
        self.edge = rig.Edge(directory, SECTION.format(
            port=self.port, **{name: o.port for name, o in self.origins.items()}))

    def ask(self, name, *arguments, **named):
        with rig.connect(self.port) as wire:
            return wire.ask(*arguments, host=f"{name}.test", **named)

    def failures(self, group):
        return self.edge.metric(
            f'leeward_edge_origin_tls_failures_total{{group="{group}",origin="0"}}')


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("origins"))
    with w.edge:
        yield w


def closing(wire, request):
    rig.Origin.answer(wire, request, 200, b"closing\n", [("Connection", "close")])


@pytest.mark.parametrize("name", ["good", "old"])
def test_origins_are_asked_over_tls_and_sessions_are_resumed(world, name):
    origin = world.origins[name]
    names = []
    origin.tls.sni_callback = lambda _, name, __: names.append(name)
    assert world.ask(name, "/one").body == f"{name} /one\n".encode()
    assert world.ask(name, "/post", "POST", body=b"x" * 300_000).status == 200
    assert origin.last("/post").body == b"x" * 300_000
    assert origin.last("/one").field("X-Forwarded-Proto") == "http"  # how the client came
    assert len(origin.handshakes) == 1 and names == ["origin.test"]  # one connection, kept
    wanted = "TLSv1.2" if name == "old" else "TLSv1.3"
    assert origin.handshakes[0].version == wanted
    origin.handlers["/close"] = closing
    for _ in range(3):
        assert world.ask(name, "/close").body == b"closing\n"
    assert world.ask(name, "/one").status == 200
    assert not origin.handshakes[0].resumed
    assert all(h.resumed for h in origin.handshakes[1:]) and len(origin.handshakes) == 4


def test_an_origin_without_a_name_is_verified_by_its_address(world):
    assert world.ask("address", "/by-address").status == 200


@pytest.mark.parametrize("name, why", [
    ("other", "hostname mismatch"), ("strange", "unable to get local issuer certificate"),
    ("system", "unable to get local issuer certificate"), ("plain", "TLS:")])
def test_a_certificate_that_is_none_is_an_origin_that_cannot_be_reached(world, name, why):
    before = world.failures(name)
    assert world.ask(name, "/").status == 502
    assert world.failures(name) > before
    lines = [line for line in world.edge.log.read_text().splitlines()
             if "origin cannot be used" in line and f"group={name}" in line]
    assert lines and why in lines[-1], lines
    if name in world.origins:
        assert not world.origins[name].requests  # nothing was said to it


def test_an_expired_certificate_is_a_failure_to_connect(world):
    """Another origin answers, also a POST: nothing was sent. The log says which origin and why."""
    for number in range(10):
        reply = world.ask("expired", f"/{number}", "POST", body=b"x" * 100)
        assert (reply.status, reply.body) == (200, f"good /{number}\n".encode())
    assert world.failures("expired") > 0 and not world.origins["expired"].requests
    lines = [line for line in world.edge.log.read_text().splitlines() if "group=expired" in line]
    assert any(f"origin=127.0.0.1:{world.origins['expired'].port}" in line
               and "certificate has expired" in line for line in lines), lines


def test_the_edge_shows_its_certificate_to_origins_that_ask_for_one(world):
    assert world.ask("mutual", "/mine").body == b"mutual /mine\n"
    subject = world.origins["mutual"].handshakes[-1].certificate["subject"]
    assert subject == ((("commonName", "edge"),),)
    before = world.failures("nobody")
    assert world.ask("nobody", "/").status == 502
    deadline = time.monotonic() + 5
    while world.failures("nobody") == before:
        assert time.monotonic() < deadline
    assert "certificate required" in world.edge.log.read_text()


def test_the_proxy_header_comes_before_the_handshake(world):
    told = world.origins["told"]
    assert world.ask("told", "/told").body == b"told /told\n"
    assert any(header[12:13] == b"\x21" and header[13:14] in (b"\x11", b"\x21")
               for header in told.proxy_headers)
    deadline = time.monotonic() + 10
    while told.count("/ready") < 3:  # a check is nobody's: LOCAL
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" in told.proxy_headers


def test_checks_speak_tls_and_certificates_are_reloaded(world):
    """The origin's certificate is of an authority that the edge learns by SIGHUP; then the edge's own
    is renewed, and kept connections that were made with the old one are not used again."""
    checked = world.origins["checked"]
    checked.tls = world.ca.server("good")  # signed by another than the edge expects
    world.edge.wait_for("target=127.0.0.1:%d health=down" % checked.port)
    assert world.ask("checked", "/").status in (502, 503)
    ca = world.edge.directory / "checked_ca.pem"
    ca.write_text((world.edge.directory / "ca.pem").read_text())
    ups = world.edge.told("target=127.0.0.1:%d health=up" % checked.port)
    world.edge.reload()
    world.edge.wait_for("target=127.0.0.1:%d health=up" % checked.port, count=ups + 1)
    assert world.ask("checked", "/after").body == b"checked /after\n"
    assert checked.count("/ready") > 0

    mutual = world.origins["mutual"]
    assert world.ask("mutual", "/before").status == 200
    world.ca.issue("edge", "DNS:renewed.test")
    before = len(mutual.handshakes)
    world.edge.reload()
    assert world.ask("mutual", "/renewed").status == 200
    assert len(mutual.handshakes) == before + 1 and not mutual.handshakes[-1].resumed
    assert mutual.handshakes[-1].certificate["subjectAltName"] == (("DNS", "renewed.test"),)
    kept = len(mutual.handshakes)
    world.edge.reload()  # the same files: connections are kept
    assert world.ask("mutual", "/kept").status == 200 and len(mutual.handshakes) == kept


def test_an_unusable_file_leaves_everything_as_it_was(world):
    key = world.edge.directory / "edge.key"
    good = key.read_text()
    key.write_text("no key\n")
    try:
        told = world.edge.told("could not reload")
        world.edge.signal_reload()
        world.edge.wait_for("could not reload", count=told + 1)
        assert "private key" in world.edge.log.read_text()
        assert world.ask("mutual", "/still").status == 200
    finally:
        key.write_text(good)


def test_a_slow_origin_is_hedged_over_tls(tmp_path):
    ca = rig.Authority(tmp_path)
    ca.issue("good", "IP:127.0.0.1")
    slow, quick = rig.Origin("slow"), rig.Origin("quick")
    slow.tls = quick.tls = ca.server("good")
    port, = rig.free_ports(1)
    edge = rig.Edge(tmp_path, f"""
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins:
  web:
    servers: ["127.0.0.1:{slow.port}", "127.0.0.1:{quick.port}"]
    tls: {{ ca: ca.pem }}
    hedge_budget: 100%
    hedge_max: 50ms
    balancing: round_robin
routes: [{{ origins: web }}]
threads: 1
""")
    gate = threading.Event()

    def late(wire, request):
        gate.wait(10)
        slow.answer(wire, request, 200, b"late\n")

    slow.handlers["/"] = late
    with edge, rig.connect(port) as wire:
        assert {wire.ask("/").body for _ in range(6)} == {b"quick /\n"}
        gate.set()
    assert slow.handshakes and quick.handshakes
