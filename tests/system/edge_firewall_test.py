"""Who may ask an edge, and how often: rate limits that count, throttle and ban, as clients and
operators see them."""

import json
import os

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

LIMITS = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall:
  rate_limits:
    - {{ name: guesses, path: /login, requests: {requests}, per: 1h, action: ban, ban_after: 2, ban_for: 1h }}
    - {{ name: watched, path: /watched, requests: 1, per: 1h, action: count }}
threads: 1
access_log: json
"""


def test_who_goes_on_guessing_is_banned_until_an_operator_lifts_it(tmp_path):
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    with rig.Edge(tmp_path, LIMITS.format(port=port, origin=origin.port, requests=3)) as edge:
        def ask(target):
            with rig.connect(port) as wire:
                return wire.ask(target)

        assert [ask("/login").status for _ in range(6)] == [200] * 3 + [429] * 2 + [403]
        seen = len(origin.requests)
        refused = ask("/")
        assert refused.status == 403 and 3590 <= int(refused.field("Retry-After")) <= 3600
        assert len(origin.requests) == seen
        edge.wait_for("a client is banned")
        assert edge.metric('leeward_edge_bans_total{rule="guesses"}') == 1
        assert edge.metric("leeward_edge_banned ") == 1
        assert edge.access_lines(lambda e: e["status"] == 403)[-1]["rule"] == "guesses"
        told = edge.cli("edge", "explain", "http://shop.test/", "--client", "127.0.0.1", "--site", "gcp")
        assert "127.0.0.1 is banned by guesses for" in told.stdout, told.stderr

        # Other limits, same ban: it outlives a reload.
        edge.write(LIMITS.format(port=port, origin=origin.port, requests=4))
        edge.reload()
        assert ask("/").status == 403
        listed = edge.cli("edge", "bans", "--site", "gcp", "-o", "json")
        (ban,) = json.loads(listed.stdout)["gcp"]["bans"]
        assert ban["client"] == "127.0.0.1" and ban["rule"] == "guesses"
        assert "1 banned" in edge.cli("edge", "bans", "--site", "gcp").stdout
        wrong = edge.cli("edge", "unban", "127.0.0.300", "--site", "gcp")
        assert wrong.returncode != 0 and "neither an IPv4 nor an IPv6 address" in wrong.stderr
        assert edge.cli("edge", "unban", "127.0.0.1", "--site", "gcp").stdout == "gcp: 1 lifted\n"
        assert ask("/").status == 200


def test_a_limit_that_counts_lets_pass_and_tells(tmp_path):
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    with rig.Edge(tmp_path, LIMITS.format(port=port, origin=origin.port, requests=3)) as edge:
        with rig.connect(port) as wire:
            assert [wire.ask("/watched").status for _ in range(3)] == [200] * 3
        assert edge.metric('leeward_edge_rate_exceeded_total{rule="watched"}') == 2
        assert edge.metric('leeward_edge_firewall_refused_total{rule="watched"}') == 0
        told = edge.access_lines(lambda e: e.get("rule") == "watched")
        assert [e["status"] for e in told] == [200, 200]


POLICY = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall:
  block_file: block.txt
  challenge: {{ secret: "file:challenge.secret" }}
  mode: block
  policy:
    core_rules: "{rules}"
    rules:
      - {{ name: closed, when: '{when}' }}
threads: 1
"""
CLOSED = 'path starts_with "/closed"'


def site(directory, name, admin=None, **values):
    directory.mkdir()
    (directory / "block.txt").write_text("192.0.2.1\n")
    (directory / "challenge.secret").write_text("the-secret-of-both-sites\n")
    (directory / "challenge.secret").chmod(0o600)
    values = {"rules": "", "when": CLOSED, **values}
    origin, (port,) = rig.Origin("web"), rig.free_ports(1)
    edge = rig.Edge(directory, POLICY.format(port=port, origin=origin.port, **values), site=name,
                    admin=admin)
    edge.ask = lambda target: ask_at(port, target)
    edge.change = lambda **more: edge.write(
        POLICY.format(port=port, origin=origin.port, **{**values, **more}))
    return edge


def ask_at(port, target):
    with rig.connect(port) as wire:
        return wire.ask(target).status


def test_sites_that_run_something_else_are_told_apart(tmp_path):
    gcp = site(tmp_path / "gcp", "gcp")
    aws = site(tmp_path / "aws", "aws", admin=gcp.admin)
    with gcp, aws:
        def status():
            done = gcp.cli("waf", "status", "-o", "json")
            answer = json.loads(done.stdout)
            assert answer["same"] == (done.returncode == 0) == (not answer["differ"]), done
            return answer["differ"]

        assert status() == []  # in other directories, at other ports
        aws.change(when='path starts_with "/closed/"')
        aws.reload()
        assert status() == ["rules"]
        told = gcp.cli("waf", "status").stdout
        assert "rules       differs   gcp " in told and "limits      same" in told, told
        (tmp_path / "aws" / "block.txt").write_text("192.0.2.2\n")
        (tmp_path / "aws" / "challenge.secret").write_text("another-secret-than-theirs\n")
        aws.reload()
        assert status() == ["challenge", "lists", "rules"]
        digest = gcp.get_json("/v1/edge/firewall")["parts"]["rules"]
        assert f'leeward_edge_firewall_info{{part="rules",digest="{digest}"}} 1' in gcp.metrics()
        assert 'part="challenge"' not in gcp.metrics()
    alone = gcp.cli("waf", "status")
    assert alone.returncode != 0 and "the edge of site gcp" in alone.stderr


@pytest.mark.parametrize("mistake, told", [
    ({"when": 'path begins_with "/closed"'}, "could not reload"),
    ({"rules": "/nowhere"}, "/nowhere/rules"),
])
def test_a_broken_policy_never_replaces_a_good_one(tmp_path, mistake, told):
    edge = site(tmp_path / "gcp", "gcp")
    with edge:
        assert edge.ask("/closed") == 403 and edge.ask("/") == 200
        before = edge.get_json("/v1/edge/firewall")
        edge.change(**mistake)
        edge.signal_reload()
        edge.wait_for(told)
        assert edge.ask("/closed") == 403 and edge.ask("/") == 200
        after = edge.get_json("/v1/edge/firewall")
        assert after["parts"] == before["parts"] and after["reload_refused"]
        assert edge.metric("leeward_edge_reload_refused ") == 1
        edge.change(when='path starts_with "/other"')
        assert "the last reload was refused" in edge.cli("waf", "status", "--site", "gcp").stdout
        edge.reload()
        assert edge.ask("/closed") == 200 and edge.ask("/other") == 403
        assert edge.metric("leeward_edge_reload_refused ") == 0
