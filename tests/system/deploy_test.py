"""New revisions on a real platform, behind its edges and under load: they come, fail, are taken back by
themselves, and survive the death of their agent. No request is lost.
"""

import json
import os
import re
import signal
import subprocess

import pytest

import tiers_rig as rig
from stormlib import layout

pytestmark = pytest.mark.skipif(not os.access(layout.binary(), os.X_OK),
                                reason="leeward is not built")

UNHEALTHY, REFUSED = 4, 5
TIERS = {
    "rolling": (8200, "instances: 2\n    deploy: { max_surge: 1, max_unavailable: 0, ready_within: 5s, "
                      "watch: 1s }"),
    "beside": (8210, "instances: 2\n    deploy: { strategy: blue-green, ready_within: 5s, watch: 1s }"),
}


@pytest.fixture(scope="module")
def world():
    with rig.running("deploy", TIERS) as world:
        yield world


def test_a_rolling_deployment_reaches_both_sites_and_loses_no_request(world):
    world.change("rolling", "two")
    rig.deploy_under_load(world, "rolling")


@pytest.mark.parametrize("tier, mode, why", [
    ("rolling", "hangs", "was not ready within 5s"),
    ("rolling", "crashes", "exited by themselves"),
    ("beside", "hangs", "was not ready within 5s"),
    ("beside", "crashes", "exited by themselves"),
])
def test_a_bad_revision_is_rolled_back_by_itself_and_no_request_sees_it(world, tier, mode, why):
    before = world.tier(tier)
    world.change(tier, f"bad-{mode}", mode)
    with rig.Load(world, tier) as load:
        load.wait_answers(20)
        done, sites = world.deploy(tier)
        load.wait_answers(20)
    assert done.returncode == UNHEALTHY, done.stderr
    assert [s["site"] for s in sites] == ["gcp"], "the other site is left alone"
    assert sites[0]["outcome"] == "rolled_back" and why in sites[0]["reason"]
    assert load.failed() == []
    assert len(load.revisions()) == 1 and "bad" not in load.revisions().pop()
    after = world.tier(tier)
    assert after["current"] == before["current"] and after["failed"] == sites[0]["revision"]
    assert after["history"][-1]["outcome"] == "rolled_back" and why in after["history"][-1]["reason"]
    events = json.loads(world.platform.cli("events", "-o", "json", check=True).stdout)["events"]
    told = [e for e in events if e["kind"] == "deploy.rolled_back" and e["site"] == "gcp"]
    assert f"{tier}, revision {after['failed']}: " in told[-1]["message"]


def test_blue_green_changes_over_at_once_and_comes_back_at_once(world):
    world.change("beside", "green")
    with rig.Load(world, "beside") as load:
        load.wait_answers(20)
        done, _ = world.deploy("beside", "--site", "gcp")
        assert done.returncode == 0, done.stderr
        load.wait_answers(20)
        assert world.tier("beside")["phase"] == "keeping"
        back = world.platform.cli("deploy", "rollback", "beside", "--site", "gcp")
        load.wait_answers(20)
    assert load.failed() == []
    assert {answer[3] for answer in load.answers[-10:]} == {"one"}
    assert back.returncode == 0 and "runs revision" in back.stdout, back.stderr
    assert "an operator asked for it" in world.tier("beside")["history"][-1]["reason"]
    green = [answer for answer in load.answers if answer[3] == "green"]
    # Whoever asks once the new revision has answered is not sent to the old one; what two threads of
    # the edge do at the same moment is allowed to them.
    first, last = min(a[1] for a in green), max(a[0] for a in green)
    assert [a for a in load.answers if a[3] == "one" and first + 0.2 < a[0] < last - 0.2] == []


def test_what_the_sites_own_file_does_not_say_is_refused(world):
    before = world.tier("rolling")
    config = world.platform.layout.config
    another = config.with_name("operators.yaml")
    another.write_text(re.sub(r"REVISION: \S+", "REVISION: mallory", config.read_text(), count=1))
    done = subprocess.run([str(layout.binary()), "deploy", "start", "rolling", "--config", str(another)],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == REFUSED, done.stdout
    assert f"runs only what {config} says" in done.stderr and "has another env" in done.stderr
    after = world.tier("rolling")
    assert (after["goal"], len(after["revisions"])) == (before["goal"], len(before["revisions"]))


def test_an_agent_that_dies_in_the_middle_goes_on(world):
    world.change("rolling", "three")
    done, _ = world.deploy("rolling", "--site", "gcp", "--no-wait")
    assert done.returncode == 0, done.stderr
    goal = world.tier("rolling")["goal"]
    rig.wait_for(lambda: len(world.tier("rolling")["instances"]) > 2, 10, "the first new instance")
    world.platform.signal_role("gcp", "agent", signal.SIGKILL)
    rig.wait_for(lambda: world.platform.cli("deploy", "status", "--site", "gcp").returncode == 0, 30,
             "the agent is back")
    rig.wait_for(lambda: world.tier("rolling")["current"] == goal, 60, "the deployment goes on")
    rig.wait_for(lambda: world.get("rolling") == (200, "three"), 30, "the new revision serves")
    world.platform.wait_ready(writer="gcp")
