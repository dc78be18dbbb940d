"""One storm: a platform under load, a fault, and the accounts afterwards. Scenarios build on this."""

import contextlib
import json
import threading
import time

from stormlib import (clients, control_api, layout as layouts, measure, platform as platforms, processes,
                      report as reports, resolver as resolvers, timeline as timelines)

_WARM_UP_SECONDS = 3.0
_INSTANCES_SECONDS = 15.0  # from the failover to instances that are ready
_BACK_SECONDS = 60.0


class Storm:
    """Use as a context manager: on entry the shop is up, healthy and under load."""

    def __init__(self, scenario, directory, network="auto", timeline=None, compute="instances"):
        self.timeline = timeline or timelines.Timeline()
        self.report = reports.Report(scenario, compute)
        mode = "lossless" if scenario == "lossless" else "async"
        self.platform = platforms.Platform(directory, network, replication_mode=mode,
                                           two_nodes=scenario == "node-kill", compute=compute)
        self.fault_at = None
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with self._stack:
            self._enter()
            self._stack = self._stack.pop_all()
        return self

    def _enter(self):
        self.timeline.heading("The platform comes up")
        p = self._stack.enter_context(self.platform)
        self.say("step", "namespaces joined by a bridge" if p.net else "addresses on loopback")
        for site in layouts.SITES:
            p.start(site)
        self.events = p.events(self.timeline.event)
        self._stack.callback(self.events.close)
        p.create_shop()
        self.say("step", "the shop's tables are made, through the gateway")
        p.wait_ready(writer="gcp")
        self.journal = clients.Journal(p.layout.directory / "orders.jsonl")
        self._stack.callback(self.journal.close)
        self.resolver = resolvers.Resolver(p.layout.addresses.values(), p.layout.dns_port)
        self.customers = clients.Customers(self.journal,
                                           lambda: [self.resolver.resolve(layouts.SERVICE)])
        self._stack.callback(self.customers.stop)
        self._warm_up()
        self._compare_pages()
        if p.layout.compute != "instances":
            self._count_standby_programs()

    def _standby_programs(self):
        return processes.programs(self.platform.layout.run_id, "aws",
                                  ("/shop/web.py", "/shop/app.py"))

    def _count_standby_programs(self):
        """What the standby runs of the shop before anything has happened: nothing, if the promise holds."""
        running = self._standby_programs()
        self.report.set("standby_programs", len(running), "aws has functions for the tiers")
        self.say("good" if not running else "bad",
                 f"the standby runs {len(running)} processes of the shop; functions wait", site="aws")

    def tell_functions(self):
        """After the move: that it is functions which serve. The count before would prove nothing if this
        one saw none either."""
        if self.platform.layout.compute == "instances":
            return
        running = len(processes.functions(("/shop/web.py", "/shop/app.py")))
        self.report.detail["function_programs_after"] = running
        if running == 0:
            self.report.complain("aws serves, but no function of it runs")
        self.say("good" if running else "bad",
                 f"{running} environments of functions serve, started by the first requests", site="aws")
        if self.platform.layout.compute == "functions-first":
            self._tell_instances()

    def _tell_instances(self):
        """That instances have started with the failover, and take over from the functions."""
        deadline = time.monotonic() + _INSTANCES_SECONDS
        while not (ready := all(self.platform.instances_offered("aws", tier) for tier in ("web", "app"))):
            if time.monotonic() > deadline:
                self.report.complain("aws serves by functions only; its instances are not ready")
                break
            time.sleep(0.05)
        self.say("good" if ready else "bad", "instances of web and app have taken over from the functions"
                 if ready else "no instance takes over from the functions", site="aws")

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def say(self, kind, text, at=None, site=""):
        self.timeline.line(kind, text, at, site)

    def _warm_up(self):
        self.say("client", "customers begin to order")
        self.require_orders(20, 15.0)
        begun = time.monotonic()
        # A measured quiet stretch: a platform that fails without a fault must not get into the storm.
        while time.monotonic() < begun + _WARM_UP_SECONDS:
            time.sleep(0.1)
        failed = measure.failed_between(self.journal.attempts(), begun, time.monotonic())
        if failed:
            raise platforms.PlatformError(f"requests fail before any fault: {failed[0].detail}")

    def _compare_pages(self):
        """The catalogue straight from the web tier and through the edge, while customers order."""
        address = self.platform.layout.addresses["gcp"]
        done = self.platform.cli("speed", f"http://{layouts.SERVICE}/products", "-o", "json",
                                 "--direct", f"{address}:{layouts.WEB_PORT}", "--edge",
                                 f"{address}:{layouts.EDGE_PORT}", check=True)
        measured = json.loads(done.stdout)["urls"][0]
        self.report.set("pages_sooner_percent", measured["mean_percent_lower"],
                        f"{1000 * measured['direct']['mean']:.1f} ms from the web tier, "
                        f"{1000 * measured['edge']['mean']:.1f} ms through the edge")
        self.report.detail["pages"] = measured

    # ------------------------------------------------------------------ faults and waits

    def strike(self, text, site=""):
        """Now is the moment of the fault: the zero of the timeline and of all measures."""
        self.fault_at = time.monotonic()
        self.timeline.mark(self.fault_at)
        self.say("fault", text, self.fault_at, site)
        return self.fault_at

    def acks_since(self, since, place="outside"):
        return [a for a in self.journal.attempts()
                if a.kind == "order" and a.ok and a.place == place and a.ended >= since]

    def require_orders(self, count, seconds, since=None, place="outside"):
        """Waits until `count` more orders were acknowledged; PlatformError when that takes too long."""
        since = time.monotonic() if since is None else since
        deadline = time.monotonic() + seconds
        while len(acks := self.acks_since(since, place)) < count:
            if time.monotonic() > deadline:
                failures = measure.failed_between(self.journal.attempts(), since, deadline)
                last = failures[-1].detail if failures else "no attempt ended"
                raise platforms.PlatformError(
                    f"{len(acks)} orders acknowledged within {seconds:g} s, {count} wanted; "
                    f"last failure: {last}\n{self.platform.log_tails()}")
            time.sleep(0.05)
        return acks

    def require_orders_by(self, site, seconds, since):
        """Waits for the first order committed at `site` after `since`; returns it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for attempt in self.acks_since(since):
                if attempt.fresh and attempt.server_id == layouts.SERVER_IDS[site]:
                    return attempt
            time.sleep(0.02)
        raise platforms.PlatformError(f"no order was taken at {site} within {seconds:g} s\n"
                                      f"{self.platform.log_tails()}")

    def tell_takeover(self, site, seconds=30.0):
        """Tells of the first failed request and the first order at `site`; returns the latter."""
        teller = threading.Thread(target=self._tell_first_failure, args=(self.fault_at, seconds))
        teller.start()
        first = self.require_orders_by(site, seconds, self.fault_at)
        self.say("client", f"first order taken at {site}", first.ended, site)
        teller.join()
        return first

    def _tell_first_failure(self, since, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            failed = [a for a in self.journal.attempts() if not a.ok and a.started >= since]
            if failed:
                first = min(failed, key=lambda a: a.ended)
                self.say("client", f"first failed request: {first.detail[:80]}", first.ended)
                return
            if self.acks_since(since + 5.0):
                return
            time.sleep(0.02)

    def wait_rejoined(self, writer, seconds=_BACK_SECONDS):
        """Waits until both sites are up and the other one could take over from `writer`."""
        begun = time.monotonic()
        self.platform.wait_ready(seconds, writer=writer)
        self.report.detail["rejoin_seconds"] = round(time.monotonic() - begun, 2)

    # ------------------------------------------------------------------ measures

    def measure_failover(self, down_site):
        """Sets detection and RTO from what has happened since strike()."""
        attempts = [a for a in self.journal.attempts() if a.place == "outside"]
        verdict = self.events.wait(self.fault_at, 5.0, kind="verdict.down", site=down_site)
        if verdict:
            self.report.set("detection_seconds", verdict["at"] - self.fault_at)
        else:
            self.report.complain(f"no verdict that {down_site} is down")
        pause = measure.outage(attempts, self.fault_at)
        if pause:
            self.report.set("rto_seconds", pause[1] - pause[0])
        else:
            self.report.complain("no order was acknowledged after the fault")

    def measure_pinned(self, site):
        """How long customers who keep what they resolved before the fault got no order through; `site`
        is where the edge is that serves them now."""
        pause = measure.outage([a for a in self.journal.attempts() if a.place == "pinned"],
                               self.fault_at)
        self.report.set("pinned_rto_seconds", pause[1] - pause[0])
        self.say("client", f"orders of old answers go on, through the edge of {site}", pause[1], site)

    def switch_back(self):
        """`leeward failback` under load, measured; the platform must be ready for it."""
        self.timeline.heading("Switching back, under load")
        started = time.monotonic()
        self.platform.cli("failback", "--yes", check=True)
        # Until the last client has learned the new address, and then a little longer.
        self.require_orders_by("gcp", 10.0, started)
        settled = time.monotonic() + 4.0
        while time.monotonic() < settled:
            time.sleep(0.1)
        ended = time.monotonic()
        self.say("good", "gcp serves again", site="gcp")
        attempts = self.journal.attempts()
        failed = measure.failed_between(attempts, started, ended)
        self.report.set("switchback_failed_requests", len(failed))
        self.report.set("switchback_max_stall_seconds",
                        measure.longest_stall(attempts, started, ended))
        self.report.detail["switchback_failures"] = [a.detail for a in failed[:5]]

    def settle_accounts(self, writer, fault_at=None, port=layouts.DATABASE_PORT):
        """Stops the customers and looks for every acknowledged order, in the data and in the ledger."""
        self.customers.stop()
        attempts = self.journal.attempts()
        acknowledged = measure.acknowledged(attempts)
        survivor = self.platform.order_ids(writer, port)
        ledger = self.platform.ledger_order_ids()
        lost = acknowledged - survivor - ledger
        r = self.report
        r.set("orders_acknowledged", len(acknowledged))
        r.set("orders_on_survivor", len(acknowledged & survivor))
        r.set("orders_in_ledger", len(acknowledged & ledger))
        r.set("orders_lost", len(lost))
        r.set("writers_overlap_seconds", measure.writers_overlap(attempts))
        if fault_at is not None:
            outside = [a for a in attempts if a.place == "outside"]
            r.set("rpo_seconds", measure.recovery_point(outside, fault_at, survivor))
        r.detail["lost"] = sorted(lost)[:20]
        r.detail["failed_requests"] = sum(not a.ok for a in attempts)
        r.detail["requests"] = len(attempts)
        for epoch, servers in measure.servers_by_epoch(attempts).items():
            if len({layouts.SITE_OF_SERVER[server] for server in servers}) > 1:
                r.complain(f"epoch {epoch} was written at several sites: servers {sorted(servers)}")
        return acknowledged

    def show_ledger(self):
        entries = []
        for site in layouts.WORKLOAD_SITES:
            with contextlib.suppress(control_api.ApiError):
                entries += self.platform.ledger(site)
        self.timeline.heading(f"The ledger has {len(entries)} lost transactions")
        for entry in entries[:10]:
            for change in entry["changes"]:
                row = change["after"] or change["before"] or {}
                values = ", ".join(f"{k}={v}" for k, v in list(row.items())[:4])
                self.say("ledger", f"{entry['id']} {change['operation']} {change['table']}: {values}",
                         site=entry["site"])
        if len(entries) > 10:
            self.say("ledger", f"and {len(entries) - 10} more: `leeward ledger list`")
        self.report.detail["ledger_entries"] = len(entries)
