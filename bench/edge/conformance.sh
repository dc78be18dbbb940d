#!/bin/sh
# What the edge's cache does of what HTTP caching asks for: the public cache-tests suite
# (https://cache-tests.fyi) against `leeward edge` with its own origin behind it.
#
#   bench/edge/conformance.sh                     leeward
#   bench/edge/conformance.sh nginx varnish …     and these, where they are installed
#   SUITE=DIR bench/edge/conformance.sh           another version of the suite, laid out like the package
#
# How to read it: "required" is what the RFCs demand, "optimal" what a cache may do better, "check" a question
# without a right answer. A test whose preparation or whose prerequisite did not work is not passed; the
# list says which: setup, depends, or harness when the suite's client could not understand the answer.
# "old" is a test that RFC 9111 has overtaken: the package is older, and later versions of the suite do not ask for
# it. Tests for browsers are left out. The suite's README: to pass everything proves nothing.
#
# Some tests give a response two seconds to live: on a machine that is busy they say "does not come from cache".
#
# The policy is in conformance.py: RFC 9111 without more caution than it asks for (Set-Cookie is
# stored) and with what it allows (a tenth of the age as a guess, the answer to a POST that says so).
#
# Needed: node, npm and the npm registry, the first time: the pinned package goes to build/conformance.
set -eu
cd "$(dirname "$0")/../.."
package=http-cache-tests@0.4.5
folder=build/conformance
if [ -z "${SUITE:-}" ]; then
  SUITE="$folder/node_modules/http-cache-tests"
  if [ ! -f "$SUITE/package.json" ]; then
    mkdir -p "$folder"
    npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error "$package" >/dev/null
  fi
fi
ninja -C "${BUILD:-build/release}" leeward >/dev/null
exec /usr/bin/python3 bench/edge/conformance.py "$SUITE" "$@"
