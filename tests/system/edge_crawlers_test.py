"""Crawlers that are verified by DNS: a real edge, a resolver, and behind it `leeward dns` with the
zone of the search engine, all on loopback. Clients are addresses of 127.0.0.0/8."""

import os
import socket
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
firewall:
  mode: block
  crawlers: {{ verify: {verify}, resolver: "127.0.0.1:{resolver}", timeout: 1s }}
  policy:
    core_rules: ""
    rules:
      - {{ name: verified, when: 'path == "/who" and crawler == "verified"', status: 421 }}
      - {{ name: unverified, when: 'path == "/who" and crawler == "unverified"', status: 422 }}
      - {{ name: false-crawler, when: 'crawler == "false"', status: 403 }}
threads: 1
access_log: json
"""
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BINGBOT = "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"
TRUE, LIAR, STRANGER, SILENT, LATE, MANY = (f"127.0.0.{n}" for n in (11, 12, 13, 14, 15, 16))
# What each address says its name is, and what `leeward dns` says of those names in googlebot.com.
NAMES = {TRUE: "crawl-11.googlebot.com", LIAR: "crawl-11.googlebot.com", STRANGER: "pc-13.provider.test",
         SILENT: None, LATE: "crawl-15.googlebot.com", MANY: "crawl-16.googlebot.com"}
ZONE = ("records: [{ name: ns1, type: A, values: [127.0.0.1] }, "
        "{ name: crawl-11, type: A, values: [127.0.0.11] }, "
        "{ name: crawl-15, type: A, values: [127.0.0.15] }, "
        "{ name: crawl-16, type: AAAA, values: ['::1'] }]")


class LeewardDns:
    """`leeward dns` as the search engine's name server."""

    def __init__(self, directory):
        directory.mkdir()
        self.port, = rig.free_ports(1)
        rig.Edge(directory, SECTION.format(port=1, origin=2, resolver=3, verify="true"))
        path = directory / "leeward.yaml"
        path.write_text(path.read_text().replace("zone: shop.test", f"zone: googlebot.com\n  port: {self.port}")
                        .replace("hostmaster@shop.test", "hostmaster@googlebot.com")
                        .replace("ns1.shop.test", "ns1.googlebot.com")
                        .replace("records: [{ name: ns1, type: A, values: [127.0.0.1] }]", ZONE))
        self._log = directory / "dns.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen([str(rig.layout.binary()), "dns", "--config", str(path), "--site",
                                              "gcp"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while "dns answers" not in self._log.read_text():
            assert time.monotonic() < deadline and self._process.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def stop(self):
        self._process.kill()
        self._process.wait(timeout=10)


class Resolver:
    """Answers for addresses from NAMES, asks `leeward dns` for the names in googlebot.com, and says nothing
    about SILENT. What was asked is kept; a question about a held name waits for release()."""

    def __init__(self, upstream):
        self.asked, self._upstream, self._held = [], upstream, threading.Event()
        self._held.set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def hold(self):
        self._held.clear()

    def release(self):
        self._held.set()

    def asked_about(self, address):
        """How often the name of an address was asked for."""
        return self.asked.count((".".join(reversed(address.split("."))) + ".in-addr.arpa", "PTR"))

    def close(self):
        self.release()
        self._socket.close()

    def _run(self):
        while True:
            try:
                wire, client = self._socket.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._answer, args=(wire, client), daemon=True).start()

    def _answer(self, wire, client):
        question = dns.message.from_wire(wire)
        name = question.question[0].name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        self.asked.append((name, kind))
        self._held.wait(timeout=60)
        if kind != "PTR":
            reply = dns.query.udp(question, "127.0.0.1", port=self._upstream, timeout=5)
        else:
            address = ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
            if address in NAMES and NAMES[address] is None:
                return
            reply = dns.message.make_response(question)
            reply.flags |= dns.flags.RA
            if address in NAMES:
                reply.answer.append(dns.rrset.from_text(name + ".", 300, "IN", "PTR", NAMES[address] + "."))
            else:
                reply.set_rcode(dns.rcode.NXDOMAIN)
        try:
            self._socket.sendto(reply.to_wire(), client)
        except OSError:
            pass


