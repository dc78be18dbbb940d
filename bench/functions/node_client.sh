#!/bin/sh
# Runs a Node.js handler by AWS's own runtime client, aws-lambda-ric, unmodified from npm, on `leeward functions`.
#
#   bench/functions/node_client.sh [FOLDER]     FOLDER: where npm installs it; kept between runs
#
# Not part of the tests: npm compiles the client's addon for two minutes, with autoconf, automake, libtool and cmake,
# and it must be allowed to run the package's install script.
set -eu
cd "$(dirname "$0")/../.."
folder=$(realpath -m "${1:-build/node-client}")
for tool in npm node autoreconf libtoolize cmake; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 0; }
done
if ! ls "$folder"/node_modules/aws-lambda-ric/dist/rapid-client.node >/dev/null 2>&1; then
  mkdir -p "$folder"
  (cd "$folder" && npm init -y >/dev/null && npm install --ignore-scripts aws-lambda-ric@3 &&
    cd node_modules/aws-lambda-ric && npm run preinstall && npm run postinstall)
fi
exec /usr/bin/python3 bench/functions/node_client.py "$folder"
