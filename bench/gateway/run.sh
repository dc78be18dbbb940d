#!/bin/sh
# What the gateway costs: MariaDB direct, through Leeward's gateway and through HAProxy (TCP mode, which
# only copies bytes and cannot fence or move a session), and how long a moved session waits.
#
#   ROUNDS=3 SECONDS=1 bench/gateway/run.sh      (at least 3 rounds; seconds of one run)
#
# point: SELECT of one row by its key. transaction: BEGIN, SELECT, UPDATE, COMMIT on one row, one unit.
# Each with 1 connection (the latency) and with 16 (the throughput). The database does not wait for
# the disk, so that the path is measured and not the disk. Database and relay share one core, the
# load has another: units/s is what that one core can do, and a relay's price is the CPU it takes
# from the database. With a core of its own the relay would cost less of the throughput.
#
# How to read it. "rate ratio" and "p50 ratio" are the path's divided by direct's in the same round.
# "limit" says which side had no time left; "waiting" is right with 1 connection, where the sides take
# turns, "other load" means that the machine was too busy: then only the server side's CPU per unit
# (database and relay) says something. The second table: milliseconds from the call that opens the new writer to the answer of the
# first and the last session that waited; login and restoring at the new writer are in it, the agents'
# decision and the replication are not, since both sites have the same database here.
set -eu
cd "$(dirname "$0")/../.."
ninja -C "${BUILD:-build/release}" leeward-bench-gateway leeward-bench-sql >/dev/null
exec /usr/bin/python3 bench/gateway/measure.py