class World:
    def __init__(self, directory, verify="true"):
        self.dns = LeewardDns(directory / "dns")
        self.resolver = Resolver(self.dns.port)
        self.origin, (self.port,) = rig.Origin("web"), rig.free_ports(1)
        self.edge = rig.Edge(directory, SECTION.format(port=self.port, origin=self.origin.port, verify=verify,
                                                       resolver=self.resolver.port))

    def ask(self, client, agent=GOOGLEBOT, target="/who"):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(client, 0))
        with rig.Wire(connection) as wire:
            return wire.ask(target, fields=[("User-Agent", agent), ("Accept", "*/*")]).status

    def ask_until(self, wanted, *arguments, seconds=20):
        """Asks until the status is that one: what DNS says comes beside the requests."""
        deadline = time.monotonic() + seconds
        while (status := self.ask(*arguments)) != wanted:
            assert time.monotonic() < deadline, status
            time.sleep(0.02)
        return True


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("crawlers"))
    try:
        with w.edge:
            yield w
    finally:
        w.resolver.close()
        w.dns.stop()


def test_the_engines_own_are_verified_and_others_are_found_out(world):
    assert world.ask_until(421, TRUE)
    # The reverse zone of a liar says what he likes; the engine's own name server does not.
    assert world.ask_until(403, LIAR)
    assert world.ask_until(403, STRANGER)
    assert world.ask_until(403, "127.0.0.99"), "no name at all"
    assert world.ask_until(403, TRUE, BINGBOT), "not another engine's"
    assert world.ask_until(403, MANY), "the name has an address of the other family alone"
    assert world.ask(TRUE, "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0") == 200
    assert world.ask(LIAR, "curl/8.0") == 200, "who claims nothing"
    for state in ("verified", "false"):
        assert world.edge.metric(f'leeward_crawler_lookups_total{{state="{state}"}}') >= 1
    refused = world.edge.access_lines(lambda e: e["status"] == 403)
    assert refused[0]["waf"] == "block"


def test_no_request_waits_for_dns(world):
    world.resolver.hold()
    try:
        for _ in range(5):
            begun = time.monotonic()
            assert world.ask(LATE) == 422
            assert time.monotonic() - begun < 0.9, "the resolver's time-out is 1 s"
        deadline = time.monotonic() + 10
        while not world.resolver.asked_about(LATE) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert world.resolver.asked_about(LATE) == 1, "once for all of them"
    finally:
        world.resolver.release()
    assert world.ask_until(421, LATE)


def test_what_dns_does_not_say_stays_unverified(world):
    assert world.ask(SILENT) == 422
    before = world.edge.metric('leeward_crawler_lookups_total{state="unverified"}')
    deadline = time.monotonic() + 20
    while world.edge.metric('leeward_crawler_lookups_total{state="unverified"}') == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert world.ask(SILENT) == 422
    assert world.ask(SILENT, GOOGLEBOT, "/") == 200


def test_what_is_known_outlives_a_reload(world):
    assert world.ask_until(421, TRUE)
    asked = world.resolver.asked_about(TRUE)
    world.edge.reload()
    assert world.ask(TRUE) == 421
    assert world.resolver.asked_about(TRUE) == asked


def test_rules_cannot_ask_for_what_nobody_finds_out(tmp_path):
    edge = rig.Edge(tmp_path, SECTION.format(port=1, origin=2, resolver=3, verify="false"))
    told = edge.cli("validate")
    assert told.returncode != 0 and told.stderr.count("crawler needs edge.firewall.crawlers.verify") == 3, told.stderr
    edge.write(SECTION.format(port=1, origin=2, resolver=3, verify="true").replace('"verified"', '"real"'))
    told = edge.cli("validate")
    assert "crawler is never 'real'" in told.stderr, told.stderr
