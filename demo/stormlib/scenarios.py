"""The scenarios: what is broken, what must come true, what is measured. Each is a function of a Storm
that has just begun; its first line is its description."""

import signal
import time

from stormlib import clients, layout as layouts, measure, platform as platforms, processes

# The longest that a fenced site may go on: lease (3 s) and grace (1 s), see demo/leeward.yaml.in.
_FENCED_WITHIN_SECONDS = 4.0
_WRITE_STALL_SECONDS = 1.0
_NO_FAULT_OF_A_SITE = "no site fails in this scenario"


def _pinned(storm, addresses):
    """Customers who keep to these addresses, whatever the name says later."""
    customers = clients.Customers(storm.journal, lambda: addresses, place="pinned", workers=4,
                                  orders_per_second=10.0, pages_per_second=0)
    try:
        storm.require_orders(5, 10.0, place="pinned")
    except BaseException:
        customers.stop()
        raise
    return customers


def site_kill(storm, **_):
    """The whole primary site dies at once: every process and the network. Some customers keep the
    answer that they resolved before; it names the edges of both sites."""
    pinned = _pinned(storm, storm.resolver.resolve_all(layouts.SERVICE))
    try:
        storm.timeline.heading("The storm: gcp is lost")
        storm.strike("every process of gcp killed, its network gone", "gcp")
        storm.report.detail["processes_killed"] = storm.platform.kill("gcp")
        storm.tell_takeover("aws")
        storm.tell_functions()
        storm.require_orders(40, 20.0)
        storm.measure_failover("gcp")
        storm.require_orders(20, 20.0, place="pinned")
        storm.measure_pinned("aws")
    finally:
        pinned.stop()
    storm.timeline.heading("gcp comes back")
    storm.platform.revive("gcp")
    _return_to_gcp(storm)


def partition(storm, **_):
    """The primary site is cut off but alive, and has customers of its own inside."""
    p = storm.platform
    if not p.net:
        raise platforms.PlatformError("a partition needs network namespaces: run this as root")
    inside = clients.Customers(storm.journal, lambda: [p.layout.addresses["gcp"]], place="gcp",
                               workers=4, orders_per_second=10.0, pages_per_second=0,
                               prepare=lambda: p.net.enter("gcp"))
    try:
        _wait_inside(storm, 5)
        storm.timeline.heading("The storm: gcp is cut off, alive")
        storm.strike("gcp taken off the network; its own customers go on ordering", "gcp")
        p.net.cut("gcp")
        storm.tell_takeover("aws")
        storm.require_orders(40, 20.0)
        storm.measure_failover("gcp")
        _judge_inside(storm)
    finally:
        inside.stop()
    storm.timeline.heading("The network heals")
    p.net.join("gcp")
    _return_to_gcp(storm)


def _wait_inside(storm, count):
    since, deadline = time.monotonic(), time.monotonic() + 10
    while len(storm.acks_since(since, "gcp")) < count:
        if time.monotonic() > deadline:
            raise platforms.PlatformError("customers inside gcp get no orders through")
        time.sleep(0.05)


def _judge_inside(storm):
    """The customers on the cut-off side must be told clearly, and in time, that nothing is taken."""
    inside = [a for a in storm.journal.attempts() if a.place == "gcp" and a.kind == "order"]
    last = max((a.ended for a in inside if a.ok), default=storm.fault_at)
    refusals = [a for a in inside if a.status == 503 and "leeward:" in a.detail]
    storm.report.detail["inside_last_acknowledgement_seconds"] = round(last - storm.fault_at, 3)
    if last - storm.fault_at > _FENCED_WITHIN_SECONDS:
        storm.report.complain(f"the cut-off site took orders for {last - storm.fault_at:.1f} s, more "
                              f"than lease and grace ({_FENCED_WITHIN_SECONDS:g} s)")
    if not refusals:
        storm.report.complain("the customers inside the cut-off site never got a clear refusal")
        return
    first = min(a.ended for a in refusals)
    storm.say("client", f"inside gcp: {refusals[0].detail.strip()[:90]}", first, "gcp")
    storm.report.detail["inside_first_refusal_seconds"] = round(first - storm.fault_at, 3)
    if first - storm.fault_at > _FENCED_WITHIN_SECONDS + clients.CONNECT_SECONDS:
        storm.report.complain("the clear refusal came later than lease, grace and one request")


def database_freeze(storm, **_):
    """The primary's database stops answering without dying, and wakes up after the failover. Some
    customers keep the address that they resolved before: the edge there must serve them."""
    p = storm.platform
    pinned = _pinned(storm, [p.layout.addresses["gcp"]])
    try:
        storm.timeline.heading("The storm: the database of gcp freezes")
        storm.strike("mariadbd of gcp frozen (SIGSTOP)", "gcp")
        p.signal_server("gcp", "mariadbd", signal.SIGSTOP)
        try:
            storm.tell_takeover("aws")
            storm.require_orders(40, 20.0)
            storm.measure_failover("gcp")
            storm.require_orders(20, 20.0, place="pinned")
            storm.measure_pinned("gcp")
        finally:
            p.signal_server("gcp", "mariadbd", signal.SIGCONT)
    finally:
        pinned.stop()
    storm.timeline.heading("The frozen database wakes up")
    _return_to_gcp(storm)


