"""The firewall behind other proxies: a real HAProxy that offloads to `leeward waf serve` by SPOE, and a
real nginx that asks it by auth_request; and `leeward waf test`, which explains."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import edge_rig as rig

_CRS = "/usr/share/modsecurity-crs/rules"
pytestmark = [
    pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK), reason="leeward is not built"),
    pytest.mark.skipif(not os.path.isdir(_CRS), reason="modsecurity-crs is not installed"),
]

POLICY = """
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
listeners: [{{ address: 127.0.0.1, port: {edge} }}]
routes: [{{ origins: web }}]
firewall:
  mode: block
  policy:
    groups: {{ xss: count }}
    rules:
      - name: closed
        when: 'path starts_with "/closed" and not address in ["192.0.2.0/24"]'
"""

HAPROXY = """
global
    maxconn 100
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 2s
frontend web
    bind 127.0.0.1:{port}
    option http-buffer-request
    filter spoe engine leeward config {directory}/spoe.conf
    http-request set-header X-Score %[var(txn.leeward.score)] if {{ var(txn.leeward.score) -m found }}
    http-request deny deny_status 403 if {{ var(txn.leeward.verdict) -m str block }}
    default_backend origin
backend origin
    server o 127.0.0.1:{origin}
backend leeward-waf
    mode tcp
    option spop-check
    server w 127.0.0.1:{spoe} check inter 200ms
"""
SPOE = """
[leeward]
spoe-agent leeward
    messages check-request
    option var-prefix leeward
    timeout hello 2s
    timeout idle 30s
    timeout processing 5s
    use-backend leeward-waf
spoe-message check-request
    args src=src src_port=src_port method=method uri=url version=req.ver headers=req.hdrs_bin body=req.body
    event on-frontend-http-request
"""
NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 128; }}
http {{
    access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{ auth_request /_waf; proxy_pass http://127.0.0.1:{origin}; }}
        location = /_waf {{
            internal;
            proxy_pass http://127.0.0.1:{http};
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Host $host;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Original-URI $request_uri;
            proxy_set_header X-Original-Address $remote_addr;
        }}
    }}
}}
"""
FIELDS = [("User-Agent", "Mozilla/5.0"), ("Accept", "*/*")]
SQLI = "/?id=1%27%20or%20%271%27=%271"
XSS = "/?q=%3Cscript%3Ealert(1)%3C/script%3E"


