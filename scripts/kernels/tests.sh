#!/bin/bash
# Builds what goes into the machine of scripts/kernels/run.sh: an init, the test
# binaries with the files that they read, and bin/weir.
#
# usage: scripts/kernels/tests.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ $# -ne 1 ]; then
  sed -n 's/^# usage/usage/p' "$0" >&2
  exit 2
fi
folder=$1
mkdir -p "$folder"/{bin,tests,src}
export CGO_ENABLED=0
go build -ldflags='-s -w' -o "$folder/init" ./test/kernels/init
for package in internal/datapath test/e2e; do
  go test -c -ldflags='-s -w' -o "$folder/tests/$(basename "$package").test" "./$package"
  mkdir -p "$folder/src/$package"
  if [ -d "$package/testdata" ]; then
    cp -a "$package/testdata" "$folder/src/$package/"
  fi
done
cp -a testdata "$folder/src/"
cp bin/weir "$folder/bin/"
