"""The autoscaler on a real platform: its number follows the load, edges follow its instances, no request is
lost, and after a failover it begins with what the other site needed.
"""

import json
import os
import time

import pytest

import tiers_rig as rig
from stormlib import layout, processes

pytestmark = pytest.mark.skipif(not os.access(layout.binary(), os.X_OK),
                                reason="leeward is not built")

PORT = 8220
TIERS = {
    "crowd": (PORT, """standby: cold
    scaling:
      max: 4
      policies: { load: { metric: requests, target: 20 } }
      interval: 1s
      warm_up: 1s
      tolerance_for: 2s
      scale_out_cooldown: 1s
      scale_in_cooldown: 1s
      stabilisation: 5s
      rate_period: 1s
      hold_down: 20s"""),
}


@pytest.fixture(scope="module")
def world():
    with rig.running("scaling", TIERS) as world:
        yield world


def ready(world, site="gcp"):
    return sum(i["state"] == "ready" for i in world.scale("crowd", site)["instances"])


def test_the_number_follows_the_load_and_no_request_is_lost(world):
    assert world.scale("crowd")["desired"] == 1
    with rig.Load(world, "crowd", clients=2, rate=5) as quiet:
        with rig.Load(world, "crowd", clients=8, rate=10) as load:
            rig.wait_for(lambda: world.scale("crowd")["desired"] >= 3, 60, "more instances")
            rig.wait_for(lambda: ready(world) >= 3, 30, "three ready ones")
            load.wait_answers(50)
        assert load.failed() == []
        rig.wait_for(lambda: world.scale("crowd")["desired"] == 1, 90, "fewer again")
        rig.wait_for(lambda: len(world.scale("crowd")["instances"]) == 1, 30, "drained and stopped")
        quiet.wait_answers(10)
    assert quiet.failed() == []
    history = world.platform.cli("scale", "history", "crowd", "--last", "500", "-o", "json", check=True)
    numbers = [d["desired"] for d in json.loads(history.stdout)["decisions"]]
    turns = [b - a for a, b in zip(numbers, numbers[1:]) if b != a]
    first_in = next(i for i, step in enumerate(turns) if step < 0)
    assert all(step > 0 for step in turns[:first_in]) and all(step < 0 for step in turns[first_in:]), numbers


def test_after_a_failover_the_floor_is_what_the_primary_needed(world):
    peak = world.scale("crowd")["peak"]
    assert peak >= 3
    rig.wait_for(lambda: world.scale("crowd", "aws")["other_site_peak"] == peak, 30, "the standby learns it")
    assert world.scale("crowd", "aws")["instances"] == [], "a cold standby runs nothing"
    ports = {str(PORT + i) for i in range(4)}
    at_aws = processes.of_run(world.platform.layout.run_id, "aws")
    assert [pid for pid in at_aws if ports & set(processes.command_line(pid))] == []
    world.platform.kill("gcp")
    world.platform.wait_until(lambda s: s["writer"] == "aws" and s["active"] == "aws", 40, "a failover")
    rig.wait_for(lambda: ready(world, "aws") == peak, 20,
                 "as many as the primary needed, without any load")
    now = world.scale("crowd", "aws")
    assert now["desired"] == peak and now["no_scale_in_until"]
    assert rig.wait_for(lambda: world.get("crowd", "aws"), 20, "the edge serves") == (200, "one")
    until = time.monotonic() + 8  # more than the stabilisation window, less than the hold-down
    while time.monotonic() < until:
        assert world.scale("crowd", "aws")["desired"] == peak
        time.sleep(0.5)
    rig.wait_for(lambda: world.scale("crowd", "aws")["desired"] == 1, 60, "scale-in after the hold-down")
