#!/bin/bash
# Runs the demo's MariaDB node of one site in the foreground; `leeward up` starts it.
#
#   mariadb-node.sh ADDRESS PORT DATA_DIRECTORY SERVER_ID
#
# The first start creates the data directory and the two accounts that a node needs before it can be
# reached at all: root (local socket) and leeward (the agent, password from LEEWARD_ADMIN_PASSWORD_FILE).
# Both are created with sql_log_bin=0, so that two fresh nodes have the same, empty history. The server
# starts read-only and replicates from nobody: what it becomes is the agent's decision.
set -euo pipefail

if [[ $# -ne 4 ]]; then
  sed -n '2,4p' "$0" >&2
  exit 2
fi
address=$1 port=$2 data=$3 server_id=$4
password_file=${LEEWARD_ADMIN_PASSWORD_FILE:?names the file with the password of the account leeward}
run_as=$(id -un)
mkdir -p "$data"
data=$(cd "$data" && pwd)
# A starting server deletes every "#sql" file that it finds in its temporary directory, another server's
# included, so each has its own.
mkdir -p "$data/tmp"
export TMPDIR=$data/tmp

if [[ ! -e $data/initialised ]]; then
  rm -rf "$data/files"
  mariadb-install-db --no-defaults --user="$run_as" --datadir="$data/files" --skip-test-db \
    --auth-root-authentication-method=normal --innodb-log-file-size=32M >"$data/install.log" 2>&1 ||
    { cat "$data/install.log" >&2; exit 1; }
  sync
  touch "$data/initialised"
fi

# Repeated at each start, which costs nothing and keeps the password in step with its file. Not on the
# command line: arguments are public.
password=$(<"$password_file")
(
  umask 077
  cat >"$data/accounts.sql" <<SQL
SET sql_log_bin = 0;
CREATE USER IF NOT EXISTS 'leeward'@'%' IDENTIFIED BY '$password';
ALTER USER 'leeward'@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO 'leeward'@'%' WITH GRANT OPTION;
SQL
)

# Each site hands out its own half of the numbers, so that a lost order can be replayed under the number
# it had: odd server ids the odd ones. The nodes of one site share a half, because only one of them writes.
# The socket's path is relative to the data directory: an absolute one may not be longer than 107 bytes.
exec mariadbd --no-defaults --user="$run_as" --datadir="$data/files" \
  --bind-address="$address" --port="$port" --socket=node.sock --pid-file=node.pid \
  --init-file="$data/accounts.sql" --server-id="$server_id" --gtid-domain-id=0 \
  --log-bin=binlog --relay-log=relay --binlog-format=ROW --binlog-row-metadata=FULL \
  --binlog-row-image=FULL --gtid-strict-mode=1 --log-slave-updates=1 --read-only=1 \
  --skip-slave-start --innodb-flush-log-at-trx-commit=1 --sync-binlog=1 \
  --innodb-buffer-pool-size=64M --innodb-log-file-size=32M --slave-net-timeout=3 \
  --auto-increment-increment=2 --auto-increment-offset="$((2 - server_id % 2))" \
  --skip-name-resolve --max-connections=300
