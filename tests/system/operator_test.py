"""What an operator does: ask, move, be refused, read the ledger. One platform for all of it."""

import json
import signal
import subprocess
import time

import pytest

from stormlib import clients, layout, measure, namespaces, platform as platforms, resolver

REFUSED, UNREACHABLE_OR_TIMEOUT, UNHEALTHY, USAGE = 5, (1, 6), 4, 2


@pytest.fixture(scope="module")
def shop():
    """A platform that is ready, with the shop's tables."""
    with platforms.Platform(layout.REPOSITORY / "build/tests/operator") as platform:
        for site in layout.SITES:
            platform.start(site)
        platform.create_shop()
        platform.wait_ready(writer="gcp")
        yield platform


def order(platform, site, identity):
    """Places one order at the web tier of a site; the decoded answer."""
    return clients.place_order(platform.layout.addresses[site], identity, 20)


def test_status_tells_who_writes(shop):
    done = shop.cli("status", "-o", "json", check=True)
    status = json.loads(done.stdout)
    assert status["writer"] == "gcp" and status["failover"]["to"] == "aws"
    table = shop.cli("status", check=True).stdout
    assert "gcp" in table and "aws" in table and "witness" in table
    deadline = time.monotonic() + 20  # a busy machine may miss a probe
    while (done := shop.cli("status", "--check")).returncode != 0:
        assert done.returncode == UNHEALTHY and time.monotonic() < deadline, done.stdout
        time.sleep(0.2)


def test_both_sites_serve_and_one_database_writes(shop):
    for site in layout.WORKLOAD_SITES:
        assert order(shop, site, f"from-{site}")["server_id"] == layout.SERVER_IDS["gcp"]


def test_every_name_server_answers_with_the_active_site(shop):
    for address in shop.layout.addresses.values():
        client = resolver.Resolver([address], shop.layout.dns_port)
        assert client.resolve(layout.SERVICE) == shop.layout.addresses["gcp"]


def test_a_command_without_consent_is_a_usage_error(shop):
    assert shop.cli("switchover").returncode == USAGE
    assert shop.cli("nonsense").returncode == USAGE


def test_a_row_that_differs_at_the_standby_is_found_by_itself_and_mended(shop):
    shop.execute("aws", "SET SESSION sql_log_bin = 0", "UPDATE shop.product SET stock = stock + 1 WHERE id = 1")

    def differs(status):
        compared = platforms.agent_of(status, "aws").get("comparison") or {}
        return compared.get("different") == 1 and "product id=1" in compared["first"]

    shop.wait_until(differs, 150, "the comparison to find the row")
    assert "product id=1" in shop.cli("events", "--limit", "500", check=True).stdout
    done = shop.cli("db", "verify", "--repair", "--yes")
    assert done.returncode == 0 and "1 repaired" in done.stdout, done.stdout + done.stderr
    assert shop.cli("db", "verify").returncode == 0


def test_a_failover_from_a_healthy_writer_is_refused(shop):
    done = shop.cli("failover", "--yes")
    assert done.returncode == REFUSED and "switchover" in done.stderr


def test_failing_back_to_where_we_are_is_refused(shop):
    assert shop.cli("failback", "--yes").returncode == REFUSED


