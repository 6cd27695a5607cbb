#!/bin/bash
# Runs every fuzz target for the given time, one after the other.
# usage, from the Makefile: scripts/fuzz.sh TIME
set -euo pipefail
cd "$(dirname "$0")/.."

grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r dirname | sort -u | while read -r folder; do
  for target in $(go test -list '^Fuzz' "$folder" | grep '^Fuzz'); do
    echo "fuzz $folder $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$folder" </dev/null
  done
done
