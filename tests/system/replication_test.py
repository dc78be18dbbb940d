"""A replication task between two real MariaDB servers, as docs/guide/replication.md shows it: the
first copy is interrupted and goes on, writes never stop, a pause, a restart, a comparison that finds
what somebody else changed, and a repair. One pair of servers for all of it."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pymysql
import pytest

from stormlib import layout

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs/guide/replication.md"
LIMIT = 60
PASSWORD = "Pa55-word"
ROWS = 30_000
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, condition, limit=LIMIT):
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {limit} s: {what}")


class Server:
    """A MariaDB server that ends with the test."""

    def __init__(self, directory, server_id):
        self.directory, self.server_id, self.port = directory, server_id, free_port()
        directory.mkdir()
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
             "--skip-test-db", f"--user={os.environ.get('USER', 'root')}",
             f"--datadir={directory}/data"], check=True, capture_output=True)
        self.process = subprocess.Popen(
            [*DIES_WITH_US, "mariadbd", "--no-defaults", f"--user={os.environ.get('USER', 'root')}",
             f"--datadir={directory}/data", f"--socket={directory}/s", f"--port={self.port}",
             "--bind-address=127.0.0.1", f"--server-id={server_id}", "--log-bin=binlog",
             "--binlog-format=ROW", "--binlog-row-metadata=FULL",
             "--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M",
             f"--log-error={directory}/log"])
        eventually("the server answers", self.answers)

    def answers(self):
        with contextlib.suppress(pymysql.Error):
            self.connect("root", "", unix_socket=f"{self.directory}/s").close()
            return True
        return False

    def connect(self, user="root", password="", **more):
        if user == "root":
            more.setdefault("unix_socket", f"{self.directory}/s")
        return pymysql.connect(host="127.0.0.1", port=self.port, user=user, password=password,
                               autocommit=True, **more)

    def run(self, *statements):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def scalar(self, statement):
        return self.run(statement)[0][0]

    def stop(self):
        self.process.kill()
        self.process.wait()


def guide_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("replication")
    with contextlib.ExitStack() as ends:
        pair = []
        for number, name in enumerate(("gcp", "aws"), 1):
            pair.append(Server(directory / name, number))
            ends.callback(pair[-1].stop)
        # The accounts are those that the guide tells to make.
        for server, statements in zip(pair, guide_blocks("sql")):
            text = statements.replace("…", PASSWORD)
            server.run(*[each.strip() for each in text.split(";") if each.strip()])
        pair[0].run(
            "CREATE DATABASE shop CHARACTER SET utf8mb4",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, customer VARCHAR(40), "
            "total DECIMAL(10,2), note CHAR(250), KEY (customer))",
            "CREATE TABLE shop.secrets (id INT PRIMARY KEY, v TEXT)",
            "CREATE VIEW shop.big AS SELECT id, total FROM shop.orders WHERE total > 900",
            "INSERT INTO shop.orders (customer, total, note) SELECT CONCAT('Kundin ä', seq MOD 97), "
            f"seq MOD 1000, REPEAT('n', 250) FROM shop.seq_1_to_{ROWS}",
        )
        yield pair


@pytest.fixture(scope="module")
def task(servers, tmp_path_factory):
    """The guide's task file, with the ports of this test and small chunks."""
    directory = tmp_path_factory.mktemp("task")
    text = guide_blocks("yaml")[0]
    for server, host in zip(servers, ("db.gcp.example.test", "db.aws.example.test")):
        assert host in text
        text = text.replace(f"host: {host}", f"host: 127.0.0.1\n  port: {server.port}")
    text = re.sub(r"^(\s*)tls: .*\n(\s*)tls_authority: .*\n", "", text, flags=re.MULTILINE)
    text += "\nseed:\n  chunk_rows: 1000\nthrottle:\n  megabytes_a_second: 1\n"
    (directory / "secrets").mkdir()
    for name in ("source", "target"):
        (directory / "secrets" / name).touch(mode=0o600)
        (directory / "secrets" / name).write_text(PASSWORD + "\n")
    path = directory / "shop.yaml"
    path.write_text(text)
    return path


