#!/bin/bash
# Runs the demo's Redis node of one site in the foreground; `leeward up` starts it.
#
#   redis-node.sh ADDRESS PORT DATA_DIRECTORY
#
# The binary decides by the name that it was called by what it is, and Debian's redis-tools ships it as
# redis-check-rdb; so the server needs no package that would also start a system service.
set -euo pipefail

if [[ $# -ne 3 ]]; then
  sed -n '2,4p' "$0" >&2
  exit 2
fi
address=$1 port=$2 data=$3
binary=$(readlink -f "$(command -v redis-server || command -v redis-check-rdb)")
mkdir -p "$data"
# Without a title of its own the process keeps its environment readable, by which the demo finds it.
exec -a redis-server "$binary" --bind "$address" --port "$port" --dir "$data" --daemonize no \
  --protected-mode no --save "" --appendonly no --repl-timeout 5 --repl-ping-replica-period 1 \
  --repl-diskless-sync-delay 0 --set-proc-title no --logfile ""
