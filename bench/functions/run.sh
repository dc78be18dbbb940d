#!/bin/sh
# What a start costs: the demo's web tier (Flask) as a plain process and as a function, and a function in C++.
#
#   RUNS=100 bench/functions/run.sh
#
# cold: no environment; a sandbox is made, the program starts, the first answer comes. plain: the same program
# started by hand, until its first answer. frozen: the environment is there and frozen; thawed for the request.
# warm: it runs. prepared: none that was used is left, but one that has been through its init and was never asked is,
# frozen. storm: 1,000 first requests at once to a cold function, from one client on loopback.
#
# How to read it. Milliseconds of the request as its client sees it, over one kept connection. The runs take turns, so
# that a busy moment of the machine hits all kinds. A median above its goal is marked.
set -eu
cd "$(dirname "$0")/../.."
ninja -C "${BUILD:-build/release}" leeward leeward-sandbox leeward-http-adapter leeward-bench-function >/dev/null
exec /usr/bin/python3 bench/functions/measure.py