def command(*arguments, check=True):
    done = subprocess.run([layout.binary(), "replication", *map(str, arguments)],
                          capture_output=True, text=True, timeout=LIMIT)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def status(task):
    return json.loads(command("status", task, "-o", "json").stdout)


def asked(task):
    """What the task itself answers, without the time that starting a command takes."""
    control = json.loads((task.parent / "state/shop/control.json").read_text())
    request = urllib.request.Request(f"http://127.0.0.1:{control['port']}/v1/status",
                                     headers={"Authorization": f"Bearer {control['token']}"})
    return json.loads(urllib.request.urlopen(request, timeout=LIMIT).read())


class Running:
    """`leeward replication start`, ended by a signal as Ctrl-C sends it."""

    def __init__(self, task, *more):
        self.task = task
        self.log = open(task.parent / "log", "a+", encoding="utf-8")
        self.begin = self.log.tell()
        self.process = subprocess.Popen([*DIES_WITH_US, layout.binary(), "replication", "start", task,
                                         *more], stdout=self.log, stderr=self.log)

    def text(self):
        self.log.seek(self.begin)
        return self.log.read()

    def until(self, state):
        def there():
            assert self.process.poll() is None, self.text()
            done = command("status", self.task, "-o", "json", check=False)
            return done.returncode == 0 and json.loads(done.stdout)["state"] == state
        eventually(f"state {state}", there)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(LIMIT) == 0, self.text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


@contextlib.contextmanager
def writes(server):
    """Orders are placed and changed until the block ends."""
    end = threading.Event()

    def write():
        with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
            number = 0
            while not end.is_set():
                number += 1
                cursor.execute("INSERT INTO shop.orders (customer, total) VALUES ('new', %s)",
                               (number % 1000,))
                cursor.execute("UPDATE shop.orders SET total = total + 1 WHERE id = %s",
                               (number % 1000 + 100,))
                time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def equal(servers):
    sums = [server.run("CHECKSUM TABLE shop.orders")[0][1] for server in servers]
    return sums[0] == sums[1] and sums[0] is not None


def test_a_precheck_says_what_is_wrong_and_the_cure_mends_it(servers, task):
    servers[0].run("SET GLOBAL binlog_row_metadata = 'NO_LOG'")
    done = command("precheck", task, "-o", "json", check=False)
    assert done.returncode == 4
    errors = [each for each in json.loads(done.stdout)["findings"] if each["severity"] == "error"]
    assert [each["code"] for each in errors] == ["binlog_row_metadata"], errors
    refused = subprocess.run([layout.binary(), "replication", "start", task], capture_output=True,
                             text=True, timeout=LIMIT)
    assert refused.returncode == 5 and "binlog_row_metadata" in refused.stderr
    servers[0].run(errors[0]["cure"].split(";")[0])
    assert "can run" in command("precheck", task).stdout