class World:
    def __init__(self, directory):
        self.directory = directory
        self.origin = rig.Origin("web")
        self.spoe, self.http, self.haproxy, self.nginx, edge = rig.free_ports(5)
        self.platform = rig.Edge(directory, POLICY.format(origin=self.origin.port, edge=edge))
        values = dict(directory=directory, origin=self.origin.port, spoe=self.spoe, http=self.http)
        (directory / "haproxy.conf").write_text(HAPROXY.format(port=self.haproxy, **values))
        (directory / "spoe.conf").write_text(SPOE)
        (directory / "nginx.conf").write_text(NGINX.format(port=self.nginx, **values))
        self.processes = []

    def start(self, *command):
        log = open(self.directory / f"{os.path.basename(command[0])}.out", "ab")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL, cwd=self.directory))
        return self.processes[-1]

    def __enter__(self):
        self.agent = self.start(str(rig.layout.binary()), "waf", "serve", "--spoe",
                                f"127.0.0.1:{self.spoe}", "--http", f"127.0.0.1:{self.http}",
                                "--config", str(self.directory / "leeward.yaml"))
        self.wait_until(lambda: rig.connect(self.http).ask("/metrics").status == 200)
        self.start("haproxy", "-db", "-f", str(self.directory / "haproxy.conf"))
        self.start("/usr/sbin/nginx", "-c", str(self.directory / "nginx.conf"), "-p", str(self.directory))
        for port in (self.haproxy, self.nginx):
            self.wait_until(lambda port=port: self.ask(port, SQLI).status == 403)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until(self, holds, seconds=30.0):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except (OSError, EOFError):
                pass
            assert time.monotonic() < deadline, (self.directory / "leeward.out").read_text()
            time.sleep(0.05)

    def ask(self, port, target, method="GET", fields=(), body=None):
        with rig.connect(port) as wire:
            return wire.ask(target, method, [*FIELDS, *fields], body)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    for program in ("haproxy", "/usr/sbin/nginx"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with World(tmp_path_factory.mktemp("waf-serve")) as made:
        yield made


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
def test_attacks_do_not_reach_the_origin_and_others_do(world, proxy):
    port = getattr(world, proxy)
    assert world.ask(port, "/shop?q=shoes").status == 200
    before = len(world.origin.requests)
    assert world.ask(port, SQLI).status == 403
    assert world.ask(port, "/closed/x").status == 403
    assert world.ask(port, "/", fields=[("X-Api", "() { :; }; /bin/bash -c id")]).status == 403
    assert len(world.origin.requests) == before
    assert world.ask(port, XSS).status == 200  # its group only counts


def test_haproxy_hands_bodies_over_and_learns_the_score(world):
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    assert world.ask(world.haproxy, "/note", "POST", form, b"text=hello+world").status == 200
    assert world.origin.last("/note").field("X-Score") in (None, "0", "")
    attack = b"text=1%27+union+select+password+from+users--+-"
    assert world.ask(world.haproxy, "/note", "POST", form, attack).status == 403
    odd = [("Content-Type", "application/json")]
    assert world.ask(world.haproxy, "/note", "POST", odd, b'{"a": "1\' or \'1\'=\'1"}').status == 403


def test_secrets_of_a_target_are_not_logged(world):
    log = world.directory / "leeward.out"

    def told():
        assert world.ask(world.haproxy, f"{SQLI}&token=t0p-secret").status == 403
        return "&token=***" in log.read_text()

    world.wait_until(told)
    assert "t0p-secret" not in log.read_text()


def test_rules_are_read_again_and_bad_ones_leave_the_old(world):
    path = world.directory / "leeward.yaml"
    good = path.read_text()
    try:
        path.write_text(good.replace("/closed", "/shut"))
        world.agent.send_signal(signal.SIGHUP)
        world.wait_until(lambda: world.ask(world.haproxy, "/shut").status == 403)
        assert world.ask(world.haproxy, "/closed").status == 200
        path.write_text(good.replace("path starts_with", "path starts"))
        world.agent.send_signal(signal.SIGHUP)
        world.wait_until(lambda: "the old rules stay" in (world.directory / "leeward.out").read_text())
        assert world.ask(world.haproxy, "/shut").status == 403
    finally:
        path.write_text(good)
        world.agent.send_signal(signal.SIGHUP)
        world.wait_until(lambda: world.ask(world.haproxy, "/closed").status == 403)


def test_metrics_count_outcomes(world):
    assert world.ask(world.nginx, SQLI).status == 403
    text = rig.connect(world.http).ask("/metrics").body.decode()
    assert 'leeward_waf_requests_total{outcome="block"}' in text
    assert "leeward_waf_seconds_count" in text


def test_the_command_explains_each_rule_and_the_verdict(tmp_path):
    origin, edge = rig.free_ports(2)
    platform = rig.Edge(tmp_path, POLICY.format(origin=origin, edge=edge))
    request = tmp_path / "request.txt"
    request.write_text("POST /notes HTTP/1.1\nHost: shop.test\nUser-Agent: Mozilla/5.0\nAccept: */*\n"
                       "Content-Type: application/x-www-form-urlencoded\n\n"
                       "text=1%27+or+%271%27%3D%271")
    done = platform.cli("waf", "test", str(request))
    assert done.returncode == 5, done.stderr
    assert "942100" in done.stdout and "ARGS:text" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("refused: 403 by rule 949110, anomaly score ")
    request.write_text("GET / HTTP/1.1\nHost: shop.test\nUser-Agent: Mozilla/5.0\nAccept: */*\n\n")
    done = platform.cli("waf", "test", str(request), "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["refused"] is False
    request.write_text("GET /\nno colon\n")
    done = platform.cli("waf", "test", str(request))
    assert done.returncode == 2 and f"{request}:2: a field is NAME: VALUE" in done.stderr
    rules = platform.cli("waf", "rules")
    assert rules.returncode == 0 and "REQUEST-942-" in rules.stdout
