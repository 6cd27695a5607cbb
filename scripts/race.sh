#!/bin/bash
# Runs what works with several threads under the race detector: the packages above the
# kernel, and the Collector, built with it, by the tests of the hold, of what is looked
# into, of the API, the audit log and of reloads. The detector needs a C compiler; a
# Collector that found a race ends with 66, which fails its test.
set -euo pipefail
cd "$(dirname "$0")/.."
(cd build && CGO_ENABLED=1 go build -race -o ../bin/weir-race .)
# These run on a fifth of the speed.
export WEIR_PATIENCE=${WEIR_PATIENCE:-2m}
CGO_ENABLED=1 go test -race -p 1 -timeout 40m -count=1 \
  ./internal/engine/... ./internal/audit/... ./extension/... ./receiver/...
WEIR_BIN=$PWD/bin/weir-race go test -p 1 -timeout 40m -count=1 ./test/e2e \
  -run 'TestHold|TestLook|TestAPI|TestAudit|TestReload|TestSwap|TestSurvival' "$@"
