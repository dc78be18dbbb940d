#!/bin/sh
# How many simulated worlds leeward-sim runs in a second on one core, so that a change that makes the
# cores slower is seen.
#
#   ROUNDS=5 SEEDS=1000 bench/sim/run.sh      (at least 3 rounds; the same seeds in each)
#
# There is no peer. Each round also times a yardstick, a fixed piece of work in the Python
# interpreter, on the same core just before. How to read it: "worlds per yardstick" is the figure to
# compare with an earlier run of the same machine, because a slow or shared minute slows both; CPU
# time counts, not the clock on the wall. The processor is the limit: the simulator does no I/O. When
# "events per world" differs between two runs, the worlds are others, and their rates do not compare.
set -eu
cd "$(dirname "$0")/../.."
ninja -C "${BUILD:-build/release}" leeward-sim >/dev/null
exec /usr/bin/python3 bench/sim/measure.py
