"""A real `leeward edge` with OWASP's Core Rule Set as Debian packages it."""

import gzip
import json
import os
import subprocess
import threading
import time
import zlib

import pytest

import edge_rig as rig

_CRS = "/usr/share/modsecurity-crs/rules"

pytestmark = [
    pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK), reason="leeward is not built"),
    pytest.mark.skipif(not os.path.isdir(_CRS), reason="modsecurity-crs is not installed"),
]

RULES = """
SecRule REQUEST_HEADERS:Content-Type "^application/json" \\
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
Include /etc/modsecurity/crs/crs-setup.conf
Include /etc/modsecurity/crs/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf
Include /usr/share/modsecurity-crs/rules/*.conf
Include /etc/modsecurity/crs/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf
"""

SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
cache_policies:
  pages: {{ ttl_default: 1h }}
  renewed: {{ ttl_default: 1s, stale_while_revalidate: 1h }}
routes:
  - {{ origins: web }}
  - {{ path: /cached, origins: web, cache: pages }}
  - {{ path: /renewed, origins: web, cache: renewed }}
firewall:
  rules_file: rules.conf
  mode: {mode}
  workers: 2
  inspection_timeout: 1m
threads: 1
access_log: json
"""

ATTACK = "/?id=1%27%20or%20%271%27=%271"
FIELDS = [("User-Agent", "Mozilla/5.0"), ("Accept", "*/*")]
FORM = [*FIELDS, ("Content-Type", "application/x-www-form-urlencoded")]
JSON = [*FIELDS, ("Content-Type", "application/json")]


class World:
    def __init__(self, directory):
        self.directory = directory
        self.origin = rig.Origin("web")
        self.port = rig.free_ports(1)[0]
        self.rules(RULES)
        self.edge = rig.Edge(directory, self.section("block"))

    def section(self, mode):
        return SECTION.format(port=self.port, origin=self.origin.port, mode=mode)

    def rules(self, text):
        (self.directory / "rules.conf").write_text(text)

    def ask(self, target, method="GET", fields=FIELDS, body=None, seconds=150.0):
        with rig.connect(self.port, seconds) as wire:
            return wire.ask(target, method, fields, body)

    def outcome(self, name):
        return self.edge.metric(f'leeward_waf_requests_total{{outcome="{name}"}}')


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("waf"))
    with w.edge:
        yield w


def test_attacks_get_403_and_the_origin_never_sees_them(world):
    seen = len(world.origin.requests)
    assert world.ask(ATTACK).status == 403
    assert world.ask("/login", "POST", FORM, b"user=1%27+or+%271%27%3D%271").status == 403
    assert world.ask("/api", "POST", JSON, b"""{"user": "1' or '1'='1"}""").status == 403
    assert world.ask("/?page=<script>alert(1)</script>".replace("<", "%3C")).status == 403
    assert len(world.origin.requests) == seen
    assert world.outcome("block") == 4
    assert world.edge.told("a request was refused") == 4 and world.edge.told("942100") >= 1


def test_normal_requests_pass_whole(world):
    assert world.ask("/shop?article=17&size=XL").status == 200
    body = b"name=Anna&note=" + b"two+words+" * 3000
    assert world.ask("/order", "POST", FORM, body).status == 200
    assert world.origin.last("/order").body == body
    assert world.ask("/api", "POST", JSON, b'{"article": 17, "size": "XL"}').status == 200


def test_http2_is_inspected_too_also_bodies_larger_than_its_window(world):
    def post(body):
        done = subprocess.run(
            ["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
             "--data-binary", "@-", f"http://127.0.0.1:{world.port}/h2"],
            input=body, capture_output=True, timeout=120, check=True)
        return done.stdout.decode()

    body = b"note=" + b"x" * 300_000
    assert post(body) == "2 200"
    assert world.origin.last("/h2").body == body
    assert post(b"user=1%27+or+%271%27%3D%271") == "2 403"
    assert world.origin.count("/h2") == 1


def test_packed_bodies_are_inspected_unpacked_and_bombs_are_refused(world):
    def post(coding, body):
        done = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Content-Encoding: {coding}",
             "--data-binary", "@-", f"http://127.0.0.1:{world.port}/packed"],
            input=body, capture_output=True, timeout=120, check=True)
        return int(done.stdout)

    try:
        world.rules("SecAction \"id:900250,phase:1,nolog,pass,setvar:'tx.restricted_headers=/proxy/'\"\n" + RULES)
        world.edge.reload()
        good = gzip.compress(b"name=Anna&note=" + b"two+words+" * 300)
        assert post("gzip", good) == 200
        assert world.origin.last("/packed").body == good
        hidden = [*FORM, ("Content-Encoding", "gzip"), ("Connection", "Content-Encoding")]
        assert world.ask("/packed", "POST", hidden, good).status == 200
        assert world.origin.last("/packed").field("Content-Encoding") == "gzip", "it is what was inspected"
        seen = len(world.origin.requests)
        # A comment (RFC 1952 §2.3) is nothing to who unpacks it, and a form to who does not.
        beside = good[:3] + b"\x10" + good[4:10] + b"&user=1%27+or+%271%27%3D%271&\0" + good[10:]
        assert gzip.decompress(beside) == gzip.decompress(good) and post("gzip", beside) == 400
        assert post("gzip", gzip.compress(b"user=1%27+or+%271%27%3D%271")) == 403
        assert post("deflate", zlib.compress(b"user=1%27+or+%271%27%3D%271")) == 403
        bomb = gzip.compress(b"a" * 50_000_000)
        assert len(bomb) < 60_000 and post("gzip", bomb) == 413
        assert post("compress", good) == 415 and post("gzip", b"name=Anna") == 400
        assert len(world.origin.requests) == seen
        world.edge.wait_for("unpacks to more than")
    finally:
        world.rules(RULES)
        world.edge.reload()


def test_a_body_of_two_types_is_refused(world):
    seen = len(world.origin.requests)
    body = b"<a><!--&q=1%27+UNION+SELECT+pw+FROM+users%23&--></a>"
    assert world.ask("/", "POST", [*FORM, ("Content-Type", "text/xml")], body).status == 400
    assert len(world.origin.requests) == seen


def test_the_command_explains_which_rule_it_was(world):
    url = f"http://shop.test{ATTACK}"
    told = world.edge.cli("edge", "explain", url, "--site", "gcp")
    assert told.returncode == 0, told.stderr
    assert "refused with 403 by rule 949110" in told.stdout and "942100" in told.stdout


def test_hits_and_small_requests_overtake_bodies_of_a_megabyte(world):
    """By order, not by time: all of them are answered before the large bodies are."""
    assert world.ask("/cached/page").status == 200
    inspected = world.outcome("pass")
    body = (b"note=" + b"the+quick+brown+fox+" * 50_000)[:1_000_000]
    answered = []

    def upload():
        answered.append(world.ask("/upload", "POST", FORM, body).status)

    uploads = [threading.Thread(target=upload) for _ in range(3)]
    for thread in uploads:
        thread.start()
    while world.edge.metric("leeward_waf_queue ") < 2:  # one is inspected, the others wait
        assert not answered
    with rig.connect(world.port) as wire:
        for _ in range(100):
            assert wire.ask("/cached/page", fields=FIELDS).field("Cache-Status").split("; ")[1] == "hit"
    assert world.ask("/small").status == 200
    assert len(answered) < len(uploads)
    for thread in uploads:
        thread.join()
    assert answered == [200] * len(uploads)
    assert world.origin.count("/cached/page") == 1
    assert world.outcome("pass") == inspected + len(uploads) + 1  # no hit was inspected


def test_a_renewal_behind_a_stale_answer_passes_the_firewall_too(world):
    passed = world.outcome("pass")
    assert world.ask("/renewed").status == 200
    deadline = time.monotonic() + 20
    while "stale" not in world.ask("/renewed").field("Cache-Status"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while world.origin.count("/renewed") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert world.outcome("pass") >= passed + 2  # the first fetch, and the one that nobody waited for


def test_detect_lets_pass_and_tells_and_bad_rules_leave_the_old_ones(world):
    world.edge.write(world.section("detect"))
    world.edge.reload()
    assert world.ask(ATTACK).status == 200
    assert world.outcome("detect") == 1
    world.edge.write(world.section("block"))
    world.edge.reload()
    world.rules("\nSecFoo On\n")
    refused = world.edge.cli("validate")
    assert refused.returncode != 0 and "rules.conf:2:" in refused.stderr
    world.edge.signal_reload()
    world.edge.wait_for("rules.conf:2:")
    assert world.ask(ATTACK).status == 403
    world.rules(RULES)
    world.edge.reload()


def test_the_access_log_names_outcome_and_rule(world):
    assert world.ask(ATTACK).status == 403
    line = world.edge.access_lines(
        lambda entry: entry["target"] == ATTACK and entry.get("waf") == "block")[-1]
    assert line["rule"] == "949110" and line["status"] == 403
    told = world.edge.access_lines(lambda entry: entry.get("waf") == "detect")[-1]
    assert told["rule"] == "949110" and told["status"] == 200


POLICY = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall:
  mode: block
  policy:
    groups: {{ xss: count }}
    exclusions: [{{ path: /notes, groups: [sqli], values: ['arg("text")'] }}]
    rules:
      - {{ name: closed, when: 'path starts_with "/closed"', status: 451 }}
threads: 1
"""


