#!/usr/bin/python3
"""Transactions a second and target CPU per transaction: the stream driver beside native replication.

  apply.py [ROUNDS] [--events N] [--workers N] [--group N]     defaults: 5 rounds of 10000

One source, two targets with the same data: one is a native replica with 4 optimistic workers, one
is fed by the stream. In each round both receive the same backlog of sysbench's oltp_write_only (4
tables of 100k rows, 4 threads) without applying it; then each applies it alone, in alternating
order. sync_binlog=1 and innodb_flush_log_at_trx_commit=1 everywhere. The CPU of the replicator
itself is a column of its own: native replication has that work inside the target. Needs sysbench.
"""

import argparse
import statistics
import time

import sysbench
from sysbench import lab


class Native:
    name = "native, 4 optimistic"

    def __init__(self, source, target):
        self.target = target
        target.run(
            "SET GLOBAL slave_parallel_threads = 4", "SET GLOBAL slave_parallel_mode = optimistic",
            f"SET GLOBAL gtid_slave_pos = '{source.position()}'",
            f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {source.port}, master_user "
            f"= '{lab.USER}', master_password = '{lab.PASSWORD}', master_use_gtid = slave_pos, "
            "master_connect_retry = 1", "START SLAVE IO_THREAD")

    def received(self, position):
        return sysbench.sequence(self.io_position()) >= sysbench.sequence(position)

    def io_position(self):
        connection = self.target.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SHOW SLAVE STATUS")
                names = [column[0] for column in cursor.description]
                return dict(zip(names, cursor.fetchone()))["Gtid_IO_Pos"]
        finally:
            connection.close()

    def own_cpu(self):
        return 0.0

    def apply(self, position):
        self.target.run("START SLAVE SQL_THREAD")
        self.target.run(f"SELECT MASTER_GTID_WAIT('{position}', 600)")

    def rest(self):
        self.target.run("STOP SLAVE SQL_THREAD")


class Stream:
    name = "stream"

    def __init__(self, here, source, target, settings):
        self.target = target
        self.process = here.replicator(source, target, "bench", "include=sb", "heartbeat_ms=0",
                                       "paused=1", *settings)
        self.process.start(f"begin={source.position()}")

    def received(self, position):
        return self.process.reached(position, "durable")

    def own_cpu(self):
        return lab.cpu_seconds(self.process.pid)

    def apply(self, position):
        self.process.resume()
        connection = self.target.connect()
        wanted = sysbench.sequence(position)
        with connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT gtid FROM leeward.stream_checkpoint WHERE task = 'bench'")
                if sysbench.sequence(cursor.fetchone()[0]) >= wanted:
                    break
                time.sleep(0.01)
        connection.close()

    def rest(self):
        self.process.pause()
        time.sleep(0.3)


def measure(driver, position, transactions):
    own, cpu = driver.own_cpu(), lab.cpu_seconds(driver.target.pid)
    start = time.monotonic()
    driver.apply(position)
    wall = time.monotonic() - start
    cpu, own = lab.cpu_seconds(driver.target.pid) - cpu, driver.own_cpu() - own
    driver.rest()
    return transactions / wall, 1000 * cpu / transactions, 1000 * own / transactions


def row(name, samples):
    def cell(values, digits):
        return (f"{statistics.median(values):.{digits}f} "
                f"({min(values):.{digits}f}-{max(values):.{digits}f})")
    rates, cpus, owns = zip(*samples)
    print(f"{name:22} {cell(rates, 0):>22} {cell(cpus, 3):>22} {cell(owns, 3):>22}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--events", type=int, default=10000)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--group", type=int)
    arguments = parser.parse_args()
    settings = [f"{name}={value}" for name, value in
                (("workers", arguments.workers), ("group", arguments.group)) if value]
    sysbench.need("sysbench", "mariadbd")
    with lab.Lab() as here:
        source = here.server(1, lab.DURABLE + sysbench.BUFFERS)
        sysbench.prepare(source)
        targets = [source.copy(2), source.copy(3)]
        drivers = [Native(source, targets[0]), Stream(here, source, targets[1], settings)]
        samples = {driver: [] for driver in drivers}
        for number in range(arguments.rounds):
            before = source.position()
            sysbench.load(source, "run", "--threads=4", "--time=0", f"--events={arguments.events}")
            position = source.position()
            transactions = sysbench.sequence(position) - sysbench.sequence(before)
            for driver in drivers:
                lab.until(120, lambda: driver.received(position), "backlog")
            for driver in drivers if number % 2 == 0 else reversed(drivers):
                samples[driver].append(measure(driver, position, transactions))
                rate, cpu, own = samples[driver][-1]
                print(f"round {number + 1}, {driver.name}: {rate:.0f} tx/s, {cpu:.3f} ms of target "
                      f"CPU, {own:.3f} ms of its own", flush=True)
        print(f"\n{'':22} {'tx/s':>22} {'target CPU ms/tx':>22} {'own CPU ms/tx':>22}")
        for driver in drivers:
            row(driver.name, samples[driver])
        (rate, cpu, _), (rate2, cpu2, own2) = (
            [statistics.median(column) for column in zip(*samples[driver])] for driver in drivers)
        print(f"stream / native: {rate2 / rate:.2f} x transactions/s, {cpu2 / cpu:.2f} x target CPU"
              f", {(cpu2 + own2) / cpu:.2f} x with its own")
        for driver in drivers:
            different = lab.equal_tables(source, driver.target, sysbench.tables())
            print(f"{driver.name}: {'checksums equal' if not different else different}")


if __name__ == "__main__":
    main()
