#!/bin/bash
# Linters. The versions of the Go ones are fixed in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=(go tool -modfile=tools/go.mod)
status=0

go vet ./... || status=1
go -C tools vet ./... || status=1
"${tool[@]}" staticcheck ./... || status=1

unformatted=$("${tool[@]}" gofumpt -l .)
if [ -n "$unformatted" ]; then
  printf 'not formatted (make fmt):\n%s\n' "$unformatted" >&2
  status=1
fi

if command -v clang-format-14 >/dev/null; then
  shopt -s nullglob
  sources=(bpf/*.[ch])
  [ ${#sources[@]} -eq 0 ] || clang-format-14 --dry-run -Werror "${sources[@]}" || status=1
else
  echo "clang-format-14 is missing: the format of bpf/ was not checked" >&2
fi
exit "$status"
