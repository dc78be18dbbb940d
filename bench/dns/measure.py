"""The DNS benchmark; run.sh says what it measures."""

import grp
import os
import pathlib
import pwd
import socket
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
import rig  # noqa: E402

ZONE = "bench.test"
NAMES = 100
QUESTION = b"\x12\x34\0\0\0\1\0\0\0\0\0\0\5host0\5bench\4test\0\0\1\0\1"

LEEWARD = """\
version: 1
name: bench
state_dir: state
sites:
  one: {{ role: primary, address: 127.0.0.1 }}
  two: {{ role: standby, address: 127.0.0.2 }}
  three: {{ role: witness, address: 127.0.0.3 }}
access: {{ agent_token: "file:secrets/agent", operator_token: "file:secrets/operator" }}
control: {{ store: sqlite, site: three, listen: "127.0.0.3:{control}" }}
tiers:
  web: {{ command: [/bin/true], port: 8080, ready: {{ path: /, port: 8080 }}, instances: 1 }}
databases:
  orders:
    engine: mariadb
    admin: {{ user: leeward, password: "file:secrets/admin" }}
    replication: {{ user: replica, password: "file:secrets/replication" }}
    gateway: {{ listen: "127.0.0.1:3307", peer_port: 3308 }}
    sites: {{ one: {{ address: "127.0.0.1:3306" }}, two: {{ address: "127.0.0.2:3306" }} }}
probes: {{ port: 8080, path: / }}
dns:
  zone: bench.test
  port: {port}
  contact: hostmaster@bench.test
  nameservers: [ns1.bench.test]
  records:
    - {{ name: ns1, type: A, values: [127.0.0.1] }}
{records}
"""

GDNSD = """\
options => {{ listen => 127.0.0.1:{port}, udp_threads => 1, tcp_threads => 1,
  run_dir => {folder}/run, state_dir => {folder}/state }}
service_types => {{ probe => {{ plugin => tcp_connect, port => {port}, interval => 5, timeout => 2 }} }}
plugins => {{ multifo => {{ fo => {{ service_types => probe, one => 127.0.0.1 }} }} }}
"""

KNOT = """\
server:
    rundir: "{folder}/run"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    user: {user}
log:
  - target: stderr
    any: warning
database:
    storage: "{folder}/db"
template:
  - id: default
    storage: "{folder}"
    zonefile-sync: -1
zone:
  - domain: bench.test
    file: bench.test
"""

# Debian's NSD limits the rate of answers unless told not to.
NSD = """\
server:
    server-count: 1
    ip-address: 127.0.0.1@{port}
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    database: ""
    pidfile: "{folder}/pid"
    xfrdfile: "{folder}/xfrd"
    zonelistfile: "{folder}/zones"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: bench.test
    zonefile: bench.test
"""


def zone_file(failover):
    """The zone for the peers; failover: what a failover name has, or None."""
    lines = ["$TTL 30", "@ SOA ns1 hostmaster 1 3600 600 86400 5", "@ NS ns1", "ns1 A 127.0.0.1"]
    lines += [f"host{i} A 198.51.100.{i + 1}" for i in range(NAMES)]
    if failover:
        lines += [f"moving{i} {failover}" for i in range(NAMES)]
    return "\n".join(lines) + "\n"


def start_leeward(folder, port):
    records = [f"    - {{ name: host{i}, type: A, values: [198.51.100.{i + 1}] }}" for i in range(NAMES)]
    records += [f"    - {{ name: moving{i}, type: A, ttl: 2s, failover: {{ one: 127.0.0.1, two: 127.0.0.2 }} }}"
                for i in range(NAMES)]
    (folder / "secrets").mkdir()
    for name in ("agent", "operator", "admin", "replication"):
        path = folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(f"a-token-of-the-benchmark-{name}\n")
    # Nobody listens on control's port: the role answers with the configured primary.
    (folder / "leeward.yaml").write_text(
        LEEWARD.format(port=port, control=rig.free_port(), records="\n".join(records)))
    return [rig.binary("leeward"), "dns", "--config", str(folder / "leeward.yaml"), "--site", "one"]


