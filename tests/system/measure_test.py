"""The arithmetic of the storm: a measure that flatters would be worse than none."""

import json
import os
import subprocess

import pytest

from stormlib import layout, measure, report
from stormlib.clients import Attempt


def order(identity, started, ended, ok=True, epoch=1, server=1, fresh=True):
    return Attempt("order", identity, started, ended, ok, 201 if ok else 503, "10.77.1.1", "outside",
                   fresh, server, epoch)


def test_the_outage_is_the_pause_around_the_fault():
    attempts = [order("a", 0.9, 1.0), order("b", 1.9, 2.0), order("c", 2.4, 2.5),
                order("d", 8.9, 9.0, epoch=2), order("e", 9.1, 9.2, epoch=2)]
    # The fault strikes at 2.1; an order that was on its way is still acknowledged at 2.5.
    assert measure.outage(attempts, 2.1) == (2.5, 9.0)


def test_a_pause_before_the_fault_is_not_the_outage():
    attempts = [order("a", 0, 0.1), order("b", 50, 50.1), order("c", 51, 51.5)]
    assert measure.outage(attempts, 51.0) == (50.1, 51.5)


def test_an_outage_without_end_has_no_length():
    assert measure.outage([order("a", 0, 0.1)], 1.0) is None


def test_epochs_that_follow_each_other_do_not_overlap():
    attempts = [order("a", 0, 1), order("b", 1, 2), order("c", 5, 6, epoch=2)]
    assert measure.writers_overlap(attempts) == 0.0


def test_an_old_epoch_that_still_acknowledges_is_an_overlap():
    attempts = [order("a", 0, 1), order("b", 4, 5, epoch=2), order("c", 6, 6.5),
                order("d", 8, 9, epoch=2)]
    assert measure.writers_overlap(attempts) == pytest.approx(1.5)


def test_asking_again_for_an_old_order_is_no_second_writer():
    attempts = [order("a", 0, 1), order("b", 4, 5, epoch=2), order("a", 6, 7, fresh=False)]
    assert measure.writers_overlap(attempts) == 0.0


def test_one_epoch_at_two_sites_is_seen():
    attempts = [order("a", 0, 1, server=1), order("b", 1, 2, server=2)]
    assert measure.servers_by_epoch(attempts) == {1: {1, 2}}


def test_the_recovery_point_is_the_age_of_the_oldest_missing_order():
    attempts = [order("a", 0, 1), order("b", 2, 3), order("c", 4, 5)]
    assert measure.recovery_point(attempts, 6.0, {"a"}) == 4.0
    assert measure.recovery_point(attempts, 6.0, {"a", "b", "c"}) == 0.0


def test_an_order_that_was_never_acknowledged_is_not_a_loss():
    attempts = [order("a", 0, 1, ok=False), order("b", 1, 2)]
    assert measure.recovery_point(attempts, 6.0, {"b"}) == 0.0
    assert measure.acknowledged(attempts) == {"b"}


def test_a_stall_is_a_long_wait_or_a_long_silence():
    assert measure.longest_stall([order("a", 0, 2.5), order("b", 2.5, 2.6)], 0, 10) == 2.5
    assert measure.longest_stall([order("a", 0, 0.1), order("b", 3.0, 3.1)], 0, 10) == 3.0
    assert measure.longest_stall([order("a", 0, 9)], 10, 20) == 0.0


def test_a_request_under_way_when_the_interval_begins_counts_as_failed_in_it():
    attempts = [order("a", 0, 5, ok=False), order("b", 0, 1, ok=False), order("c", 6, 7)]
    assert [a.order for a in measure.failed_between(attempts, 4, 8)] == ["a"]


def test_every_number_over_its_limit_breaks_the_promise():
    for key, limit in measure.LIMITS.items():
        storm = report.Report("site-kill")
        storm.set(key, limit)
        assert storm.ok
        storm.set(key, limit + 1)
        assert not storm.ok and key in storm.broken()[0]


def test_what_does_not_apply_breaks_nothing_and_is_said_to_be_so():
    storm = report.Report("control-loss")
    storm.not_applicable("no site fails", "rto_seconds")
    assert storm.ok
    assert any("n/a" in line and "no site fails" in line for line in storm.table())


def test_a_limit_can_be_another_one_in_a_scenario():
    storm = report.Report("control-kill")
    storm.limit("rto_seconds", 20.0, "control restarts")
    storm.set("rto_seconds", 15.0)
    assert storm.ok and any("limit 20 s; control restarts" in line for line in storm.table())
    storm.set("rto_seconds", 21.0)
    assert not storm.ok


def test_the_cost_of_a_standby_takes_the_time_to_recover_from_a_report(tmp_path):
    if not os.access(layout.binary(), os.X_OK):
        pytest.skip("leeward is not built")
    run = layout.on_loopback(tmp_path, "none")
    layout.write(run)
    reports = []
    for compute, seconds in (("instances", 6.0), ("functions", 5.5)):
        storm = report.Report("site-kill", compute)
        storm.set("rto_seconds", seconds)
        reports += ["--measured", str(tmp_path / f"{compute}.json")]
        storm.write(tmp_path / f"{compute}.json")
    done = subprocess.run([str(layout.binary()), "cost", "-o", "json", *reports, "--config", str(run.config),
                           "--plot", str(tmp_path / "standby.svg")],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    options = {option["name"]: option for option in json.loads(done.stdout)["options"]}
    assert {name: option["rto_measured"] for name, option in options.items()} == {
        "disk_replication": False, "warm": True, "functions": True, "active_active": False}
    assert (options["warm"]["rto_seconds"], options["functions"]["rto_seconds"]) == (6.0, 5.5)
    assert "RTO 6" in (tmp_path / "standby.svg").read_text()
