"""Attacks on the firewall itself, through a real edge with OWASP's rules: each request is answered, memory
stays bounded, and honest requests are served meanwhile and afterwards."""

import os
import pathlib
import re
import threading
import time

import pytest

import edge_rig as rig

_CRS = "/usr/share/modsecurity-crs/rules"
_RULES = f"""
SecRequestBodyNoFilesLimit 1048576
SecRule REQUEST_HEADERS:Content-Type "^(?:application/|text/)xml" \\
    "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" \\
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecAction "id:900000,phase:1,pass,nolog,t:none,setvar:tx.paranoia_level=4"
Include /etc/modsecurity/crs/crs-setup.conf
Include {_CRS}/*.conf
"""
_SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall: {{ rules_file: rules.conf, mode: block, workers: 2, inspection_timeout: 30s }}
threads: 1
"""
_PLAIN = [("User-Agent", "Mozilla/5.0"), ("Accept", "text/html")]
_FORM, _JSON, _XML = "application/x-www-form-urlencoded", "application/json", "text/xml"
_MULTIPART = "multipart/form-data; boundary=b0undary"
_PART = b'--b0undary\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
_DEEP = 100_000
_GROWTH_BYTES_MAX = 512 << 20

pytestmark = [
    pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK), reason="leeward is not built"),
    pytest.mark.skipif(not os.path.isdir(_CRS), reason="modsecurity-crs is not installed"),
]

# name: content type, body, the statuses that it may get. Refused, but never without an answer.
ATTACKS = {
    "deep JSON": (_JSON, b"[" * _DEEP + b"]" * _DEEP, {400, 403, 413}),
    "deep objects": (_JSON, b'{"a":' * _DEEP + b"1" + b"}" * _DEEP, {400, 403, 413}),
    "deep XML": (_XML, b"<a>" * _DEEP + b"</a>" * _DEEP, {400, 403, 413}),
    "entities": (_XML, b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "' + b"&b;" * 1000 + b'">]><a>'
                 + b"&c;" * 1000 + b"</a>", {400, 403, 413}),
    "100,000 parameters": (_FORM, b"&".join(b"p%d=1" % n for n in range(100_000)), {400, 403, 413}),
    "20,000 parts": (_MULTIPART, _PART * 11_000 + b"--b0undary--\r\n", {400, 403, 413}),
    "quotes": (_FORM, b"q=" + b"'" * 999_000, {403, 413}),
    "blanks": (_FORM, b"q=" + b"+" * 999_000, {403, 413}),
    "brackets": (_FORM, b"q=" + b"+%7b(" * 190_000, {403, 413}),
    "beginnings": (_FORM, b"q=" + b"select+" * 140_000, {403, 413}),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("waf-attack")
    (directory / "rules.conf").write_text(_RULES)
    origin, port = rig.Origin("web"), rig.free_ports(1)[0]
    with rig.Edge(directory, _SECTION.format(port=port, origin=origin.port)) as edge:
        edge.port = port
        yield edge
    origin.stop()


def ask(world, target="/", method="GET", fields=(), body=None):
    with rig.connect(world.port, 120.0) as wire:
        return wire.ask(target, method, [*_PLAIN, *fields], body).status


def resident(world):
    status = pathlib.Path(f"/proc/{world.process_id}/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_answered_and_bounded(world, name):
    kind, body, allowed = ATTACKS[name]
    before = resident(world)
    got, served = [], []
    attack = threading.Thread(target=lambda: got.append(ask(world, "/a", "POST", [("Content-Type", kind)], body)))
    attack.start()
    while attack.is_alive():
        served.append(ask(world, "/honest"))
        time.sleep(0.02)
    attack.join()
    assert got and got[0] in allowed
    assert set(served) <= {200}, "honest requests are served meanwhile"
    assert ask(world, "/afterwards") == 200
    assert resident(world) - before < _GROWTH_BYTES_MAX


def test_large_heads_are_answered(world):
    fields = [(f"X-{n}", "(a" * 500) for n in range(14)]
    assert ask(world, "/a", fields=fields) in {200, 403, 431}
    assert ask(world, "/?q=" + "'or+" * 1500) == 403
    assert ask(world, "/afterwards") == 200
