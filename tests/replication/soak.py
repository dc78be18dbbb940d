#!/usr/bin/python3
"""A stream under load while its source, its target and its replicator are killed at random.

  soak.py [SECONDS] [--seed N]     default: 600 s

The load is transfers between the accounts of a bank, each a transaction that also writes a row of
its journal, and now and then a change of definition and a larger transaction. What is killed with
SIGKILL is started again after a pause. At the end everything is up, the stream drains, and:

- the balances at both ends have the sum that they began with;
- every transfer that a client was told had been committed is in the journal, at both ends, once;
- the balances follow from the journal;
- CHECKSUM TABLE of every table is the same at both ends.

While it runs, the target is asked again and again for a state in between: it must be one that the
source has been in, so the sum holds in every snapshot and the journal of each client has no gap.
Prints the seed; exit status 1 when something was broken.
"""

import argparse
import random
import sys
import threading
import time

import pymysql

import lab

ACCOUNTS = 200
OPENING = 1000
CLIENTS = 4
SUM = "SELECT COALESCE(SUM(balance), 0) FROM bank.account"


class Client(threading.Thread):
    """Transfers money; knows which of its transfers were acknowledged, and which may have been."""

    def __init__(self, number, source, over, seed):
        super().__init__(daemon=True)
        self.number = number
        self.source = source
        self.over = over
        self.random = random.Random(seed)
        self.next = 1
        self.acknowledged = 0  # transfers 1 … acknowledged are committed
        self.failure = None

    def run(self):
        connection = None
        while not self.over.is_set():
            try:
                if connection is None:
                    connection = self.source.connect(read_timeout=20)
                    self.find_out(connection)
                self.transfer(connection)
            except pymysql.err.OperationalError as error:
                if error.args[0] in (1205, 1213):  # lock wait, deadlock: rolled back
                    connection.rollback()
                    continue
                connection = None
                time.sleep(0.1)
            except (pymysql.Error, OSError):
                connection = None
                time.sleep(0.1)
            except Exception as error:  # pylint: disable=broad-except
                self.failure = error
                return

    def find_out(self, connection):
        """After a lost connection: whether the last transfer was committed."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT COALESCE(MAX(number), 0) FROM bank.journal WHERE client = %s",
                           (self.number,))
            last = cursor.fetchone()[0]
        if last < self.acknowledged:
            raise AssertionError(f"client {self.number}: transfer {self.acknowledged} was "
                                 f"acknowledged, and the source has only {last}")
        self.acknowledged = last
        self.next = last + 1

    def transfer(self, connection):
        amount = self.random.randint(1, 50)
        one, two = self.random.sample(range(ACCOUNTS), 2)
        bulk = self.random.random() < 0.001
        with connection.cursor() as cursor:
            connection.begin()
            cursor.execute("UPDATE bank.account SET balance = balance - %s WHERE id = %s",
                           (amount, one))
            cursor.execute("UPDATE bank.account SET balance = balance + %s, note = %s "
                           "WHERE id = %s", (amount, "n" * self.random.randint(0, 200), two))
            cursor.execute("INSERT INTO bank.journal (client, number, debit, credit, amount) "
                           "VALUES (%s, %s, %s, %s, %s)",
                           (self.number, self.next, one, two, amount))
            if bulk:
                cursor.execute("DELETE FROM bank.bulk WHERE client = %s", (self.number,))
                cursor.execute("INSERT INTO bank.bulk SELECT %s, seq, REPEAT('b', 900) FROM "
                               "bank.seq_1_to_12000", (self.number,))
            connection.commit()
        self.acknowledged = self.next
        self.next += 1


class Changes(threading.Thread):
    """Definitions that change under the load."""

    def __init__(self, source, over, seed):
        super().__init__(daemon=True)
        self.source = source
        self.over = over
        self.random = random.Random(seed)
        self.done = 0

    def run(self):
        while not self.over.wait(self.random.uniform(1, 6)):
            name = f"extra{self.random.randint(1, 3)}"
            statement = self.random.choice([
                f"ALTER TABLE bank.journal ADD COLUMN IF NOT EXISTS {name} INT NULL",
                f"ALTER TABLE bank.journal DROP COLUMN IF EXISTS {name}",
                f"CREATE TABLE IF NOT EXISTS bank.{name} (id INT PRIMARY KEY, v INT)",
                f"DROP TABLE IF EXISTS bank.{name}",
                "TRUNCATE TABLE bank.scratch",
                "INSERT INTO bank.scratch SELECT seq, RAND() FROM bank.seq_1_to_500 ON DUPLICATE "
                "KEY UPDATE v = RAND()",
            ])
            try:
                self.source.run("SET SESSION lock_wait_timeout = 5", statement)
                self.done += 1
            except (pymysql.Error, OSError):
                pass  # down just now


class Reader(threading.Thread):
    """Looks at the target while it is behind: every state is one that the source was in."""

    def __init__(self, target, over):
        super().__init__(daemon=True)
        self.target = target
        self.over = over
        self.looks = 0
        self.broken = []

    def run(self):
        while not self.over.wait(0.3):
            try:
                self.look()
            except (pymysql.Error, OSError):
                pass

    def look(self):
        connection = self.target.connect(read_timeout=20)
        try:
            with connection.cursor() as cursor:
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
                cursor.execute(SUM)
                total = int(cursor.fetchone()[0])
                cursor.execute("SELECT client, COUNT(*), MAX(number) FROM bank.journal "
                               "GROUP BY client")
                gaps = [row for row in cursor.fetchall() if row[1] != row[2]]
        finally:
            connection.close()
        self.looks += 1
        if total != ACCOUNTS * OPENING:
            self.broken.append(f"the target's balances add up to {total}")
        if gaps:
            self.broken.append(f"the target's journal has gaps: {gaps}")


def prepare(source):
    source.run(
        "CREATE DATABASE bank",
        "CREATE TABLE bank.account (id INT PRIMARY KEY, balance BIGINT NOT NULL, note VARCHAR(200))",
        "CREATE TABLE bank.journal (id BIGINT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, "
        "number BIGINT NOT NULL, debit INT NOT NULL, credit INT NOT NULL, amount INT NOT NULL, "
        "UNIQUE KEY (client, number), FOREIGN KEY (debit) REFERENCES bank.account (id), "
        "FOREIGN KEY (credit) REFERENCES bank.account (id))",
        "CREATE TABLE bank.bulk (client INT, line INT, text VARCHAR(900), "
        "PRIMARY KEY (client, line))",
        "CREATE TABLE bank.scratch (id INT PRIMARY KEY, v DOUBLE)",
        f"INSERT INTO bank.account SELECT seq, {OPENING}, NULL FROM bank.seq_0_to_{ACCOUNTS - 1}")


def judge(source, target, clients, reader):
    """What is wrong in the end; empty when nothing is."""
    wrong = list(dict.fromkeys(reader.broken))
    wrong += [f"client {c.number}: {c.failure}" for c in clients if c.failure]
    for end, name in ((source, "source"), (target, "target")):
        total = int(end.scalar(SUM))
        if total != ACCOUNTS * OPENING:
            wrong.append(f"{name}: the balances add up to {total}")
        off = end.scalar(
            "SELECT COUNT(*) FROM bank.account a LEFT JOIN (SELECT id, SUM(d) AS moved FROM "
            "(SELECT debit AS id, -amount AS d FROM bank.journal UNION ALL SELECT credit, amount "
            f"FROM bank.journal) x GROUP BY id) m USING (id) WHERE balance <> {OPENING} + "
            "COALESCE(moved, 0)")
        if off:
            wrong.append(f"{name}: {off} balances do not follow from the journal")
        for client in clients:
            count, last = end.run("SELECT COUNT(*), COALESCE(MAX(number), 0) FROM bank.journal "
                                  f"WHERE client = {client.number}")[0]
            if count != last or last < client.acknowledged:
                wrong.append(f"{name}: client {client.number} was told {client.acknowledged}, "
                             f"there are {count} up to {last}")
    tables = [row[0] for row in source.run("SELECT CONCAT('bank.', table_name) FROM "
                                           "information_schema.tables WHERE table_schema = 'bank' "
                                           "AND table_type = 'BASE TABLE'")]
    for table, there, here in lab.equal_tables(source, target, tables):
        wrong.append(f"{table}: checksum {there} at the source, {here} at the target")
    return wrong


def soak(seconds, seed, say=print):
    """Returns what was found to be wrong; empty: all promises held."""
    chance = random.Random(seed)
    over = threading.Event()
    with lab.Lab() as here:
        small = lab.DURABLE + ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"]
        source, target = here.server(1, small), here.server(2, small)
        begin = source.position()
        prepare(source)
        stream = here.replicator(source, target, "soak", "include=bank")
        stream.start(f"begin={begin}")
        stream.drain()
        clients = [Client(i, source, over, chance.random()) for i in range(CLIENTS)]
        changes = Changes(source, over, chance.random())
        reader = Reader(target, over)
        for thread in [*clients, changes, reader]:
            thread.start()
        kills = {"source": 0, "target": 0, "replicator": 0}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.2, 4))
            victims = chance.choice([["source"], ["target"], ["replicator"], ["replicator"],
                                     ["source", "replicator"], ["target", "replicator"],
                                     ["source", "target"], ["source", "target", "replicator"]])
            named = {"source": source, "target": target, "replicator": stream}
            for victim in victims:
                named[victim].kill()
                kills[victim] += 1
            time.sleep(chance.uniform(0, 1))
            chance.shuffle(victims)
            for victim in victims:
                named[victim].start()
        over.set()
        for thread in [*clients, changes, reader]:
            thread.join(60)
        until_drained(stream)
        transfers = sum(client.acknowledged for client in clients)
        wrong = judge(source, target, clients, reader)
        say(f"{seconds:.0f} s, seed {seed}: {transfers} transfers, {changes.done} other changes, "
            f"{reader.looks} looks at the target, kills: "
            f"{', '.join(f'{n} × {name}' for name, n in kills.items())}")
        for one in wrong:
            say(f"BROKEN {one}")
        if wrong:
            say(stream.last_words())
        return wrong


def until_drained(stream):
    """Errors of the last kill pass by themselves."""
    for attempt in range(6):
        try:
            stream.drain(120)
            return
        except RuntimeError:
            if attempt == 5:
                raise
            time.sleep(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    wrong = soak(arguments.seconds, arguments.seed)
    print("all promises held" if not wrong else f"{len(wrong)} broken")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
