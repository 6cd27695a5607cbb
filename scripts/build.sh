#!/bin/bash
# Builds a distribution with ocb and puts the binary into bin/.
# usage, from the Makefile: scripts/build.sh MANIFEST OUTPUT_FOLDER NAME
set -euo pipefail
cd "$(dirname "$0")/.."
manifest=$1 output=$2 name=$3

if [ ! -e "bin/$name" ]; then
  echo "Building bin/$name; the first build takes some minutes." >&2
fi
mkdir -p bin "$output"
if ! log=$(go tool -modfile=tools/go.mod builder --skip-strict-versioning=false \
  --config "$manifest" 2>&1); then
  echo "$log" >&2
  exit 1
fi
# Installed only when it changed, so that cached test results stay valid.
cmp -s "$output/$name" "bin/$name" || install -m 755 "$output/$name" "bin/$name"
