"""A standby whose compute is functions first: nothing of the application runs there, the first order
after the failover is served by a function, and later ones by instances."""

import json
import pathlib
import re
import time

import pytest

from stormlib import clients, layout, platform as platforms, processes

PROGRAMS = ("/shop/web.py", "/shop/app.py")


@pytest.fixture(name="shop")
def _shop():
    with platforms.Platform(layout.REPOSITORY / "build/tests/functions-first",
                            compute="functions-first") as platform:
        for site in layout.SITES:
            platform.start(site)
        platform.create_shop()
        platform.wait_ready(writer="gcp")
        yield platform


def order(shop, identity):
    """One order at the standby's edge, tried until it is taken; the decoded answer."""
    return clients.place_order(shop.layout.addresses["aws"], identity, 40)


def served_by_functions(shop):
    """How many requests the functions of the application tier have served."""
    logs = (shop.layout.directory / "state/aws/agent/log/functions").glob("app.log*")
    return sum(log.read_text().count("END RequestId") for log in logs)


def instances(shop):
    return processes.instances(shop.layout.run_id, "aws", PROGRAMS)


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return value


def test_the_first_order_is_a_functions_and_the_later_ones_are_of_instances(shop):
    # The standby takes part: checks and probes ask it all the time, and start nothing.
    assert processes.programs(shop.layout.run_id, "aws", PROGRAMS) == []
    assert served_by_functions(shop) == 0
    assert len(processes.instances(shop.layout.run_id, "gcp", PROGRAMS)) == 2

    # A new revision reaches the functions, which run nothing yet.
    config = shop.layout.config
    config.write_text(config.read_text().replace("      SHOP_REDIS:", "      SHOP_NEXT: two\n      SHOP_REDIS:"))
    done = shop.cli("deploy", "start", "app", "-o", "json", check=True)
    outcomes = {site["site"]: site["outcome"] for site in json.loads(done.stdout)["sites"]}
    assert outcomes == {"gcp": "deployed", "aws": "waiting"}
    status = shop.cli("deploy", "status", "--site", "aws", check=True).stdout
    assert re.search(r"app functions +2 +ready", status), status
    assert processes.programs(shop.layout.run_id, "aws", PROGRAMS) == []

    shop.kill("gcp")
    assert order(shop, "first")["server_id"] == layout.SERVER_IDS["aws"]
    assert served_by_functions(shop) >= 1
    environments = [pathlib.Path(f"/proc/{pid}/environ").read_text()
                    for pid in processes.functions(("/shop/app.py",))]
    assert environments and all("SHOP_NEXT=two" in environment for environment in environments)

    wait_for(lambda: len(instances(shop)) == 2, 30, "no instances after the failover")
    wait_for(lambda: all(shop.instances_offered("aws", tier) for tier in ("web", "app")), 30,
             "no instance is ready")
    # Both the edge and the web tier have been told by now, or are within moments.
    wait_for(lambda: _stands_still(shop), 20, "functions go on serving beside ready instances")
    assert order(shop, "later")["server_id"] == layout.SERVER_IDS["aws"]

    # Instances that die give the port back to functions, and nobody is left without an answer.
    before = served_by_functions(shop)
    for pid in instances(shop):
        processes.send([pid], 19)  # SIGSTOP: gone would mean restarted within a moment
    wait_for(lambda: not shop.instances_offered("aws", "app"), 30, "a silent instance counts as ready")
    assert order(shop, "between")["server_id"] == layout.SERVER_IDS["aws"]
    assert served_by_functions(shop) > before


def _stands_still(shop):
    before = served_by_functions(shop)
    for number in range(5):
        order(shop, f"still-{before}-{number}-{time.monotonic_ns()}")
    return served_by_functions(shop) == before
