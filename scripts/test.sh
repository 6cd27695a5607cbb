#!/bin/bash
# Runs all tests. Tests that load programs into the kernel need root and skip
# themselves without it; not being root, this uses sudo for the test binaries
# where sudo can be asked.
# TESTFLAGS are further flags of go test.
set -euo pipefail
cd "$(dirname "$0")/.."
# One package at a time: those that drive the kernel measure it, too, and small
# machines have no processors to spare.
read -ra flags <<<"-json -timeout 15m -p 1 ${TESTFLAGS:-}"

hint='' with_sudo=''
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
    with_sudo=yes
  else
    hint="Not root, and sudo cannot be used: the tests that need the kernel were skipped. As root: make test"
  fi
fi

all_tests() {
  local result=0
  go -C tools test -json ./... || result=1
  if [ -n "$with_sudo" ]; then
    # The test that runs the go command stays with the user, as must the caches;
    # -short leaves it out of the others.
    go test "${flags[@]}" -run TestForeignManifest ./test/distribution || result=1
    go test "${flags[@]}" -short -exec "sudo -E env PATH=$PATH" ./... || result=1
  else
    go test "${flags[@]}" ./... || result=1
  fi
  return "$result"
}

status=0
all_tests | go run -C tools ./testreport || status=$?
[ -z "$hint" ] || echo "$hint" >&2
exit "$status"
