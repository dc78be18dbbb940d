#!/usr/bin/python3
"""MariaDB's own engines/iuds scripts through a stream: every table of theirs equal at the target.

  iuds.py [SCRIPT …] [--sql]     default: all scripts; --sql: as statements instead of row events

Needs mysqltest and the scripts (Debian: mariadb-test, mariadb-test-data). The scripts drop their
tables; here they are renamed instead, so that all of them can be compared.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import pymysql

import lab

SUITE = pathlib.Path("/usr/share/mysql/mysql-test/suite/engines/iuds/t")
SCRIPT_LIMIT = 120


def kept(text):
    """A script whose tables outlive it, and that goes on after a statement that fails."""
    lines = ["--disable_abort_on_error"]
    drops = 0
    for line in text.split("\n"):
        if re.match(r"\s*-*-?source", line, re.I):
            continue
        if re.match(r"\s*DROP (TABLE|DATABASE) IF EXISTS", line, re.I):
            continue
        if drop := re.match(r"\s*DROP TABLE\s+([^;]+);", line, re.I):
            drops += 1
            lines += [f"RENAME TABLE {name} TO {name.strip('`')}_k{drops};"
                      for name in re.split(r"\s*,\s*", drop[1].strip())]
            continue
        lines.append(line)
    return "\n".join(lines)


def run_script(source, script, work):
    """Runs one script in a schema of its own; returns how it ended."""
    schema = "iuds_" + script.stem
    source.run(f"CREATE DATABASE {schema}")
    (work / script.name).write_bytes(
        kept(script.read_bytes().decode("latin-1")).encode("latin-1"))
    try:
        done = subprocess.run(
            ["mysqltest", "--no-defaults", f"-u{lab.USER}", f"-p{lab.PASSWORD}",
             "-h127.0.0.1", f"-P{source.port}", "-D", schema, f"--tmpdir={work}",
             f"--logdir={work}", "--max-connect-retries=1", "-x", script.name],
            cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SCRIPT_LIMIT,
            env={"PATH": "/usr/bin:/bin", "MYSQLTEST_VARDIR": str(work),
                 "MYSQL_TEST_DIR": "/usr/share/mysql/mysql-test", "MYSQL_TMP_DIR": str(work)})
        error = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        return "ran" if done.returncode == 0 else f"stopped ({error[:90]})"
    except subprocess.TimeoutExpired:
        return f"stopped after {SCRIPT_LIMIT} s"


def compare(scripts, sql=False, say=print):
    """Runs the scripts through a stream; returns (equal, different)."""
    with lab.Lab() as here:
        quick = ["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0"]
        source, target = here.server(1, quick), here.server(2, quick)
        stream = here.replicator(source, target, "iuds", "include=iuds\\_%", f"sql={int(sql)}")
        stream.start(f"begin={source.position()}")
        work = here.directory / "scripts"
        work.mkdir()
        for data in SUITE.glob("*.txt"):
            shutil.copy(data, work)
        for script in scripts:
            ended = run_script(source, script, work)
            count = source.scalar("SELECT COUNT(*) FROM information_schema.tables WHERE "
                                  f"table_schema = 'iuds_{script.stem}'")
            say(f"{script.stem}: {ended}, {count} tables")
        stream.drain(300)
        tables = [row[0] for row in source.run(
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM "
            "information_schema.tables WHERE table_schema LIKE 'iuds\\_%' AND "
            "table_type = 'BASE TABLE' ORDER BY 1")]
        different = lab.equal_tables(source, target, tables)
        for table, there, at_target in different:
            say(f"DIFFER {table}: {there} at the source, {at_target} at the target")
        return len(tables) - len(different), len(different)


def main():
    names = [argument for argument in sys.argv[1:] if argument != "--sql"]
    scripts = sorted(SUITE.glob("*.test"))
    if not scripts:
        sys.exit(f"iuds: no scripts in {SUITE}; install mariadb-test and mariadb-test-data")
    if names:
        scripts = [script for script in scripts if script.stem in names]
    equal, different = compare(scripts, sql="--sql" in sys.argv)
    print(f"tables equal={equal} differ={different}")
    sys.exit(1 if different or not equal else 0)


if __name__ == "__main__":
    main()
