"""A site with two nodes of each database: one dies, they change places, and the site dies in between."""

import signal
import time

import pytest
import redis

from stormlib import clients, control_api, layout, measure, platform as platforms, resolver

PORTS = layout.NODE_PORTS
RESUME_SECONDS = 5.0


@pytest.fixture(scope="module")
def shop():
    with platforms.Platform(layout.REPOSITORY / "build/tests/nodes", two_nodes=True) as platform:
        for site in layout.SITES:
            platform.start(site)
        platform.create_shop()
        platform.wait_ready(writer="gcp")
        in_sync(platform)
        yield platform


@pytest.fixture
def orders(shop):
    """Customers who order all the time; their journal."""
    journal = clients.Journal(shop.layout.directory / f"orders-{time.monotonic_ns()}.jsonl")
    names = resolver.Resolver(shop.layout.addresses.values(), shop.layout.dns_port)
    customers = clients.Customers(journal, lambda: [names.resolve(layout.SERVICE)])
    try:
        wait_orders(journal, 20)
        yield journal
    finally:
        customers.stop()
        journal.close()


def in_sync(platform):
    """Waits until losing the primary node would lose nothing; the status then."""
    return platform.wait_until(lambda s: platforms.agent_of(s, "gcp").get("node_in_sync"), 60,
                               "both nodes of gcp in sync")


def primary(status):
    return [node["primary"] for node in platforms.agent_of(status, "gcp")["nodes"]].index(True)


def wait_orders(journal, count, since=None, seconds=20):
    since = time.monotonic() if since is None else since
    deadline = time.monotonic() + seconds
    while sum(a.kind == "order" and a.ok and a.ended >= since for a in journal.attempts()) < count:
        assert time.monotonic() < deadline, "no orders get through"
        time.sleep(0.05)


def test_a_dead_primary_node_is_replaced_and_loses_nothing(shop, orders):
    before = primary(in_sync(shop))
    at = time.monotonic()
    shop.keep_node_dead("gcp", PORTS[before], lambda s: primary(s) == 1 - before)
    wait_orders(orders, 40, at)
    pause = measure.outage(orders.attempts(), at)
    print(f"no order for {pause[1] - pause[0]:.2f} s")
    assert pause[1] - pause[0] <= RESUME_SECONDS
    status = in_sync(shop)  # the dead one was started again and rejoined by itself
    assert status["writer"] == "gcp" and primary(status) == 1 - before
    shop.wait_ready(writer="gcp")
    assert measure.acknowledged(orders.attempts()) <= shop.order_ids("gcp", PORTS[1 - before])


def test_a_frozen_primary_node_that_wakes_up_is_a_replica(shop, orders):
    before = primary(in_sync(shop))
    at = time.monotonic()
    shop.signal_node("gcp", PORTS[before], signal.SIGSTOP)
    try:
        shop.wait_until(lambda s: primary(s) == 1 - before, 20, "the other node to be the primary")
        wait_orders(orders, 20)
        pause = measure.outage(orders.attempts(), at)
        print(f"no order for {pause[1] - pause[0]:.2f} s")
        assert pause[1] - pause[0] <= RESUME_SECONDS
        assert shop.status()["writer"] == "gcp"
    finally:
        shop.signal_node("gcp", PORTS[before], signal.SIGCONT)
    assert primary(in_sync(shop)) == 1 - before
    assert measure.acknowledged(orders.attempts()) <= shop.order_ids("gcp", PORTS[1 - before])


def test_a_planned_change_of_node_fails_no_request(shop, orders):
    before = primary(in_sync(shop))
    at = time.monotonic()
    endpoint = (shop.layout.addresses["gcp"], layout.AGENT_PORT)
    control_api.call(endpoint, "POST", "/v1/node/primary", shop.layout.secret("operator.token"),
                     {"node": 2 - before}, 10.0)
    shop.wait_until(lambda s: primary(s) == 1 - before, 20, "the other node to be the primary")
    wait_orders(orders, 20)
    failed = measure.failed_between(orders.attempts(), at, time.monotonic())
    assert [a.detail for a in failed] == []
    assert primary(in_sync(shop)) == 1 - before


def sessions(shop, *command):
    """A command to Redis through gcp's gateway, repeated until it is taken."""
    host, port = shop.layout.gateway("gcp", layout.SESSIONS_GATEWAY_PORT)

    def attempt():
        with redis.Redis(host, port, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*command)

    deadline = time.monotonic() + 20
    while True:
        try:
            return shop.at("gcp", attempt)
        except redis.RedisError:
            assert time.monotonic() < deadline, f"{command} is not taken"
            time.sleep(0.05)


def redis_settled(shop, primary_node=None):
    """Waits until gcp's two Redis servers have the same, under that primary (1, 2; any); the report then."""
    def settled(status):
        r = platforms.agent_of(status, "gcp").get("redis") or {}
        nodes = r.get("nodes", [])
        return r.get("open") and primary_node in (None, r["primary"]) and all(n["reachable"] for n in nodes) and \
            nodes[2 - r["primary"]]["link_up"] and nodes[0]["offset"] == nodes[1]["offset"]
    return platforms.agent_of(shop.wait_until(settled, 60, "both Redis of gcp alike"), "gcp")["redis"]


def test_a_dead_redis_primary_is_replaced_by_its_replica(shop):
    sessions(shop, "SET", "cart", "full")
    before = redis_settled(shop)["primary"]
    at = time.monotonic()
    shop.signal_node("gcp", layout.REDIS_PORTS[before - 1], signal.SIGKILL, "redis-server")
    assert sessions(shop, "SET", "after", "yes")
    print(f"Redis takes writes again after {time.monotonic() - at:.2f} s")
    assert time.monotonic() - at <= RESUME_SECONDS
    assert sessions(shop, "GET", "cart") == "full"  # the dead one has no data on disk
    redis_settled(shop, 3 - before)
    assert shop.status()["epoch"] == 1


# Last: afterwards aws is the writer and automatic failover is blocked.
def test_the_site_dies_in_the_middle_of_a_change_of_node(shop, orders):
    before = primary(in_sync(shop))
    shop.wait_until(lambda s: s["failover"]["possible"], 30, "a failover to be possible")
    at = time.monotonic()
    shop.signal_node("gcp", PORTS[before], signal.SIGKILL)
    time.sleep(0.5)  # not a wait: the moment of the second blow
    shop.kill("gcp")
    shop.wait_until(lambda s: s["active"] == "aws", 30, "aws to take over")
    wait_orders(orders, 20)
    pause = measure.outage(orders.attempts(), at)
    print(f"no order for {pause[1] - pause[0]:.2f} s")
    shop.revive("gcp")
    shop.wait_ready(writer="aws", seconds=120)
    acknowledged = measure.acknowledged(orders.attempts())  # before: the customers go on
    assert acknowledged <= shop.order_ids("aws") | shop.ledger_order_ids()
    assert measure.writers_overlap(orders.attempts()) == 0.0
