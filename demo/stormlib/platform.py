"""A whole Leeward platform of three sites on this machine: started, asked, hurt and always removed."""

import dataclasses
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pymysql

from stormlib import control_api, janitor, layout as layouts, namespaces, processes

CLIENT = "client"
_CLIENT_ADDRESS = "10.77.9.1"


class PlatformError(Exception):
    """The platform did not do what it should in time; the text says what, and where the logs are."""


class Platform:
    """One run. Use it as a context manager, in the thread that is to be the client: in the namespace
    layout that thread, and those it starts, stand in the client's namespace inside the block.
    """

    def __init__(self, directory, network="auto", say=lambda text: None, *,
                 replication_mode="async", two_nodes=False, compute="instances"):
        if network == "auto":
            network = "namespaces" if namespaces.usable() else "loopback"
        self._say = say
        self._owner = os.getpid()
        run_id = f"{self._owner}-{secrets.token_hex(4)}"
        directory = pathlib.Path(directory).resolve()
        make = layouts.in_namespaces if network == "namespaces" else layouts.on_loopback
        self.layout = dataclasses.replace(make(directory, run_id), two_nodes=two_nodes,
                                          replication_mode=replication_mode, compute=compute)
        self.net = None
        self._started = {}
        self._janitor = None
        self._home = None

    # ------------------------------------------------------------------ life

    def __enter__(self):
        if not os.access(layouts.binary(), os.X_OK):
            raise PlatformError(f"{layouts.binary()} is not there: build it with `./dev build release`")
        janitor.sweep()
        shutil.rmtree(self.layout.directory, ignore_errors=True)
        layouts.write(self.layout)
        self._start_janitor()
        try:
            if self.layout.namespaces:
                self.net = namespaces.Net({**self.layout.addresses, CLIENT: _CLIENT_ADDRESS},
                                          self._owner)
                self.net.create()
                self._home = namespaces.visiting(self.net, CLIENT)
                self._home.__enter__()
            else:
                self._require_free_ports()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        if self._home is not None:
            self._home.__exit__(None, None, None)
            self._home = None
        if self._janitor is not None:
            self._janitor.stdin.close()
            self._janitor.wait(timeout=30)
            self._janitor = None
        for process in self._started.values():
            process.wait(timeout=10)
        shutil.rmtree(self.layout.directory / "data", ignore_errors=True)

    def _start_janitor(self):
        self._janitor = subprocess.Popen(
            [sys.executable, "-m", "stormlib.janitor", self.layout.run_id, str(self._owner)],
            stdin=subprocess.PIPE, cwd=layouts.DEMO, start_new_session=True)

    def _require_free_ports(self):
        for site, address in self.layout.addresses.items():
            for port in (layouts.EDGE_PORT, layouts.WEB_PORT, layouts.DATABASE_PORT, layouts.CONTROL_PORT):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind((address, port))
                    except OSError as error:
                        raise PlatformError(f"{address}:{port} (site {site}) is taken: {error}; "
                                            "is another demo running?") from error

    # ------------------------------------------------------------------ sites

    def start(self, site):
        """`leeward up` of one site, in its namespace; returns at once."""
        old = self._started.get(site)
        if old is not None and old.poll() is None:
            raise PlatformError(f"{site} is running already")
        command = [str(layouts.binary()), "up", "--config", str(self.layout.config), "--site",
                   site]
        if self.net:
            command = ["nsenter", f"--net=/run/netns/{self.net.name(site)}", *command]
        environment = {**os.environ, processes.RUN_VARIABLE: self.layout.run_id,
                       processes.SITE_VARIABLE: site}
        with open(self.layout.log(site), "ab") as log:
            self._started[site] = subprocess.Popen(
                command, cwd=self.layout.directory, env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)

    def kill(self, site):
        """SIGKILLs everything at a site and takes it off the network. Returns the process count."""
        if self.net:
            self.net.cut(site)
        killed = processes.kill_all(self.layout.run_id, site)
        self._started[site].wait(timeout=10)
        return killed

    def revive(self, site):
        """A killed site comes back with what it had on disk."""
        if self.net:
            self.net.join(site)
        self.start(site)

    def signal_role(self, site, role, number):
        """Signals `leeward ROLE` at a site; PlatformError when there is none."""
        self._signal(processes.role(self.layout.run_id, site, role), f"leeward {role}", site, number)

    def signal_server(self, site, program, number):
        """Signals a server such as mariadbd at a site; PlatformError when there is none."""
        self._signal(processes.server(self.layout.run_id, site, program), program, site, number)

    def signal_node(self, site, port, number, program="mariadbd"):
        """Signals the database server of a site that listens on `port`."""
        pids = [pid for pid in processes.server(self.layout.run_id, site, program)
                if any(part == str(port) or part.endswith(f"={port}")
                       for part in processes.command_line(pid))]
        self._signal(pids, f"{program} on port {port}", site, number)

    def keep_node_dead(self, site, port, until, seconds=20.0):
        """Kills the database server on `port`, and again whenever it was started again, until the status is as wanted."""
        deadline = time.monotonic() + seconds
        while not until(self.status()):
            if time.monotonic() >= deadline:
                raise PlatformError(f"the node on port {port} of {site} was not given up")
            try:
                self.signal_node(site, port, signal.SIGKILL)
            except PlatformError:  # not started again yet
                time.sleep(0.02)

    @staticmethod
    def _signal(pids, what, site, number):
        if not processes.send(pids, number):
            raise PlatformError(f"no process {what} at {site}")

    def signal_site(self, site, number):
        """Signals everything at a site; returns how many processes there were."""
        return processes.send(processes.of_run(self.layout.run_id, site), number)

    # ------------------------------------------------------------------ asking

    def api(self, method, path, body=None, seconds=2.0):
        """Control's JSON answer; raises control_api.ApiError."""
        token = self.layout.secret("operator.token")
        return control_api.call(self.layout.control, method, path, token, body, seconds)

    def events(self, on_event=None):
        return control_api.Events(self.layout.control, self.layout.secret("operator.token"), on_event)

    def status(self):
        return self.api("GET", "/v1/status")

    def primary_node(self, site):
        """Index of a site's primary database node, where there are two."""
        return [node["primary"] for node in agent_of(self.status(), site)["nodes"]].index(True)

    def redis(self, site):
        """What a site's agent reports of its Redis."""
        return agent_of(self.status(), site)["redis"]

    def cli(self, *arguments, seconds=60.0, check=False):
        """Runs `leeward ARGUMENTS` as the operator at the client's place; CompletedProcess with text."""
        done = subprocess.run([str(layouts.binary()), *arguments, "--config", str(self.layout.config)],
                              cwd=self.layout.directory, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=seconds)
        if check and done.returncode != 0:
            raise PlatformError(f"leeward {' '.join(arguments)} ended with {done.returncode}: "
                                f"{done.stderr.strip() or done.stdout.strip()}")
        return done

    def wait_until(self, condition, seconds, what):
        """Waits until condition(status) holds and returns that status; PlatformError when late."""
        deadline = time.monotonic() + seconds
        last = "control does not answer"
        while time.monotonic() < deadline:
            self._require_running()
            try:
                status = self.status()
                if condition(status):
                    return status
                last = json.dumps(status)
            except control_api.ApiError as error:
                last = str(error)
            time.sleep(0.1)
        raise PlatformError(f"not within {seconds:g} s: {what}\nlast seen: {last}\n{self.log_tails()}")

    def _require_running(self):
        for site, process in self._started.items():
            if process.poll() not in (None, -9):
                raise PlatformError(f"`leeward up` of {site} ended with {process.returncode}\n"
                                    f"{self.log_tails()}")

    def wait_ready(self, seconds=60.0, writer=None):
        """Waits until a site writes, the other one could take over, and both pass their probes."""
        def ready(status):
            sites = {site["name"]: site for site in status["sites"]}
            return (status["writer"] in ((writer,) if writer else layouts.WORKLOAD_SITES)
                    and status["active"] == status["writer"]
                    and all(sites[name]["health"] == "up" for name in layouts.WORKLOAD_SITES)
                    and _could_take_over(status))
        return self.wait_until(ready, seconds, "both sites up, the standby ready to take over")

    def instances_offered(self, site, tier):
        """The instances that the functions of a tier have been told of, to pass connections on to."""
        orders = self.layout.directory / f"state/{site}/agent/functions/{tier}.json"
        return json.loads(orders.read_text())["instances"]

    def log_tails(self, lines=25):
        """The last lines of each site's log, for error messages."""
        parts = []
        for site in layouts.SITES:
            try:
                tail = self.layout.log(site).read_text(errors="replace").splitlines()[-lines:]
                parts.append(f"--- {self.layout.log(site)}\n" + "\n".join(tail))
            except OSError:
                continue
        return "\n".join(parts)

    # ------------------------------------------------------------------ data

    def at(self, site, function):
        """Runs function() standing at a site and returns its result."""
        if not self.net:
            return function()
        outcome = {}

        def visit():
            try:
                self.net.enter(site)
                outcome["value"] = function()
            except BaseException as error:  # handed to the caller below
                outcome["error"] = error

        thread = threading.Thread(target=visit)
        thread.start()
        thread.join()
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    def query(self, site, statement, arguments=(), port=layouts.DATABASE_PORT):
        """Rows that the database of a site itself answers, not through the gateway."""
        return self.at(site, lambda: self._run((self.layout.addresses[site], port),
                                               [(statement, arguments)]))

    def execute(self, site, *statements):
        """Statements in one session at the database of a site itself."""
        return self.at(site, lambda: self._run((self.layout.addresses[site], layouts.DATABASE_PORT),
                                               [(statement, None) for statement in statements]))

    def create_shop(self):
        """Runs demo/shop/schema.sql once, through the writer's gateway."""
        text = (layouts.DEMO / "shop/schema.sql").read_text()
        text = text.replace("{{shop_password}}", self.layout.secret("db-shop"))
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        statements = [(part, None) for part in "\n".join(lines).split(";\n") if part.strip()]
        writer = self.wait_until(lambda s: _gateway_open(s), 60, "a writer with an open gateway")["writer"]
        endpoint = self.layout.gateway(writer, layouts.ORDERS_GATEWAY_PORT)
        self.at(writer, lambda: self._run(endpoint, statements))

    def _run(self, endpoint, statements):
        connection = pymysql.connect(host=endpoint[0], port=endpoint[1], user="leeward",
                                     password=self.layout.secret("db-admin"), autocommit=True,
                                     connect_timeout=5, read_timeout=20, write_timeout=20)
        try:
            with connection.cursor() as cursor:
                for statement, arguments in statements:
                    cursor.execute(statement, arguments)
                return cursor.fetchall()
        finally:
            connection.close()

    def order_ids(self, site, port=layouts.DATABASE_PORT):
        """client_order_id of every order that the site's database has."""
        return {row[0] for row in self.query(site, "SELECT client_order_id FROM shop.orders", port=port)}

    def ledger(self, site):
        """The ledger entries that a site's agent keeps."""
        endpoint = (self.layout.addresses[site], layouts.AGENT_PORT)
        token = self.layout.secret("operator.token")
        entries, path = [], "/v1/ledger"
        while True:
            page = control_api.call(endpoint, "GET", path, token, seconds=10.0)
            entries += page["entries"]
            if not page["more"]:
                return entries
            path = f"/v1/ledger?after={entries[-1]['id']}"

    def ledger_order_ids(self):
        """client_order_id of every order that some site's ledger lists as lost."""
        found = set()
        for site in layouts.WORKLOAD_SITES:
            for entry in self.ledger(site):
                for change in entry["changes"]:
                    if change["table"] == "shop.orders" and change["operation"] == "insert":
                        found.add(change["after"]["client_order_id"])
        return found


def agent_of(status, site):
    """The last report of a site's agent; empty when there is none."""
    return next(s.get("agent") or {} for s in status["sites"] if s["name"] == site)


def _gateway_open(status):
    for site in status["sites"]:
        if site["name"] == status["writer"]:
            return (site.get("agent") or {}).get("gateway") == "local"
    return False


def _could_take_over(status):
    """The standby has no problem; the block window, which is about automatism only, does not count."""
    for site in status["sites"]:
        agent = site.get("agent")
        if site["role"] == "witness" or site["name"] == status["writer"]:
            continue
        return bool(agent) and not agent["problem"] and not agent["rejoining"] and \
            agent["database"]["replication"] == "streaming" and \
            agent["database"]["epoch"] >= status["epoch"]  # it follows this writer, not the one before
    return False
