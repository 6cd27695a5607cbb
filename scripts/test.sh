#!/bin/bash
# Runs all tests. Tests that load programs into the kernel need root and skip
# themselves without it; not being root, this uses sudo for the test binaries
# (not for the go command) where sudo can be asked.
# usage, from the Makefile: scripts/test.sh [FLAGS OF go test]
set -euo pipefail
cd "$(dirname "$0")/.."

as_root=() hint=
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
    as_root=(-exec "sudo -E env PATH=$PATH")
  else
    hint="Not root, and no sudo: the tests that need the kernel were skipped. As root: make test"
  fi
fi

status=0
go test -json -timeout 15m "${as_root[@]}" "$@" ./... | go run -C tools ./testreport || status=$?
[ -z "$hint" ] || echo "$hint" >&2
exit "$status"
