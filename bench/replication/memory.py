#!/usr/bin/python3
"""Memory of the replicator while it carries one huge transaction.

  memory.py [MEGABYTES]     default 2048

One INSERT … SELECT of rows of 8 kB, committed as a whole; prints the largest resident set of the
replicator's process and compares the tables.
"""

import sys
import time

import sysbench
from sysbench import lab


def main():
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    quick = ["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0", *sysbench.BUFFERS]
    with lab.Lab() as here:
        source, target = here.server(1, quick), here.server(2, quick)
        stream = here.replicator(source, target, "memory", "include=m")
        stream.start(f"begin={source.position()}")
        source.run("CREATE DATABASE m", "CREATE TABLE m.t (id INT PRIMARY KEY, v VARCHAR(8000)) "
                   "CHARACTER SET latin1")
        stream.drain()
        start = time.monotonic()
        source.run(f"INSERT INTO m.t SELECT seq, RPAD(MD5(seq), 8000, MD5(seq + 1)) FROM "
                   f"m.seq_1_to_{megabytes * 131}")
        written = time.monotonic() - start
        stream.drain(1800)
        print(f"one transaction of {megabytes} MB: {written:.0f} s at the source, applied "
              f"{time.monotonic() - start:.0f} s after it began; replicator's peak "
              f"{lab.peak_megabytes(stream.pid):.0f} MB resident")
        different = lab.equal_tables(source, target, ["m.t"])
        print("checksums equal" if not different else different)


if __name__ == "__main__":
    main()