def control_kill(storm, **_):
    """The primary dies, and the control process dies in the middle of the failover."""
    storm.timeline.heading("The storm: gcp is lost, and then control")
    storm.report.limit("rto_seconds", 20.0, "control's restart begins the takeover wait anew")
    storm.strike("every process of gcp killed, its network gone", "gcp")
    storm.platform.kill("gcp")
    step = storm.events.wait(storm.fault_at, 15.0, kind="plan.step",
                             message=lambda text: "transfer" in text)
    if not step:
        raise platforms.PlatformError("the failover never reached the step transfer")
    storm.platform.signal_role("witness", "control", signal.SIGKILL)
    storm.say("fault", "control killed in the middle of the plan", site="witness")
    storm.tell_takeover("aws", 40.0)
    storm.require_orders(40, 20.0)
    storm.measure_failover("gcp")
    done = storm.events.wait(storm.fault_at, 20.0, kind="plan.done")
    if not done:
        storm.report.complain("the plan was never finished after control came back")
    storm.timeline.heading("gcp comes back")
    storm.platform.revive("gcp")
    _return_to_gcp(storm)


def control_loss(storm, seconds=60.0, **_):
    """The witness with the control plane hangs, then dies: a healthy writer must not notice."""
    p = storm.platform
    storm.timeline.heading("The storm: the control plane is lost")
    started = storm.strike("every process of the witness frozen (SIGSTOP)", "witness")
    p.signal_site("witness", signal.SIGSTOP)
    _let_pass(storm, seconds / 2)
    p.signal_site("witness", signal.SIGCONT)
    storm.say("step", "the witness goes on", site="witness")
    p.wait_until(lambda status: status["writer"] == "gcp", 30, "control to answer again")
    storm.say("fault", "the witness killed, its network gone", site="witness")
    p.kill("witness")
    _let_pass(storm, seconds / 2)
    p.revive("witness")
    storm.say("step", "the witness comes back", site="witness")
    p.wait_ready(60, writer="gcp")
    ended = time.monotonic()
    storm.customers.stop()
    orders = [a for a in storm.journal.attempts() if a.kind == "order"]
    stall = measure.longest_stall(orders, started, ended)
    failed = measure.failed_between(storm.journal.attempts(), started, ended)
    storm.report.detail |= {"longest_write_stall_seconds": round(stall, 3),
                            "failed_requests_in_the_loss": len(failed),
                            "first_failures": [a.detail for a in failed[:5]]}
    if stall > _WRITE_STALL_SECONDS:
        storm.report.complain(f"a write stalled for {stall:.2f} s, the limit is "
                              f"{_WRITE_STALL_SECONDS:g} s")
    if failed:
        storm.report.complain(f"{len(failed)} requests failed although the writer was healthy")
    moved = storm.events.first(started, kind="traffic.moved")
    if moved:
        storm.report.complain("the traffic was moved although the writer was healthy")
    storm.report.not_applicable(_NO_FAULT_OF_A_SITE, "detection_seconds", "rto_seconds",
                                "switchback_failed_requests", "switchback_max_stall_seconds")
    storm.settle_accounts("gcp", started)