def start_gdnsd(folder, port):
    for name in ("etc/zones", "run", "state"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/config").write_text(GDNSD.format(folder=folder, port=port))
    (folder / "etc/zones" / ZONE).write_text(zone_file("2 DYNA multifo!fo"))
    return ["gdnsd", "-c", str(folder / "etc"), "start"]


def start_knot(folder, port):
    for name in ("run", "db"):
        (folder / name).mkdir()
    user = f"{pwd.getpwuid(os.getuid()).pw_name}:{grp.getgrgid(os.getgid()).gr_name}"
    (folder / "knot.conf").write_text(KNOT.format(folder=folder, port=port, user=user))
    (folder / ZONE).write_text(zone_file(None))
    return ["knotd", "-c", str(folder / "knot.conf")]


def start_nsd(folder, port):
    (folder / "nsd.conf").write_text(NSD.format(folder=folder, port=port))
    (folder / ZONE).write_text(zone_file(None))
    return ["nsd", "-d", "-c", str(folder / "nsd.conf")]


PEERS = {"gdnsd": (start_gdnsd, "gdnsd", "gdnsd"), "knot": (start_knot, "knotd", "knot"),
         "nsd": (start_nsd, "nsd", "nsd")}
# Knot and NSD have no failover answers without a module or an outside program.
KINDS = {"static": ("host", ("leeward", "gdnsd", "knot", "nsd")),
         "failover": ("moving", ("leeward", "gdnsd"))}


def answers(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        try:
            s.send(QUESTION)
            reply = s.recv(512)
        except OSError:
            return False
        return reply[3] & 15 == 0 and reply[7] == 1


def start_all(folder, servers):
    """Starts every server that is installed into `servers`: name -> (Server, port)."""
    candidates = {"leeward": start_leeward}
    for name, (start, program, package) in PEERS.items():
        if rig.installed(program, package):
            candidates[name] = start
    for name, start in candidates.items():
        port = rig.free_port()
        home = folder / name
        home.mkdir()
        server = rig.Server(start(home, port), home / "log")
        servers[name] = (server, port)
        server.wait_until(lambda p=port: answers(p))


def measure(servers, seconds):
    """kind -> name -> the runs, one a round."""
    runs = {kind: {name: [] for name in names if name in servers}
            for kind, (_, names) in KINDS.items()}
    for _ in range(rig.rounds()):
        for kind, by_name in runs.items():
            for name, done in by_name.items():
                server, port = servers[name]
                run = rig.loaded_run(
                    [rig.binary("leeward-bench-dns"), "--port", str(port), "--zone", ZONE, "--prefix",
                     KINDS[kind][0], "--names", str(NAMES), "--seconds", str(seconds)],
                    [server], seconds + 30)
                if run["wrong"] or not run["answered"]:
                    sys.exit(f"{name} gave {run['wrong']} wrong and {run['answered']} right answers")
                run["rate"] = run["answered"] / run["seconds"]
                run["server_us"] = 1e6 * run["server_cpu_seconds"] / run["answered"]
                done.append(run)
    return runs


def report(runs):
    rows = [["answers", "server", "answers/s", "ratio", "server us/answer", "lost %", "server core %",
             "client core %", "others %", "limit"]]
    results = []
    for kind, by_name in runs.items():
        ours = [r["rate"] for r in by_name["leeward"]]
        for name, done in by_name.items():
            rate = rig.spread(r["rate"] for r in done)
            cost = rig.spread(r["server_us"] for r in done)
            ratio = rig.paired_ratio(ours, [r["rate"] for r in done])
            lost = 100 * sum(r["lost"] for r in done) / sum(r["sent"] for r in done)
            rows.append([kind, name, rig.show(rate), "-" if name == "leeward" else rig.show(ratio, 2),
                         rig.show(cost, 2), f"{lost:.2f}", rig.percent(done, "server_core"),
                         rig.percent(done, "client_core"), rig.percent(done, "others"), rig.limit(done)])
            results.append({"answers": kind, "server": name, "rate": rate, "ratio_of_leeward": ratio,
                            "server_us_per_answer": cost, "lost_percent": lost,
                            "limit": rig.limit(done), "runs": done})
    rig.table(rows)
    rig.write_json("dns", {"results": results})


def main():
    seconds = rig.environment_number("SECONDS", 2, float)
    servers = {}
    with tempfile.TemporaryDirectory(prefix="leeward-bench-dns-") as folder:
        try:
            start_all(pathlib.Path(folder), servers)
            report(measure(servers, seconds))
        finally:
            for server, _ in servers.values():
                server.stop()


if __name__ == "__main__":
    main()
