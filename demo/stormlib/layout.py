"""Where everything of one run is: sites, addresses, ports, directories, and the generated leeward.yaml.

Two ways to lay out three sites on one machine:
- namespaces (root): each site is a network namespace of its own, joined by a bridge in another one.
  Links can be cut; nothing of the machine's own network is touched.
- loopback (anybody): each site is an address of the loopback network. Links cannot be cut, so the
  scenarios about partitions need the first way.
"""

import dataclasses
import os
import pathlib
import secrets
import string

WORKLOAD_SITES = ("gcp", "aws")
SITES = ("gcp", "aws", "witness")
SERVER_IDS = {"gcp": 1, "aws": 2}
# Of gcp, in a layout with two database nodes there.
SECOND_DATABASE_PORT, SECOND_SERVER_ID = 3316, 3
SITE_OF_SERVER = {**{number: site for site, number in SERVER_IDS.items()}, SECOND_SERVER_ID: "gcp"}
SECOND_REDIS_PORT = 6389
ZONE = "shop.test"
SERVICE = f"www.{ZONE}"
EDGE_PORT, WEB_PORT, APP_PORT = 8000, 8080, 8081
# Of instances that stand beside functions.
WEB_INSTANCE_PORT, APP_INSTANCE_PORT = 8090, 8091
DATABASE_PORT, REDIS_PORT = 3306, 6379
NODE_PORTS = (DATABASE_PORT, SECOND_DATABASE_PORT)
REDIS_PORTS = (REDIS_PORT, SECOND_REDIS_PORT)
ORDERS_GATEWAY_PORT, SESSIONS_GATEWAY_PORT = 3307, 6380
CONTROL_PORT, AGENT_PORT = 7400, 7401

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "demo"


def binary():
    """Path of the leeward binary under test."""
    return pathlib.Path(os.environ.get("LEEWARD_BIN", REPOSITORY / "build/release/bin/leeward"))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Immutable; made by in_namespaces() or on_loopback()."""

    directory: pathlib.Path
    addresses: dict
    namespaces: bool
    dns_port: int
    run_id: str
    replication_mode: str = "async"
    two_nodes: bool = False  # gcp has a second node of each database
    # What the standby serves by: "instances" (its own processes), "functions", or "functions-first".
    compute: str = "instances"

    @property
    def config(self):
        return self.directory / "leeward.yaml"

    @property
    def control(self):
        return self.addresses["witness"], CONTROL_PORT

    def gateway(self, site, port):
        """Where the applications of `site` reach a gateway."""
        return ("127.0.0.1" if self.namespaces else self.addresses[site]), port

    def secret(self, name):
        return (self.directory / "secrets" / name).read_text().strip()

    def log(self, site):
        return self.directory / "logs" / f"{site}.log"


def _orders_of_gcp(layout):
    """The servers of the database `orders` at gcp, as lines of leeward.yaml."""
    address = layout.addresses["gcp"]

    def node(port, directory, server_id, indent):
        lines = (f'address: "{address}:{port}"', "run:",
                 f'  command: [{DEMO}/bin/mariadb-node.sh, "{address}", "{port}", '
                 f'{layout.directory}/data/gcp/{directory}, "{server_id}"]',
                 f"  env: {{ LEEWARD_ADMIN_PASSWORD_FILE: {layout.directory}/secrets/db-admin }}")
        return f"\n{' ' * indent}".join(lines)

    first = (DATABASE_PORT, "orders", SERVER_IDS["gcp"])
    if not layout.two_nodes:
        return " " * 8 + node(*first, 8)
    second = (SECOND_DATABASE_PORT, "orders-2", SECOND_SERVER_ID)
    return ("        nodes:\n          - " + node(*first, 12) + "\n          - " + node(*second, 12))


def _sessions_of_gcp(layout):
    """The servers of the database `sessions` at gcp, as lines of leeward.yaml."""
    address = layout.addresses["gcp"]

    def node(port, directory):
        return (f'{{ address: "{address}:{port}", run: {{ command: [{DEMO}/bin/redis-node.sh, '
                f'"{address}", "{port}", {layout.directory}/data/gcp/{directory}] }} }}')

    nodes = [node(REDIS_PORT, "sessions")]
    if layout.two_nodes:
        nodes.append(node(SECOND_REDIS_PORT, "sessions-2"))
    return "        nodes:\n" + "\n".join(f"          - {each}" for each in nodes)


def _standby(layout, connect, instance_port, files=()):
    """How a tier stands at the standby, as lines of leeward.yaml: `connect` and `files` are what its
    functions may use."""
    if layout.compute == "instances":
        return "    standby: warm"
    words = [f"connect: [{', '.join(connect)}]"]
    if files:
        words.append(f"files: [{', '.join(str(file) for file in files)}]")
    if layout.compute == "functions-first":
        words.append(f"instance_port: {instance_port}")
    mode = layout.compute.replace("-", "_")
    return f"    standby: {mode}\n    functions: {{ {', '.join(words)} }}"


def in_namespaces(directory, run_id):
    addresses = {"gcp": "10.77.1.1", "aws": "10.77.2.1", "witness": "10.77.3.1"}
    return Layout(pathlib.Path(directory), addresses, True, 53, run_id)


def on_loopback(directory, run_id):
    addresses = {"gcp": "127.0.1.1", "aws": "127.0.2.1", "witness": "127.0.3.1"}
    return Layout(pathlib.Path(directory), addresses, False, 5353, run_id)


def write(layout, python="/usr/bin/python3"):
    """Creates the run's directory with leeward.yaml and fresh secrets."""
    secret_dir = layout.directory / "secrets"
    secret_dir.mkdir(parents=True, exist_ok=True)
    (layout.directory / "logs").mkdir(exist_ok=True)
    for name in ("agent.token", "operator.token", "db-admin", "db-replication", "db-shop"):
        path = secret_dir / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    template = string.Template((DEMO / "leeward.yaml.in").read_text())
    app_host = "127.0.0.1" if layout.namespaces else "{address}"
    values = dict(
        gcp=layout.addresses["gcp"], aws=layout.addresses["aws"],
        witness=layout.addresses["witness"],
        gcp_orders=_orders_of_gcp(layout), gcp_sessions=_sessions_of_gcp(layout),
        replication_mode=layout.replication_mode,
        demo=DEMO, run=layout.directory, python=python, dns_port=layout.dns_port,
        gateway="127.0.0.1" if layout.namespaces else "{address}",
        app=app_host,
        web_standby=_standby(layout, [f'"{app_host}:{APP_PORT}"'], WEB_INSTANCE_PORT),
        app_standby=_standby(layout, ['"{gateway.orders}"', '"{gateway.sessions}"'],
                             APP_INSTANCE_PORT, [layout.directory / "secrets" / "db-shop"]),
        app_is_local="true" if layout.namespaces else "false")
    layout.config.write_text(template.substitute(values))