def test_a_policy_blocks_counts_and_excludes(tmp_path):
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    with rig.Edge(tmp_path, POLICY.format(port=port, origin=origin.port)) as edge:
        def ask(target, body=None):
            with rig.connect(port) as wire:
                method, fields = ("GET", FIELDS) if body is None else ("POST", FORM)
                return wire.ask(target, method, fields, body).status

        assert ask("/") == 200
        assert ask(ATTACK) == 403
        assert ask("/closed/a") == 451
        assert ask("/?q=%3Cscript%3Ealert(1)%3C/script%3E") == 200
        assert ask("/notes", b"text=1%27+or+%271%27%3D%271") == 200
        assert ask("/notes", b"other=1%27+or+%271%27%3D%271") == 403
        edge.wait_for('matched="942100 ARGS:other')


AUDIT = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall:
  rules_file: audit.conf
  mode: block
  audit_log: {audit}
  mask: [iban]
threads: 1
"""
AUDIT_RULES = """
SecRuleEngine On
SecAuditEngine RelevantOnly
SecAuditLogRelevantStatus "^50"
SecRule ARGS "@contains evil" "id:1,phase:1,deny,log,auditlog,msg:'No evil',severity:2"
SecRule REQUEST_COOKIES "@contains evil" "id:2,phase:1,pass,nolog,msg:'Odd cookie'"
"""


def test_the_audit_log_has_what_is_relevant_and_no_secrets(tmp_path):
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    origin.handlers["/broken"] = lambda wire, request: rig.Origin.answer(wire, request, 500)
    (tmp_path / "audit.conf").write_text(AUDIT_RULES)
    section = AUDIT.format(port=port, origin=origin.port, audit="rules")
    with rig.Edge(tmp_path, section) as edge:
        def ask(target, **fields):
            with rig.connect(port) as wire:
                return wire.ask(target, fields=[*FIELDS, *fields.items()]).status

        def audited(count):
            deadline = time.monotonic() + 10
            while True:
                files = list((tmp_path / "state").rglob("audit.log"))
                lines = files[0].read_text().splitlines() if files else []
                if len(lines) >= count:
                    return [json.loads(line)["transaction"] for line in lines]
                assert time.monotonic() < deadline, lines
                time.sleep(0.05)

        assert ask("/fine") == 200
        assert ask("/fine", Cookie="a=evil") == 200  # matched, and not told
        assert ask("/?user_iban=evil&q=evil", Cookie="session=abc") == 403
        assert ask("/broken?token=abc") == 500
        refused, broken = audited(2)
        assert refused["client_ip"] == "127.0.0.1" and refused["response"]["http_code"] == 403
        assert refused["request"]["uri"] == "/?user_iban=***&q=evil"
        assert refused["request"]["headers"]["Cookie"] == "***"
        (message,) = refused["messages"]
        assert message["message"] == "No evil" and message["details"]["ruleId"] == "1"
        assert message["details"]["match"].startswith("ARGS:") and "audit.conf:5:" in message["details"]["file"]
        assert broken["request"]["uri"] == "/broken?token=***" and broken["messages"] == []
        assert broken["response"]["http_code"] == 500
        # The same in the edge's log, and by rule in the metrics.
        edge.wait_for("a request was refused")
        assert "user_iban=***&q=evil" in edge.log.read_text() and "user_iban=evil" not in edge.log.read_text()
        assert edge.metric('leeward_waf_rule_matches_total{rule="1"}') == 1
        assert edge.metric('leeward_waf_rule_blocks_total{rule="1"}') == 1

        edge.write(AUDIT.format(port=port, origin=origin.port, audit="all"))
        edge.reload()
        assert ask("/fine") == 200
        assert [t["request"]["uri"] for t in audited(3)][2:] == ["/fine"]
        edge.write(AUDIT.format(port=port, origin=origin.port, audit="none"))
        edge.reload()
        assert ask("/?q=evil") == 403
        edge.write(section)
        edge.reload()
        assert ask("/?q=evil2") == 403
        assert [t["request"]["uri"] for t in audited(4)][3:] == ["/?q=evil2"]


def test_the_audit_log_has_bodies_as_far_as_it_may_and_without_secrets(tmp_path):
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    (tmp_path / "audit.conf").write_text("""
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule ARGS "@contains evil" "id:2,phase:2,deny,log,auditlog,msg:'No evil'"
""")
    section = AUDIT.format(port=port, origin=origin.port, audit="relevant")
    bodies = section.replace("  mask:", "  audit_body_bytes_max: 1000\n  mask:")
    with rig.Edge(tmp_path, section) as edge:
        def post(body, fields):
            with rig.connect(port) as wire:
                return wire.ask("/", "POST", fields, body).status

        def audited(count):
            deadline = time.monotonic() + 10
            while True:
                files = list((tmp_path / "state").rglob("audit.log"))
                lines = files[0].read_text().splitlines() if files else []
                if len(lines) >= count:
                    return [json.loads(line)["transaction"]["request"] for line in lines]
                assert time.monotonic() < deadline, lines
                time.sleep(0.05)

        login = b"user=evil&password=hunter2&my_iban=DE0"
        assert post(login, FORM) == 403
        assert "body" not in audited(1)[0], "unless it is asked for"
        edge.write(bodies)
        edge.reload()
        assert post(login, FORM) == 403
        assert post(b"user=good&password=hunter2", FORM) == 200
        secret = json.dumps({"note": "evil", "login": {"password": "hunter2"}, "tail": "x" * 5000}).encode()
        assert post(secret, JSON) == 403
        assert post(gzip.compress(login), [*FORM, ("Content-Encoding", "gzip")]) == 403
        _, form, body, packed = audited(4)
        assert form["body"] == "user=evil&password=***&my_iban=***" and form["body_bytes"] == len(login)
        assert body["body"] == "json.note=evil&json.login.password=***" and body["body_bytes"] == len(secret)
        assert packed["body"] == "***"
        logs = edge.log.read_text() + next((tmp_path / "state").rglob("audit.log")).read_text()
        assert "hunter2" not in logs and "DE0" not in logs
