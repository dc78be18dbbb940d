"""The storm's own machinery: networks that can be cut, runs that leave nothing behind, DNS with TTLs."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import dns.message
import dns.rrset
import pytest

from stormlib import control_api, groups, janitor, layout, namespaces, processes, resolver

SITES = {"gcp": "10.77.1.1", "aws": "10.77.2.1"}
needs_namespaces = pytest.mark.skipif(not namespaces.usable(), reason="needs root")


@pytest.fixture
def net():
    net = namespaces.Net(SITES, os.getpid())
    net.create()
    yield net
    namespaces.delete_of(os.getpid())


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def reaches(net, source, target, seconds=0.5):
    """True when a TCP connection from one site to another is answered, by a reset at the least."""
    with namespaces.visiting(net, source):
        try:
            socket.create_connection((SITES[target], 1), timeout=seconds).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return True


@needs_namespaces
def test_a_cut_site_is_unreachable_until_it_joins_again(net):
    assert reaches(net, "gcp", "aws")
    net.cut("aws")
    assert not reaches(net, "gcp", "aws")
    net.join("aws")
    wait_for(lambda: reaches(net, "gcp", "aws"))


@needs_namespaces
def test_a_visit_ends_where_it_began(net):
    before = os.readlink("/proc/thread-self/ns/net")
    with namespaces.visiting(net, "gcp"):
        assert os.readlink("/proc/thread-self/ns/net") != before
    assert os.readlink("/proc/thread-self/ns/net") == before


def test_nothing_survives_when_the_storm_is_killed(tmp_path):
    # A run that starts a process with a child of its own, then gets SIGKILL: the janitor ends both.
    script = tmp_path / "storm_stand_in.py"
    script.write_text(textwrap.dedent(f"""
        import os, pathlib, subprocess, sys, time
        sys.path.insert(0, {str(layout.DEMO)!r})
        from stormlib import namespaces, platform, processes
        p = platform.Platform({str(tmp_path / "run")!r})
        p._start_janitor()
        if p.layout.namespaces:
            namespaces.Net({SITES!r}, os.getpid()).create()
        env = {{**os.environ, processes.RUN_VARIABLE: p.layout.run_id, processes.SITE_VARIABLE: "gcp"}}
        subprocess.Popen(["bash", "-c", "sleep 1000 & wait"], env=env, start_new_session=True)
        while len(processes.of_run(p.layout.run_id, "gcp")) < 2:
            time.sleep(0.01)
        print(p.layout.run_id, flush=True)
        time.sleep(1000)
    """))
    storm = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    run_id = storm.stdout.readline().strip()
    assert len(processes.of_run(run_id)) == 2
    storm.send_signal(signal.SIGKILL)
    storm.wait(timeout=10)
    storm.stdout.close()
    wait_for(lambda: not processes.of_run(run_id) and storm.pid not in namespaces.owners())


def test_a_sweep_spares_runs_that_are_alive():
    run_id = f"{os.getpid()}-spared"
    child = subprocess.Popen(["sleep", "1000"], env={**os.environ, processes.RUN_VARIABLE: run_id})
    try:
        wait_for(lambda: processes.of_run(run_id))
        janitor.sweep()
        assert processes.of_run(run_id) == [child.pid]
    finally:
        processes.kill_all(run_id)
        child.wait(timeout=10)


class NameServer:
    """Answers each A question over UDP with the address that it is set to; silent when that is None."""

    def __init__(self, address, ttl):
        self.answer, self.ttl, self.asked = address, ttl, 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            packet, peer = self._socket.recvfrom(4096)
            self.asked += 1
            if self.answer:
                query = dns.message.from_wire(packet)
                response = dns.message.make_response(query)
                response.answer.append(dns.rrset.from_text(query.question[0].name, self.ttl, "IN", "A",
                                                           self.answer))
                self._socket.sendto(response.to_wire(), peer)


def test_the_resolver_keeps_an_answer_for_its_ttl_and_no_longer():
    server = NameServer("192.0.2.1", 1)
    client = resolver.Resolver(["127.0.0.1"], server.port)
    assert client.resolve("www.shop.test") == "192.0.2.1"
    server.answer = "192.0.2.2"
    assert client.resolve("www.shop.test") == "192.0.2.1"
    assert server.asked == 1
    wait_for(lambda: client.resolve("www.shop.test") == "192.0.2.2")


def test_the_resolver_never_uses_an_old_answer_when_no_server_speaks():
    server = NameServer("192.0.2.1", 0)
    client = resolver.Resolver(["127.0.0.1"], server.port)
    assert client.resolve("www.shop.test") == "192.0.2.1"
    server.answer = None
    with pytest.raises(resolver.ResolveError, match="Timeout"):
        client.resolve("www.shop.test")


def test_an_unreachable_control_is_an_api_error_in_time():
    started = time.monotonic()
    with pytest.raises(control_api.ApiError) as caught:
        control_api.call(("127.0.0.1", 1), "GET", "/v1/status", "token")
    assert caught.value.status == 0 and time.monotonic() - started < 3


def test_groups_that_nobody_is_in_are_removed_and_others_stay(tmp_path):
    """On directories that look like groups; one with something in it stands for one that has processes."""
    for path in ("cpu/leeward-shop-aws/app-0", "memory/pod/leeward-function-0123/e0", "cpu/leeward-shop-gcp/web-0",
                 "cpu/somebody-else/app-0"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "cpu/leeward-shop-gcp/web-0/busy").touch()
    groups.remove_empty(str(tmp_path))
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_dir()}
    assert left == {"cpu", "memory", "memory/pod", "cpu/leeward-shop-gcp", "cpu/leeward-shop-gcp/web-0",
                    "cpu/somebody-else", "cpu/somebody-else/app-0"}


def test_a_leeward_that_runs_is_seen(tmp_path):
    """By its name, whatever it is told to do; its groups must not be touched."""
    program = tmp_path / "leeward"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "60"])
    try:
        wait_for(groups.in_use)
    finally:
        process.kill()
        process.wait()
