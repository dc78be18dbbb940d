"""The gateway's benchmark; run.sh says what it measures."""

import os
import pathlib
import pwd
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
import rig  # noqa: E402

# The account and the table are those of connection.h.
ACCOUNTS = """\
CREATE DATABASE bench;
CREATE USER 'bench'@'%' IDENTIFIED BY 'bench-password';
GRANT ALL ON bench.* TO 'bench'@'%';
CREATE TABLE bench.t (id INT PRIMARY KEY, v INT NOT NULL);
INSERT INTO bench.t SELECT seq, 0 FROM seq_1_to_10000;
"""

HAPROXY = """\
global
  nbthread 1
  maxconn 1000
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:{listen}
  server database 127.0.0.1:{database}
"""

LOADS = {"point, 1": ["--connections", "1"], "point, 16": ["--connections", "16"],
         "transaction, 1": ["--connections", "1", "--transaction"],
         "transaction, 16": ["--connections", "16", "--transaction"]}
MOVED_SESSIONS = (1, 64)


def start_database(folder):
    """MariaDB with the account and the table: (Server, port)."""
    user = pwd.getpwuid(os.getuid()).pw_name
    data, port = folder / "data", rig.free_port()
    sizes = ["--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M", "--innodb-use-native-aio=0"]
    subprocess.run(["mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={data}",
                    "--skip-test-db", "--auth-root-authentication-method=normal", *sizes],
                   stdout=subprocess.DEVNULL, check=True, timeout=60)
    (folder / "accounts.sql").write_text(ACCOUNTS)
    server = rig.Server(
        ["mariadbd", "--no-defaults", f"--user={user}", f"--datadir={data}", f"--port={port}",
         "--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--pid-file={folder}/pid",
         f"--init-file={folder}/accounts.sql", "--skip-name-resolve", "--max-connections=300",
         "--innodb-flush-log-at-trx-commit=0", "--performance-schema=0", *sizes], folder / "mariadb.log")
    server.wait_until(lambda: rig.accepts(port))
    return server, port


def start_relays(folder, database, relays):
    """Starts the relays into `relays`: name -> (Server, port)."""
    port = rig.free_port()
    candidates = {"leeward": (port, [rig.binary("leeward-bench-gateway"), "serve", "--listen", str(port),
                                     "--database", str(database)])}
    if rig.installed("haproxy", "haproxy"):
        port = rig.free_port()
        (folder / "haproxy.cfg").write_text(HAPROXY.format(listen=port, database=database))
        candidates["haproxy"] = (port, ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")])
    for name, (port, argv) in candidates.items():
        server = rig.Server(argv, folder / f"{name}.log")
        relays[name] = (server, port)
        server.wait_until(lambda p=port: rig.accepts(p))


def measure_load(paths, seconds):
    """load -> path -> the runs, one a round. `paths`: name -> (servers, port)."""
    runs = {load: {name: [] for name in paths} for load in LOADS}
    for _ in range(rig.rounds()):
        for load, by_path in runs.items():
            for name, done in by_path.items():
                servers, port = paths[name]
                run = rig.loaded_run([rig.binary("leeward-bench-sql"), "--port", str(port), "--seconds",
                                      str(seconds), *LOADS[load]], servers, seconds + 30)
                run["rate"] = run["units"] / run["seconds"]
                run["server_us"] = 1e6 * run["server_cpu_seconds"] / run["units"]
                done.append(run)
    return runs


def report_load(runs):
    rows = [["load, connections", "path", "units/s", "rate ratio", "p50 us", "p50 ratio", "p99 us",
             "server us/unit", "server core %", "client core %", "others %", "limit"]]
    results = []
    for load, by_path in runs.items():
        direct = by_path["direct"]
        for name, done in by_path.items():
            figures = {key: rig.spread(r[key] for r in done) for key in ("rate", "p50_us", "p99_us", "server_us")}
            ratios = {key: rig.paired_ratio([r[key] for r in done], [r[key] for r in direct])
                      for key in ("rate", "p50_us")}
            rows.append([load, name, rig.show(figures["rate"]), rig.show(ratios["rate"], 2),
                         rig.show(figures["p50_us"]), rig.show(ratios["p50_us"], 2),
                         rig.show(figures["p99_us"]), rig.show(figures["server_us"]),
                         rig.percent(done, "server_core"), rig.percent(done, "client_core"),
                         rig.percent(done, "others"), rig.limit(done)])
            results.append({"load": load, "path": name, **figures, "rate_ratio": ratios["rate"],
                            "p50_ratio": ratios["p50_us"], "limit": rig.limit(done), "runs": done})
    rig.table(rows)
    return results


def report_moves(database):
    rows = [["sessions", "new writer", "first ms", "last ms"]]
    results = []
    for sessions in MOVED_SESSIONS:
        runs = [rig.run_json([rig.binary("leeward-bench-gateway"), "move", "--database", str(database),
                              "--sessions", str(sessions)], 60) for _ in range(max(5, rig.rounds()))]
        for way, words in (("away", "the other site"), ("home", "this site")):
            first = rig.spread(r[way]["first_ms"] for r in runs)
            last = rig.spread(r[way]["last_ms"] for r in runs)
            rows.append([str(sessions), words, rig.show(first, 1), rig.show(last, 1)])
            results.append({"sessions": sessions, "new_writer": words, "first_ms": first, "last_ms": last})
    print()
    rig.table(rows)
    return results


def main():
    seconds = rig.environment_number("SECONDS", 1, float)
    if not rig.installed("mariadbd", "mariadb-server"):
        return
    started, relays = [], {}
    with tempfile.TemporaryDirectory(prefix="leeward-bench-gateway-") as folder:
        folder = pathlib.Path(folder)
        try:
            database, port = start_database(folder)
            started.append(database)
            start_relays(folder, port, relays)
            paths = {"direct": ([database], port)}
            paths |= {name: ([database, relay], at) for name, (relay, at) in relays.items()}
            load = report_load(measure_load(paths, seconds))
            rig.write_json("gateway", {"load": load, "moves": report_moves(port)})
        finally:
            for server in started + [relay for relay, _ in relays.values()]:
                server.stop()


if __name__ == "__main__":
    main()