def test_a_wrong_token_is_turned_away(shop):
    done = subprocess.run([layout.binary(), "status", "--config", shop.layout.config],
                          capture_output=True, text=True, timeout=30,
                          env={"LEEWARD_TOKEN": "wrong", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 1 and shop.layout.secret("operator.token") not in done.stderr


def test_no_control_is_said_so(shop):
    done = shop.cli("status", "--address", "127.0.0.1:1")
    assert done.returncode in UNREACHABLE_OR_TIMEOUT and "127.0.0.1:1" in done.stderr


def test_a_switchover_and_the_way_back_fail_nothing(shop):
    journal = clients.Journal(shop.layout.directory / "switchover.jsonl")
    names = resolver.Resolver(shop.layout.addresses.values(), shop.layout.dns_port)
    customers = clients.Customers(journal, lambda: [names.resolve(layout.SERVICE)])
    try:
        for command, writer in (("switchover", "aws"), ("failback", "gcp")):
            started = time.monotonic()
            shop.cli(command, "--yes", check=True)
            shop.wait_ready(writer=writer)
            assert order(shop, "gcp", f"after-{command}")["server_id"] == layout.SERVER_IDS[writer]
            attempts = journal.attempts()
            failed = measure.failed_between(attempts, started, time.monotonic())
            assert [a.detail for a in failed] == []
            assert measure.longest_stall(attempts, started, time.monotonic()) <= 3.0
    finally:
        customers.stop()
        journal.close()
    attempts = journal.attempts()
    assert measure.writers_overlap(attempts) == 0.0
    assert measure.acknowledged(attempts) <= shop.order_ids("gcp")


def test_events_tell_the_story_in_order(shop):
    events = json.loads(shop.cli("events", "-o", "json", check=True).stdout)
    events = events["events"] if isinstance(events, dict) else events
    sequences = [event["sequence"] for event in events]
    assert sequences == sorted(set(sequences))
    kinds = [event["kind"] for event in events]
    assert "plan.started" in kinds and "lease.granted" in kinds and "plan.done" in kinds


def test_maintenance_stops_automatic_failover_only(shop):
    shop.cli("maintenance", "on", check=True)
    status = shop.status()
    assert status["paused"] and not status["failover"]["possible"]
    assert shop.cli("status", "--check").returncode == UNHEALTHY
    shop.cli("maintenance", "off", check=True)
    shop.wait_until(lambda s: s["failover"]["possible"], 20, "failover possible again")


# Last: afterwards an automatic failover is blocked for half an hour.
@pytest.mark.skipif(not namespaces.usable(), reason="needs root, to stop replication by a partition")
def test_a_lost_order_is_in_the_ledger_and_can_be_replayed(shop):
    # Orders that gcp acknowledges to customers inside, while nobody can replicate them.
    taken = []
    shop.net.cut("gcp")
    try:
        taken = shop.at("gcp", lambda: [order(shop, "gcp", f"lost-{n}") for n in range(3)])
        assert all(answer["server_id"] == layout.SERVER_IDS["gcp"] for answer in taken)
        shop.wait_until(lambda s: s["writer"] == "aws" and s["active"] == "aws", 30, "a failover to aws")
    finally:
        shop.net.join("gcp")
    shop.wait_ready(writer="aws")
    lost = {answer["client_order_id"] for answer in taken}
    assert not lost & shop.order_ids("aws")
    assert lost <= shop.ledger_order_ids()
    _replay(shop, lost)


def _replay(shop, lost):
    listed = json.loads(shop.cli("ledger", "list", "-o", "json", check=True).stdout)
    text = json.dumps(listed)
    assert all(identity in text for identity in lost)
    for entry in shop.ledger("gcp"):
        orders = {change["after"]["client_order_id"] for change in entry["changes"]
                  if change["table"] == "shop.orders" and change["operation"] == "insert"}
        if orders & lost and entry["state"] == "open":
            shown = shop.cli("ledger", "show", entry["id"], "--site", "gcp", check=True).stdout
            assert all(identity in shown for identity in orders)
            shop.cli("ledger", "replay", entry["id"], "--site", "gcp", "--yes", check=True)
            assert orders <= shop.order_ids("aws")
    assert lost <= shop.order_ids("aws")
    states = {entry["state"] for entry in shop.ledger("gcp")
              if any(identity in json.dumps(entry) for identity in lost)}
    assert states == {"replayed"}


def test_ending_the_platform_ends_everything(shop):
    for site, process in shop._started.items():
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, shop.log_tails()
        assert shop.signal_site(site, 0) == 0
