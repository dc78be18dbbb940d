"""sysbench's write-only load, for the benchmarks of this folder."""

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/replication"))
import lab  # pylint: disable=wrong-import-position

TABLES = 4
ROWS = 100_000
BUFFERS = ["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=512M",
           "--innodb-flush-method=O_DIRECT", "--max-connections=100"]


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (Debian packages of the same names)")


def load(server, command, *more):
    subprocess.run(["sysbench", "oltp_write_only", "--db-driver=mysql", "--mysql-host=127.0.0.1",
                    f"--mysql-port={server.port}", f"--mysql-user={lab.USER}",
                    f"--mysql-password={lab.PASSWORD}", "--mysql-db=sb", f"--tables={TABLES}",
                    f"--table-size={ROWS}", *more, command],
                   check=True, stdout=subprocess.DEVNULL)


def prepare(server):
    server.run("CREATE DATABASE sb")
    load(server, "prepare")


def tables():
    return [f"sb.sbtest{i + 1}" for i in range(TABLES)]


def sequence(position):
    """The sequence number of the only domain of a GTID position."""
    return int(position.split("-")[2])
