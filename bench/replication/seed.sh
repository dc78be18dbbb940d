#!/bin/bash
# Seed: the first copy of one table of a replication task, against mydumper and myloader with chunks of 100,000
# rows, interleaved in one run. Rows a second from the start of the command to the table with all its indexes,
# and the CPU time of the target's server. Both write nothing to the target's binary log; both servers are durable
# (sync_binlog=1, innodb_flush_log_at_trx_commit=1).
#   bench/replication/seed.sh [ROUNDS]         default 3
# ROWS=1000000 of the shape of sysbench's, THREADS=2 on each side. Needs build/release/bin/leeward (built here),
# mariadb-server-core and mydumper. Everything is in a temporary directory and ends with the script.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
rows=${ROWS:-1000000}
threads=${THREADS:-2}
command -v mydumper >/dev/null || { echo "mydumper is missing: apt-get install mydumper" >&2; exit 1; }
ninja -C build/release leeward >/dev/null
lab=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; rm -rf "$lab"' EXIT
free_port() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ports=()
for n in 1 2; do
  port=$(free_port)
  ports+=("$port")
  mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --user="$(id -un)" \
    --datadir="$lab/$n" >/dev/null 2>&1
  mariadbd --no-defaults --user="$(id -un)" --datadir="$lab/$n" --socket="$lab/s$n" --port="$port" \
    --bind-address=127.0.0.1 --server-id="$n" --log-bin=binlog --binlog-format=ROW --binlog-row-metadata=FULL \
    --gtid-strict-mode=1 --skip-name-resolve --sync-binlog=1 --innodb-flush-log-at-trx-commit=1 \
    --innodb-buffer-pool-size=1G --innodb-log-file-size=512M --log-error="$lab/log$n" &
  pids+=($!)
done
sql() { mariadb --no-defaults -u root -S "$lab/s$1" "${@:2}"; }
for n in 1 2; do
  for _ in $(seq 100); do sql "$n" -e 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.2; done
  sql "$n" -e "SET sql_log_bin=0; CREATE USER lw@'127.0.0.1' IDENTIFIED BY 'lw'; GRANT ALL ON *.* TO lw@'127.0.0.1'"
done
sql 1 -e "CREATE DATABASE fl; CREATE TABLE fl.sbtest1 (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL
  DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k))"
sql 1 -e "INSERT INTO fl.sbtest1 SELECT seq, FLOOR(1 + RAND(seq) * $rows), CONCAT_WS('-', MD5(seq), MD5(seq + 1),
  MD5(seq + 2)), CONCAT(MD5(seq + 3), '-', LEFT(MD5(seq + 4), 20)) FROM mysql.seq_1_to_$rows; ANALYZE TABLE fl.sbtest1" >/dev/null

cpu_ms() { awk '{ print ($14 + $15) * 10 }' "/proc/${pids[1]}/stat"; }
now_ms() { date +%s%3N; }
empty_target() { sql 2 -e "SET sql_log_bin=0; DROP DATABASE IF EXISTS fl; DROP DATABASE IF EXISTS leeward; CREATE DATABASE fl"; }
report() {  # name, begin, end, target CPU before
  [ "$(sql 2 -Ne 'SELECT COUNT(*) FROM fl.sbtest1')" = "$rows" ] || { echo "$1: rows are missing" >&2; exit 1; }
  local ms=$(($3 - $2)) rate
  rate=$((rows * 1000 / ms))
  echo "$1: $ms ms, $rate rows/s, target CPU $(($(cpu_ms) - $4)) ms"
  echo "$rate" >>"$lab/rates-${1%% *}"
}
mydumper_round() {
  empty_target
  local cpu begin
  cpu=$(cpu_ms) begin=$(now_ms)
  mydumper -h 127.0.0.1 -P "${ports[0]}" -u lw -p lw -B fl -t "$threads" -r 100000 --trx-consistency-only \
    -o "$lab/dump" >/dev/null 2>&1
  myloader -h 127.0.0.1 -P "${ports[1]}" -u lw -p lw -d "$lab/dump" -t "$threads" -o >/dev/null 2>&1
  report "mydumper + myloader" "$begin" "$(now_ms)" "$cpu"
  rm -rf "$lab/dump"
}
seed_round() {
  empty_target
  rm -rf "$lab/state"
  local cpu begin pid
  cpu=$(cpu_ms) begin=$(now_ms)
  LW=lw build/release/bin/leeward replication start "$lab/task.yaml" --log-format json 2>"$lab/task.log" &
  pid=$!
  until grep -q '"the first copy is done"' "$lab/task.log"; do
    kill -0 "$pid" || { cat "$lab/task.log" >&2; exit 1; }
    sleep 0.02
  done
  report "leeward seed" "$begin" "$(now_ms)" "$cpu"
  kill -INT "$pid"
  wait "$pid"
}
cat >"$lab/task.yaml" <<TASK
task: bench
source: {host: 127.0.0.1, port: ${ports[0]}, user: lw, password: env:LW}
target: {host: 127.0.0.1, port: ${ports[1]}, user: lw, password: env:LW}
tables: {include: [fl.*]}
seed: {parallel: $threads, chunk_rows: 100000}
state_dir: $lab/state
TASK
echo "$rows rows, $(sql 1 -Ne "SELECT ROUND((data_length + index_length) / 1e6) FROM information_schema.tables WHERE table_schema = 'fl'") MB; load $(cut -d' ' -f1 /proc/loadavg); $rounds rounds"
for _ in $(seq "$rounds"); do
  mydumper_round
  seed_round
done
checksums=$(for n in 1 2; do sql "$n" -Ne 'CHECKSUM TABLE fl.sbtest1' | cut -f2; done | sort -u | wc -l)
[ "$checksums" = 1 ] || { echo "the copy differs" >&2; exit 1; }
median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
awk -v ours="$(median "$lab/rates-leeward")" -v theirs="$(median "$lab/rates-mydumper")" \
  'BEGIN { printf "median: leeward %d rows/s, mydumper + myloader %d rows/s, ratio %.2f (wanted 1.20); the copy is equal\n", ours, theirs, ours / theirs }'
