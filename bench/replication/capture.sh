#!/bin/bash
# Capture: how fast a source's binary log is read, checked and made durable, against libmariadb's reader,
# interleaved in one run on the same log. Needs build/release/bin/leeward-bench-capture (built here),
# and mariadb-server-core; the load is plain SQL.
#   bench/replication/capture.sh [ROUNDS]      default 3
# BYTES of binary log, at least: MB=400. Everything is in a temporary directory and ends with the script.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
mb=${MB:-400}
ninja -C build/release leeward-bench-capture >/dev/null
lab=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" 2>/dev/null || true; }; rm -rf "$lab"' EXIT
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --user="$(id -un)" \
  --datadir="$lab/data" >/dev/null 2>&1
mariadbd --no-defaults --user="$(id -un)" --datadir="$lab/data" --socket="$lab/s" --port="$port" \
  --bind-address=127.0.0.1 --server-id=1 --log-bin=binlog --binlog-format=ROW --binlog-row-metadata=FULL \
  --binlog-checksum=CRC32 --gtid-strict-mode=1 --skip-name-resolve --sync-binlog=0 \
  --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=512M --log-error="$lab/log" &
server=$!
sql() { mariadb --no-defaults -u root -S "$lab/s" "$@"; }
for _ in $(seq 100); do sql -e 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.2; done
sql -e "CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'repl'; GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1';
  CREATE DATABASE b; CREATE TABLE b.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, k INT, c CHAR(120), pad CHAR(60))"
# Rows and small updates of about the size of sysbench's, in transactions of a few hundred bytes to a
# few megabytes.
logged() { sql -Ne 'SHOW BINARY LOGS' | awk '{ sum += $2 } END { print int(sum / 1000000) }'; }
sql -e "INSERT INTO b.t (k, c, pad) SELECT seq, REPEAT(MD5(seq), 3), MD5(seq + 1) FROM seq_1_to_20000" mysql
while [ "$(logged)" -lt "$mb" ]; do
  sql -e "UPDATE b.t SET k = k + 1, c = REVERSE(c) WHERE id % 4 = 0"
  for i in $(seq 500); do echo "UPDATE b.t SET k = k + 1 WHERE id = $i;"; done | sql
done
echo "binary log: $(logged) MB in $(sql -Ne 'SHOW BINARY LOGS' | wc -l) files; $rounds rounds"
bench=build/release/bin/leeward-bench-capture
for _ in $(seq "$rounds"); do
  echo "libmariadb, no relay log:  $($bench libmariadb "$port" repl repl)"
  echo "leeward, no relay log:     $($bench ours "$port" repl repl)"
  echo "leeward, relay log synced: $($bench ours "$port" repl repl "$lab/relay")"
  rm -rf "$lab/relay"
done
