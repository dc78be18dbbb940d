"""The challenge at a real edge: the page, the work for it, the pass, and what programs get; with
Node.js the page's own script, with Chromium the whole of it."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
cache_policies: {{ pages: {{ ttl_default: 1h }} }}
routes:
  - {{ origins: web }}
  - {{ path: /cached, origins: web, cache: pages }}
firewall:
  challenge: {{ secret: "file:challenge.secret", bits: 12 }}
  rate_limits:
    - {{ name: often, path: /often, requests: 1, per: 1h, action: challenge }}
  mode: block
  policy:
    core_rules: ""
    rules:
      - {{ name: members, when: 'path starts_with "/members"', action: challenge }}
      - {{ name: cached, when: 'path starts_with "/cached"', action: challenge }}
      - {{ name: closed, when: 'path == "/members/closed"' }}
threads: 1
access_log: json
"""
BROWSER = [("User-Agent", "Mozilla/5.0"), ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
API = [("User-Agent", "Mozilla/5.0"), ("Accept", "application/json")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Site:
    """An edge with an origin of its own; all sites have one secret."""

    def __init__(self, directory):
        directory.mkdir(exist_ok=True)
        (directory / "challenge.secret").write_text("the-secret-of-both-sites\n")
        (directory / "challenge.secret").chmod(0o600)
        self.origin, (self.port,) = rig.Origin("web"), rig.free_ports(1)
        self.edge = rig.Edge(directory, SECTION.format(port=self.port, origin=self.origin.port))

    def ask(self, target, fields=BROWSER, method="GET", body=None, cookie=None):
        more = [("Cookie", cookie)] if cookie else []
        with rig.connect(self.port) as wire:
            return wire.ask(target, method, [*fields, *more], body)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    s = Site(tmp_path_factory.mktemp("challenge"))
    with s.edge:
        yield s


def question_of(page):
    found = re.search(r'const question = "([^"]+)", bits = (\d+)', page.body.decode())
    return found[1], int(found[2])


def proof_of(question, bits):
    n = 0
    while int.from_bytes(hashlib.sha256(f"{question}.{n}".encode()).digest()[:4], "big") >> (32 - bits):
        n += 1
    return n


def solve(site, page, fields=BROWSER):
    question, bits = question_of(page)
    return site.ask(f"/.well-known/leeward-challenge?question={question}&proof={proof_of(question, bits)}",
                    fields)


def pass_of(reply):
    assert reply.status == 200, reply.body
    return reply.field("Set-Cookie").split(";")[0]


def test_a_browser_works_once_and_is_served(site):
    page = site.ask("/members/a")
    assert page.status == 202 and page.field("Leeward-Action") == "challenge"
    assert page.field("Cache-Control") == "no-store" and page.field("Content-Type").startswith("text/html")
    assert b"<noscript>" in page.body and b"http://" not in page.body and b"https://" not in page.body
    assert site.origin.count("/members/a") == 0
    solved = solve(site, page)
    cookie = solved.field("Set-Cookie")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Max-Age=3600" in cookie
    assert solved.field("Cache-Control") == "no-store"
    assert site.ask("/members/a", cookie=pass_of(solved)).status == 200
    # A pass opens what asks for one, and nothing else.
    assert site.ask("/members/closed", cookie=pass_of(solved)).status == 403
    assert site.edge.metric('leeward_edge_challenges_total{outcome="solved"}') >= 1
    assert site.edge.metric('leeward_waf_requests_total{outcome="challenge"}') >= 1
    assert site.edge.access_lines(lambda e: e.get("waf") == "challenge")[0]["status"] == 202


def test_a_pass_is_of_no_use_to_another_browser_or_when_changed(site):
    good = pass_of(solve(site, site.ask("/members/a")))
    other = [("User-Agent", "Other/1.0"), BROWSER[1]]
    assert site.ask("/members/a", other, cookie=good).status == 202
    name, value = good.split("=")
    expires, mac = value.split(".")
    assert site.ask("/members/a", cookie=f"{name}={int(expires) + 1}.{mac}").status == 202
    question, bits = question_of(site.ask("/members/a"))
    stolen = site.ask(f"/.well-known/leeward-challenge?question={question}&proof={proof_of(question, bits)}",
                      other)
    assert stolen.status == 403 and stolen.field("Set-Cookie") is None


def test_programs_are_refused_and_told(site):
    for reply in (site.ask("/members/a", API), site.ask("/members/a", BROWSER, "POST", b"a=1")):
        assert reply.status == 403 and reply.field("Leeward-Action") == "challenge"
        assert reply.field("Cache-Control") == "no-store"
    assert site.origin.count("/members/a") <= 1


def test_who_asks_too_often_works_for_more(site):
    assert site.ask("/often").status == 200
    page = site.ask("/often")
    assert page.status == 202
    cookie = pass_of(solve(site, page))
    assert [site.ask("/often", cookie=cookie).status for _ in range(3)] == [200] * 3
    assert site.ask("/often").status == 202
    told = site.edge.access_lines(lambda e: e["target"] == "/often" and e["status"] == 202)
    assert told[-1]["rule"] == "often"


def test_no_cache_keeps_the_page_or_what_came_behind_it(site):
    page = site.ask("/cached/a")
    assert page.status == 202
    assert site.ask("/cached/a").status == 202 and site.origin.count("/cached/a") == 0
    cookie = pass_of(solve(site, page))
    served = site.ask("/cached/a", cookie=cookie)
    assert served.status == 200 and b"web /cached/a" in served.body


def test_a_failover_asks_nobody_again(site, tmp_path):
    cookie = pass_of(solve(site, site.ask("/members/a")))
    other = Site(tmp_path / "other")
    with other.edge:
        assert other.ask("/members/a").status == 202
        assert other.ask("/members/a", cookie=cookie).status == 200


def test_a_challenge_without_a_secret_is_no_configuration(site, tmp_path):
    edge = rig.Edge(tmp_path, SECTION.format(port=1, origin=2).replace(
        'challenge: { secret: "file:challenge.secret", bits: 12 }', "keys_max: 2048"))
    told = edge.cli("validate")
    assert told.returncode != 0 and told.stderr.count("action challenge needs") == 3, told.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_script_of_the_page_finds_the_proof(site):
    """The page's script with a document and a network of our own."""
    page = site.ask("/members/a")
    script = page.body.decode().split('<script nonce="')[1].split(">", 1)[1].split("</script>")[0]
    stub = """
globalThis.document = { getElementById: () => ({ set textContent(t) { console.error(t); } }) };
globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
globalThis.location = { reload: () => console.error("reload") };
Object.defineProperty(globalThis, "navigator", { value: { cookieEnabled: true } });
globalThis.fetch = async url => { console.log(JSON.stringify(url)); return { ok: true }; };
"""
    done = subprocess.run(["node", "-e", stub + script], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "reload", done.stderr
    solved = site.ask(json.loads(done.stdout))
    assert site.ask("/members/a", cookie=pass_of(solved)).status == 200


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_chromium_gets_through_by_itself(site, tmp_path):
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
         "--virtual-time-budget=20000", "--dump-dom", f"http://127.0.0.1:{site.port}/members/chromium"],
        capture_output=True, text=True, timeout=120)
    assert "web /members/chromium" in done.stdout, done.stdout + done.stderr
    assert site.origin.count("/members/chromium") == 1
