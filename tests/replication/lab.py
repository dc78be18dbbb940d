"""MariaDB servers and a replicator as processes of their own, for soak tests and benchmarks.

Everything lies in one temporary directory, listens on free loopback ports, and ends with `Lab`;
should Python itself be killed, the kernel ends the processes.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pymysql

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RELEASE = REPOSITORY / "build/release/bin"
USER = "leeward"
PASSWORD = "lab-only"
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

DURABLE = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(limit, condition, what):
    """Waits until `condition` holds; an error that names `what` when `limit` seconds pass first."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(0.02)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def peak_megabytes(pid):
    """The largest resident set that the process ever had."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def spawn(arguments, **how):
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL,
                            preexec_fn=lambda: _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **how)


class Mariadb:
    """One server. `kill` is a crash: SIGKILL; `start` goes on with the same data and port."""

    def __init__(self, lab, number, options=(), like=None):
        self.lab = lab
        self.directory = lab.directory / f"db{number}"
        self.directory.mkdir()
        self.number = number
        self.port = free_port()
        self.options = list(options)
        self.process = None
        self.socket = self.directory / "s"
        shutil.copytree(like.directory / "data" if like else lab.pristine(),
                        self.directory / "data")
        self.start()

    def start(self, extra=()):
        d = self.directory
        self.process = spawn(
            ["mariadbd", "--no-defaults", "--user=root", f"--datadir={d}/data", f"--tmpdir={d}",
             f"--socket={self.socket}", f"--pid-file={d}/pid", f"--log-error={d}/error.log",
             f"--port={self.port}", "--bind-address=127.0.0.1", f"--server-id={self.number}",
             "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL",
             "--binlog-row-metadata=FULL", "--log-slave-updates=1", "--gtid-strict-mode=1",
             "--skip-name-resolve", "--skip-slave-start", *self.options, *extra],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            if self.process.poll() is not None:
                raise RuntimeError((d / "error.log").read_text()[-2000:])
            try:
                self.connect().close()
                return True
            except pymysql.Error:
                return False

        until(60, answers, f"server {self.number} starts")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def connect(self, **how):
        return pymysql.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD,
                               autocommit=True, **how)

    def run(self, *statements):
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()

    def scalar(self, statement):
        rows = self.run(statement)
        return rows[0][0] if rows else None

    def position(self):
        return self.scalar("SELECT @@gtid_binlog_pos")

    def copy(self, number):
        """Another server with the same data and history, which goes on by itself from here."""
        self.stop()
        other = self.lab.server(number, self.options, like=self)
        self.start()
        return other

    def checksum(self, table):
        return self.run(f"CHECKSUM TABLE {table} EXTENDED")[0][1]


class Replicator:
    """The stream driver in a process of its own."""

    def __init__(self, lab, source, target, task, *settings):
        self.lab = lab
        self.arguments = [str(RELEASE / "leeward-stream-process"), str(source.port),
                          str(target.port), str(lab.directory / f"state-{task}"), task]
        self.settings = list(settings)
        self.log = lab.directory / f"replicator-{task}.log"
        self.process = None
        self.source = source

    def start(self, *settings):
        """Settings given here hold for this start only: begin=GTID."""
        environment = dict(os.environ, LEEWARD_USER=USER, LEEWARD_PASSWORD=PASSWORD)
        with open(self.log, "ab") as log:
            self.process = spawn(self.arguments + self.settings + list(settings), env=environment,
                                 stdout=log, stderr=subprocess.STDOUT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(timeout=60)

    def resume(self):
        self.process.send_signal(signal.SIGUSR1)

    def pause(self):
        """Goes on receiving."""
        self.process.send_signal(signal.SIGUSR2)

    @property
    def pid(self):
        return self.process.pid

    def status(self):
        """The last line that it printed, as a dictionary; empty before the first."""
        with open(self.log, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 8192))
            lines = log.read().decode(errors="replace").split("\n")[:-1]
        for line in reversed(lines):
            if line.startswith("state="):
                return dict(pair.split("=", 1) for pair in line.split("\t"))
        return {}

    def reached(self, position, field="applied"):
        """Whether everything of `position` is `field`: received, durable or applied."""
        def read(text):
            return {g.split("-")[0]: int(g.split("-")[2]) for g in text.split(",") if g}
        have = read(self.status().get(field, ""))
        return all(have.get(domain, 0) >= n for domain, n in read(position).items())

    def drain(self, limit=60):
        """Waits for all that the source has, as long as something arrives every `limit` seconds;
        an error at once when the stream stands still for good."""
        position = self.source.position()
        applied, since = None, time.monotonic()
        while not self.reached(position):
            status = self.status()
            if self.process.poll() is not None or status.get("state") == "broken":
                raise RuntimeError(f"the stream broke: {self.last_words()}")
            if status.get("applied") != applied:
                applied, since = status.get("applied"), time.monotonic()
            if time.monotonic() > since + limit:
                raise TimeoutError(f"nothing applied for {limit} s; wanted {position}; "
                                   f"{self.last_words()}")
            time.sleep(0.02)

    def last_words(self):
        return self.log.read_text(errors="replace")[-1500:]


class Lab:
    def __init__(self, where=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="leeward-lab-", dir=where))
        self.servers = []
        self.replicators = []
        self._pristine = None

    def pristine(self):
        """A data directory with our account, made once."""
        if self._pristine:
            return self._pristine
        data = self.directory / "pristine"
        subprocess.run(["mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db",
                        "--auth-root-authentication-method=normal", f"--datadir={data}"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}",
                        "--bootstrap"], check=True, text=True, stderr=subprocess.DEVNULL,
                       input=f"""USE mysql;
FLUSH PRIVILEGES;
CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;
""")
        self._pristine = data
        return data

    def server(self, number, options=(), like=None):
        self.servers.append(Mariadb(self, number, options, like))
        return self.servers[-1]

    def replicator(self, source, target, task, *settings):
        self.replicators.append(Replicator(self, source, target, task, *settings))
        return self.replicators[-1]

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for one in self.replicators + self.servers:
            if one.process and one.process.poll() is None:
                one.process.kill()
                one.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def equal_tables(source, target, tables):
    """The tables of `tables` whose CHECKSUM TABLE differs, as (table, at source, at target)."""
    different = []
    for table in tables:
        there = source.checksum(table)
        try:
            here = target.checksum(table)
        except pymysql.Error as error:
            here = str(error)
        if there is None or there != here:
            different.append((table, there, here))
    return different