def _let_pass(storm, seconds):
    """A stretch of the storm's own time in which orders must go on; not a wait for a condition."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        storm.require_orders(5, 10.0)


def role_kill_loop(storm, rounds=1, **_):
    """Each Leeward process of each site is killed in turn and must be back, with nothing lost."""
    p = storm.platform
    storm.timeline.heading("The storm: every process of Leeward in turn")
    longest = 0.0
    started = time.monotonic()
    for _round in range(rounds):
        for site in layouts.SITES:
            for role in ("dns", "edge", "agent", "control"):
                if processes.role(p.layout.run_id, site, role):
                    longest = max(longest, _kill_role(storm, site, role))
    storm.report.set("rto_seconds", longest, "the longest pause after any of the kills")
    storm.report.not_applicable(_NO_FAULT_OF_A_SITE, "detection_seconds",
                                "switchback_failed_requests", "switchback_max_stall_seconds")
    writer = p.wait_ready(60)["writer"]
    storm.settle_accounts(writer, started)


def _kill_role(storm, site, role):
    """Kills one role and waits until all is well again; returns the longest pause between orders."""
    at = storm.strike(f"leeward {role} killed", site)
    storm.platform.signal_role(site, role, signal.SIGKILL)
    storm.require_orders(20, 20.0, at)
    # Ready by what control last heard is not ready: its picture must be newer than the kill.
    storm.events.wait(at, 3.0, kind="agent.back", site=site)
    storm.platform.wait_ready(60)
    storm.require_orders(5, 10.0)
    pause = measure.outage(storm.journal.attempts(), at)
    storm.say("good", f"all is well again; longest pause between orders {pause[1] - pause[0]:.2f} s")
    storm.report.detail.setdefault("pauses", []).append(
        {"site": site, "role": role, "seconds": round(pause[1] - pause[0], 3)})
    return pause[1] - pause[0]


def _return_to_gcp(storm):
    storm.wait_rejoined("aws")
    storm.say("good", "gcp is a standby and could take over", site="gcp")
    storm.show_ledger()
    storm.switch_back()
    storm.settle_accounts("gcp", storm.fault_at)


def lossless(storm, **_):
    """Lossless mode: the primary site dies under load; no acknowledged order may be missing."""
    storm.platform.wait_until(lambda status: status["protection"]["state"] == "on", 30,
                              "the record to say that commits are protected")
    storm.require_orders(20, 15.0)
    storm.timeline.heading("The storm: gcp is lost")
    storm.strike("every process of gcp killed, its network gone", "gcp")
    storm.platform.kill("gcp")
    storm.tell_takeover("aws")
    storm.require_orders(40, 20.0)
    storm.measure_failover("gcp")
    if not storm.platform.status()["plan"]["automatic"]:
        storm.report.complain("the failover was not automatic although commits were protected")
    storm.timeline.heading("gcp comes back")
    storm.platform.revive("gcp")
    storm.wait_rejoined("aws")
    storm.platform.wait_until(lambda status: status["protection"]["state"] == "on", 30,
                              "commits to be protected again")
    entries = [entry for site in layouts.WORKLOAD_SITES for entry in storm.platform.ledger(site)]
    lost = [entry["id"] for entry in entries if entry["state"] != "unacknowledged"]
    storm.report.detail["never_acknowledged"] = len(entries) - len(lost)
    if lost:
        storm.report.complain(f"the ledger is not empty in lossless mode: {lost[:5]}")
    storm.switch_back()
    acknowledged = storm.settle_accounts("gcp", storm.fault_at)
    missing = acknowledged - storm.platform.order_ids("gcp")
    if missing:
        storm.report.complain(f"acknowledged orders are missing: {sorted(missing)[:5]}")


def node_kill(storm, **_):
    """gcp has two nodes of each database: the primary MariaDB dies, then the primary Redis; gcp goes on."""
    p = storm.platform
    r = storm.report
    r.limit("rto_seconds", 5.0, "a local failover")
    r.not_applicable("no site fails, so nothing is switched back", "switchback_failed_requests",
                     "switchback_max_stall_seconds")
    _nodes_in_sync(p)
    before = p.primary_node("gcp")
    storm.timeline.heading("The storm: the primary database node of gcp dies")
    storm.strike(f"mariadbd of node {before + 1} killed, and whenever it starts again", "gcp")
    p.keep_node_dead("gcp", layouts.NODE_PORTS[before], lambda _: p.primary_node("gcp") != before)
    storm.require_orders(40, 20.0)
    pause = measure.outage(storm.journal.attempts(), storm.fault_at)
    r.set("rto_seconds", pause[1] - pause[0])
    moved = storm.events.wait(storm.fault_at, 5.0, kind="node.primary", site="gcp")
    if moved:
        r.set("detection_seconds", moved["at"] - storm.fault_at)
    else:
        r.complain("nothing was said about another primary node")
    begun = time.monotonic()
    _nodes_in_sync(p)
    r.detail["node_rejoin_seconds"] = round(time.monotonic() - begun, 2)
    storm.say("good", "the dead node is a replica again, and could take over")
    storm.timeline.heading("The primary Redis of gcp dies")
    at = time.monotonic()
    p.signal_node("gcp", layouts.REDIS_PORTS[p.redis("gcp")["primary"] - 1], signal.SIGKILL, "redis-server")
    if not storm.events.wait(at, 10.0, kind="redis.primary", site="gcp"):
        r.complain("no other Redis became the primary")
    storm.require_orders(20, 20.0)
    status = p.wait_ready(writer="gcp")
    if status["epoch"] != 1:
        r.complain(f"the site lost its epoch: it is {status['epoch']}")
    _nodes_in_sync(p)
    acknowledged = storm.settle_accounts("gcp", storm.fault_at, layouts.NODE_PORTS[p.primary_node("gcp")])
    missing = acknowledged - p.order_ids("gcp", layouts.NODE_PORTS[1 - before])
    if missing:
        r.complain(f"a local failover lost acknowledged orders: {sorted(missing)[:5]}")


def _nodes_in_sync(platform):
    platform.wait_until(lambda s: platforms.agent_of(s, "gcp").get("node_in_sync"), 60,
                        "both database nodes of gcp in sync")


ALL = {
    "site-kill": site_kill,
    "node-kill": node_kill,
    "lossless": lossless,
    "partition": partition,
    "database-freeze": database_freeze,
    "control-kill": control_kill,
    "control-loss": control_loss,
    "role-kill-loop": role_kill_loop,
}


def run(storm, name, **options):
    """Runs a scenario in a storm that is up; the result is in storm.report."""
    ALL[name](storm, **options)