def test_a_first_copy_goes_on_where_it_was_interrupted_and_the_stream_from_there(servers, task):
    with writes(servers[0]):
        with Running(task) as running:
            eventually("a fifth is copied", lambda: servers[1].scalar(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='shop' AND "
                "table_name='orders'") and
                servers[1].scalar("SELECT COUNT(*) FROM shop.orders") >= ROWS // 5)
            seed = asked(task)["seed"]
            assert seed["rows_total"] > 0 and seed["rows_a_second"] > 0, seed
            running.interrupt()
        copied = servers[1].scalar("SELECT SUM(row_count) FROM leeward.seed_chunks")
        assert 0 < copied < ROWS
        first = servers[1].scalar("SELECT MIN(gtid) FROM leeward.seed_chunks WHERE chunk = 0")
        with Running(task) as running:
            running.until("streaming")
            running.interrupt()
        # Not copied anew.
        assert first == servers[1].scalar(
            "SELECT MIN(gtid) FROM leeward.seed_chunks WHERE chunk = 0")
    with Running(task) as running:
        running.until("streaming")
        eventually("the target has all", lambda: equal(servers))
        assert servers[1].scalar("SELECT COUNT(*) FROM shop.big") > 0
        assert servers[1].scalar("SELECT COUNT(*) FROM information_schema.tables WHERE "
                                 "table_schema='shop' AND table_name='secrets'") == 0
        running.interrupt()


def test_a_pause_holds_the_target_and_outlives_a_restart(servers, task):
    with Running(task) as running:
        running.until("streaming")
        assert "paused" in command("pause", task).stdout
        running.until("paused")
        servers[0].run("INSERT INTO shop.orders (id, customer) VALUES (900001, 'held')")
        eventually("it is received", lambda: status(task)["durable"]["transactions"] <= 1)
        running.interrupt()
    with Running(task) as running:
        running.until("paused")
        assert servers[1].scalar("SELECT COUNT(*) FROM shop.orders WHERE id = 900001") == 0
        assert command("status", task, "--check", check=False).returncode == 4
        command("resume", task)
        eventually("it is applied", lambda: servers[1].scalar(
            "SELECT COUNT(*) FROM shop.orders WHERE id = 900001") == 1)
        command("status", task, "--check")
        running.interrupt()


def test_a_comparison_finds_what_somebody_else_changed_and_a_repair_mends_it(servers, task):
    servers[1].run("UPDATE shop.orders SET total = 1 WHERE id = 5",
                   "DELETE FROM shop.orders WHERE id = 6",
                   "INSERT INTO shop.orders (id, customer) VALUES (-5, 'stray')")
    with Running(task) as running, writes(servers[0]):
        running.until("streaming")
        done = command("verify", task, "-o", "json", check=False)
        assert done.returncode == 4, done.stderr
        found = {(each["kind"], each["key"]): each["columns"]
                 for each in json.loads(done.stdout)["differences"]}
        assert found == {("changed", "id=5"): ["total"], ("missing", "id=6"): [],
                         ("extra", "id=-5"): []}
        refused = command("verify", task, "--repair", check=False)
        assert refused.returncode == 2 and "--yes" in refused.stderr
        assert "3 repaired" in command("verify", task, "--repair", "--yes").stdout
        assert "both ends are equal" in command("verify", task).stdout

        def history():
            return json.loads(command("status", task, "-o", "json", "--history", "5m").stdout)["history"]

        eventually("the lag is remembered", lambda: len(history()) >= 2)
        assert {"received", "durable", "applied"} <= set(history()[-1])
        control = json.loads((task.parent / "state/shop/control.json").read_text())

        def metrics_text():
            return urllib.request.urlopen(f"http://127.0.0.1:{control['port']}/metrics",
                                          timeout=LIMIT).read().decode()

        eventually("the comparison is counted", lambda:
                   'leeward_replication_different_rows{task="shop"} 0' in metrics_text())
        metrics = metrics_text()
        for position in ("received", "durable", "applied"):
            assert ('leeward_replication_behind_transactions{task="shop",position="%s"}' % position
                    in metrics), metrics
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{control['port']}/v1/status", timeout=LIMIT)
        assert PASSWORD not in running.text()
        running.interrupt()
    assert command("status", task, check=False).returncode == 1  # it does not run any more


def test_what_is_wrong_with_an_account_is_said_and_nothing_is_lost(servers, task):
    position = servers[1].scalar("SELECT gtid FROM leeward.stream_checkpoint")
    secret = task.parent / "secrets/source"
    secret.write_text("wrong\n")
    done = subprocess.run([layout.binary(), "replication", "start", task], capture_output=True,
                          text=True, timeout=LIMIT)
    assert done.returncode == 1 and "Access denied" in done.stderr and "wrong" not in done.stderr
    assert servers[1].scalar("SELECT gtid FROM leeward.stream_checkpoint") == position
    secret.write_text(PASSWORD + "\n")
    with Running(task) as running:
        running.until("streaming")
        eventually("the target has all", lambda: equal(servers))
        running.interrupt()


def test_both_directions_at_once_decide_what_both_changed(servers, tmp_path):
    settings = guide_blocks("yaml")[1].replace("shop.stock.pieces", "duo.stock.pieces")
    for server, offset in zip(servers, (1, 2)):
        server.run(f"CREATE USER duo@'%' IDENTIFIED BY '{PASSWORD}'",
                   "GRANT ALL ON *.* TO duo@'%'",
                   "SET GLOBAL auto_increment_increment = 2",
                   f"SET GLOBAL auto_increment_offset = {offset}")
    servers[0].run("CREATE DATABASE duo", "CREATE TABLE duo.stock (id INT PRIMARY KEY "
                   "AUTO_INCREMENT, name VARCHAR(20), pieces INT)",
                   "INSERT INTO duo.stock VALUES (1, 'cup', 100), (3, 'jar', 50)")
    tasks = {}
    for name, source, target, winner in (("there", 0, 1, "source"), ("back", 1, 0, "target")):
        ends = "".join(f"{end}: {{ host: 127.0.0.1, port: {servers[at].port}, user: duo, "
                       f"password: file:secret }}\n"
                       for end, at in (("source", source), ("target", target)))
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").touch(mode=0o600)
        (tmp_path / name / "secret").write_text(PASSWORD)
        tasks[name] = tmp_path / name / f"{name}.yaml"
        tasks[name].write_text(f"task: {name}\n{ends}tables: {{ include: [duo.*] }}\n" +
                               settings.replace("winner: source", f"winner: {winner}"))

    def rows(end):
        return servers[end].run("SELECT * FROM duo.stock ORDER BY id")

    def same():
        return rows(0) == rows(1)

    with Running(tasks["there"]) as there:
        there.until("streaming")
        with Running(tasks["back"], "--from", "now") as back:
            back.until("streaming")
            assert "no conflicts" in command("conflicts", tasks["there"]).stdout
            # Each task waits while both sites change the same rows.
            for name in tasks:
                command("pause", tasks[name])
            for running in (there, back):
                running.until("paused")
            servers[0].run("UPDATE duo.stock SET name = 'mug', pieces = pieces - 1 WHERE id = 1",
                           "INSERT INTO duo.stock (name, pieces) VALUES ('pot', 7)")
            servers[1].run("UPDATE duo.stock SET name = 'glass', pieces = pieces - 10 WHERE id = 1",
                           "INSERT INTO duo.stock (name, pieces) VALUES ('lid', 9)")
            for name in tasks:
                command("resume", tasks[name])
            eventually("both ends have all four rows", lambda: same() and len(rows(0)) == 4)
            # The winner's name, and the pieces that were sold at either site.
            assert rows(0)[0] == (1, "mug", 89)
            found = json.loads(command("conflicts", tasks["there"], "-o", "json").stdout)
            assert [(each["kind"], each["resolution"]) for each in found["conflicts"]] == [
                ("update_differs", "source")], found
            assert status(tasks["back"])["conflicts"] == 1
            refused = subprocess.run([layout.binary(), "replication", "start", tasks["back"],
                                      "--from", "now"], capture_output=True, text=True,
                                     timeout=LIMIT)
            assert refused.returncode == 1, refused.stderr  # it runs already
            back.interrupt()
        there.interrupt()
    done = command("start", tasks["back"], "--from", "0-1-1", check=False)
    assert done.returncode == 1 and "start it without --from" in done.stderr
    for server in servers:
        server.run("SET GLOBAL auto_increment_increment = 1", "SET GLOBAL auto_increment_offset = 1")


def test_the_guide_lists_every_setting():
    assert command("reference").stdout.strip() in GUIDE.read_text()
