#!/bin/bash
# What the web application firewall's engine costs in the process, beside libmodsecurity: µs of CPU per
# benign request at paranoia 1 and 4, time to compile the rules, memory. Through the edge: bench/edge/run.sh waf.
#
#   ROUNDS=5 bench/waf/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
cmake --preset release > /dev/null
cmake --build build/release --target leeward-bench-waf -- -k 0 > /dev/null
build/release/bin/leeward-bench-waf "${ROUNDS:-5}"
