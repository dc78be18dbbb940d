#!/bin/sh
# The TLS of an edge as testssl.sh (Debian package of this name) finds it, graded; fails below A. Twice: with an
# origin that sends Strict-Transport-Security, which A+ asks for, and with one that does not.
#
#   bench/edge/tls_grade.sh [ARGUMENTS OF TESTSSL]
#
# The edge serves one page on loopback with a certificate for localhost that an authority made for this run
# has signed; testssl.sh is told to trust that one (--add-ca), as a browser trusts a public one. Results:
# build/bench/tls_grade_*.json and .log.
#
# Needed: testssl.sh, openssl.
set -eu
cd "$(dirname "$0")/../.."
ninja -C "${BUILD:-build/release}" leeward >/dev/null
exec /usr/bin/python3 bench/edge/tls_grade.py "$@"
