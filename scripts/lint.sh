#!/bin/bash
# Linters. The versions of the Go ones are fixed in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0
go vet ./... || status=1
go -C tools vet ./... || status=1
go tool -modfile=tools/go.mod staticcheck ./... || status=1
scripts/format.sh check || status=1
exit "$status"
