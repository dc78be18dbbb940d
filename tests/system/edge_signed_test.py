"""Signed URLs and cookies at a real edge: made by `leeward edge sign` and by openssl, judged before
cache and origin."""

import base64
import json
import os
import subprocess
import time

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")
OLD, NEW = "an-old-secret-of-enough-bytes", "a-new-secret-of-enough-bytes"


class World:
    def __init__(self, directory):
        self.origin = rig.Origin("a")
        self.port, = rig.free_ports(1)
        for name, secret in (("old.secret", OLD), ("new.secret", NEW)):
            (directory / name).write_text(secret + "\n")
            (directory / name).chmod(0o600)
        self.edge = rig.Edge(directory, f"""
listeners: [{{ address: 127.0.0.1, port: {self.port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{self.origin.port}"] }} }}
cache_policies: {{ pages: {{ ttl_default: 1h }} }}
routes:
  - {{ origins: web }}
  - path: /films
    origins: web
    cache: pages
    signed: {{ keys: [{{ id: new, secret: "file:new.secret" }}, {{ id: old, secret: "file:old.secret" }}] }}
threads: 1
access_log: json
""")

    def sign(self, path, *arguments):
        done = self.edge.cli("edge", "sign", f"http://shop.test{path}", "-o", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ask(self, target, *arguments, **named):
        with rig.connect(self.port) as wire:
            return wire.ask(target.removeprefix("http://shop.test"), *arguments, **named)

    def rule(self, target):
        """What the access log says of the request for `target`."""
        return self.edge.access_lines(lambda entry: target in json.dumps(entry))[-1]["rule"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("signed"))
    with w.edge:
        yield w


def test_without_a_signature_nothing_is_answered(world):
    assert world.ask("/films/none").status == 403
    assert world.rule("/films/none") == "signature:none"
    assert not world.origin.count("/films/none") and world.ask("/other").status == 200
    assert world.edge.metric('leeward_edge_signature_refused_total{route="any/films"}') >= 1


@pytest.mark.parametrize("target", ["//films/way", "/x/../films/way", "/%66ilms/way", "/x%2f..%2Ffilms/way",
                                    "/./films/way", "/films/./way"])
def test_no_other_spelling_of_a_path_goes_round_its_route(world, target):
    assert world.ask(target).status == 403
    assert not world.origin.count(target)


def test_a_signed_url_is_answered_and_its_signature_goes_no_further(world):
    urls = [world.sign("/films/1?q=1", "--expires", life)["url"] for life in ("1h", "2h")]
    urls.append(world.sign("/films/1?q=1", "--key", "old")["url"])
    replies = [world.ask(url) for url in urls]
    assert [r.status for r in replies] == [200] * 3 and len(set(urls)) == 3
    assert world.origin.count("/films/1?q=1") == 1  # one entry of the cache for all
    assert "hit" in replies[2].field("Cache-Status")
    assert "Signature" not in world.origin.wires[-1].raw.decode()


def test_expired_and_changed_urls_are_refused(world):
    url = world.sign("/films/2", "--expires", "1s")["url"]
    deadline = time.monotonic() + 10
    while world.ask(url).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert world.rule("/films/2?Expires") == "signature:expired"
    assert world.ask(url.replace("/films/2", "/films/3")).status == 403
    assert world.rule("/films/3?Expires") == "signature:wrong"
    explained = world.edge.cli("edge", "explain", "--site", "gcp", url).stdout
    assert "signature refused: 403, signature:expired" in explained
    good = world.sign("/films/2")["url"]
    assert "signature good" in world.edge.cli("edge", "explain", "--site", "gcp", good).stdout


def test_a_prefix_by_parameters_or_cookie(world):
    made = world.sign("/films/series/", "--prefix")
    assert world.ask(f"/films/series/1?{made['parameters']}").status == 200
    assert world.ask(f"/films/other?{made['parameters']}").status == 403
    assert world.ask(f"/films/series/../other?{made['parameters']}").status == 403
    cookie = ("Cookie", f"mine=1; {made['cookie']}; yours=2")
    assert world.ask("/films/series/2", fields=[cookie]).status == 200
    assert world.origin.last("/films/series/2").field("Cookie") == "mine=1; yours=2"
    assert world.ask("/films/other", fields=[cookie]).status == 403


def test_a_client_network_is_kept_to(world):
    assert world.ask(world.sign("/films/n", "--client-network", "127.0.0.0/8")["url"]).status == 200
    away = world.sign("/films/away", "--client-network", "192.0.2.0/24")["url"]
    assert world.ask(away).status == 403 and world.rule("/films/away") == "signature:wrong-client"


def test_openssl_signs_as_well(world):
    """The documented recipe."""
    url = f"http://shop.test/films/openssl?Expires={int(time.time()) + 60}&KeyName=new"
    mac = subprocess.run(["openssl", "dgst", "-sha256", "-hmac", NEW, "-binary"], check=True,
                         input=url.encode(), capture_output=True, timeout=20).stdout
    signature = base64.urlsafe_b64encode(mac).decode()
    assert world.ask(f"{url}&Signature={signature}").status == 200
    assert world.ask(f"{url}&Signature={signature.rstrip('=')}").status == 200


def test_a_key_that_is_removed_signs_no_more(world):
    url = world.sign("/films/rotated", "--key", "old")["url"]
    assert world.ask(url).status == 200
    path = world.edge.directory / "leeward.yaml"
    text = path.read_text()
    path.write_text(text.replace(', { id: old, secret: "file:old.secret" }', ""))
    world.edge.reload()
    assert world.ask(url).status == 403
    path.write_text(text)
    world.edge.reload()
    assert world.ask(url).status == 200


def test_what_cannot_be_signed_says_why(world):
    for arguments, why in ((["http://shop.test/other"], "no route with signed.keys"),
                           (["http://shop.test/films/1", "--key", "gone"], "no key 'gone'"),
                           (["http://shop.test/films/1#top"], "cannot be signed"),
                           (["http://shop.test/films/1", "--expires", "soon"], "soon")):
        done = world.edge.cli("edge", "sign", *arguments)
        assert done.returncode != 0 and why in done.stderr, done.stderr
