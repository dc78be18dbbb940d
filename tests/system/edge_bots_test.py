"""Signs of programs in rules of one's own, and the fingerprint of TLS, by clients of several kinds."""

import os
import re
import ssl
import socket
import subprocess

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners:
  - {{ address: 127.0.0.1, port: {plain} }}
  - {{ address: 127.0.0.1, port: {tls}, tls: true }}
certificates: [{{ chain: shop.pem, key: shop.key }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall:
  mode: block
  policy:
    core_rules: ""
    rules:
      - {{ name: tools, when: 'path starts_with "/no-tools" and bot == "tool"', status: 451 }}
      - {{ name: odd, when: 'size(bot) >= 3', status: 418 }}
      - {{ name: old-tls, when: 'path starts_with "/new-tls" and ja4 starts_with "t12"', status: 426 }}
threads: 1
access_log: json
"""
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
BROWSER = [("User-Agent", FIREFOX), ("Accept", "text/html"), ("Accept-Language", "ko-KR"),
           ("Accept-Encoding", "gzip")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bots")
    rig.certify(directory, "shop", "shop.test")
    origin, (plain, tls) = rig.Origin("web"), rig.free_ports(2)
    with rig.Edge(directory, SECTION.format(plain=plain, tls=tls, origin=origin.port)) as edge:
        yield edge, plain, tls


def ask(port, target, fields):
    with rig.connect(port) as wire:
        return wire.ask(target, fields=fields).status


def test_rules_see_tools_and_clients_that_are_no_browsers(world):
    _, port, _ = world
    assert ask(port, "/no-tools", BROWSER) == 200
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    for more in ([], ["--http2-prior-knowledge"]):
        done = subprocess.run([*curl, *more, f"http://127.0.0.1:{port}/no-tools"], capture_output=True,
                              text=True, timeout=20)
        assert done.stdout == "451"
    assert ask(port, "/", [("User-Agent", FIREFOX)]) == 418
    assert ask(port, "/", [("User-Agent", "curl/8.0")]) == 200


def handshake(port, version):
    """The status of a GET over that version, as the access log's fingerprint must tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    with rig.Wire(context.wrap_socket(raw, server_hostname="shop.test")) as wire:
        return wire.ask(f"/new-tls?{version.name}", fields=BROWSER).status


def test_the_fingerprint_of_tls_is_logged_and_judged(world):
    edge, _, port = world
    assert handshake(port, ssl.TLSVersion.TLSv1_3) == 200
    assert handshake(port, ssl.TLSVersion.TLSv1_2) == 426
    new = edge.access_lines(lambda e: e["target"].endswith("TLSv1_3"))[-1]["ja4"]
    old = edge.access_lines(lambda e: e["target"].endswith("TLSv1_2"))[-1]["ja4"]
    assert re.fullmatch(r"t13d\d{4}h1_[0-9a-f]{12}_[0-9a-f]{12}", new), new
    assert re.fullmatch(r"t12d\d{4}h1_[0-9a-f]{12}_[0-9a-f]{12}", old), old
    assert handshake(port, ssl.TLSVersion.TLSv1_3) == 200
    assert edge.access_lines(lambda e: e["target"].endswith("TLSv1_3"))[-1]["ja4"] == new
    done = subprocess.run(["curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_version}",
                           f"https://127.0.0.1:{port}/by-curl"], capture_output=True, text=True, timeout=20)
    assert done.stdout == "2"
    # Over HTTP/2 too; by address, so without a server name.
    assert edge.access_lines(lambda e: e["target"] == "/by-curl")[-1]["ja4"].startswith("t13i")


def test_a_sign_that_there_is_not_is_named(world, tmp_path):
    edge = rig.Edge(tmp_path, SECTION.format(plain=1, tls=2, origin=3).replace('"tool"', '"tols"'))
    told = edge.cli("validate")
    assert told.returncode != 0 and "bot is never 'tols'" in told.stderr, told.stderr
