#!/bin/bash
# Formats Go with gofumpt and C with clang-format, or names what is not formatted.
# usage: scripts/format.sh check|write
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
gofumpt=(go tool -modfile=tools/go.mod gofumpt)
# Everything but what ocb wrote.
mapfile -t folders < <(
  find . -mindepth 1 -maxdepth 1 -type d -not -name '.*' -not -name bin -not -name 'build*'
)
c_files=(bpf/*.[ch])

case ${1:-} in
write)
  "${gofumpt[@]}" -w "${folders[@]}"
  clang-format-14 -i "${c_files[@]}"
  ;;
check)
  unformatted=$("${gofumpt[@]}" -l "${folders[@]}")
  if command -v clang-format-14 >/dev/null; then
    for file in "${c_files[@]}"; do
      clang-format-14 "$file" | cmp -s - "$file" || unformatted+=$'\n'$file
    done
  else
    echo "clang-format-14 is missing: the format of bpf/ was not checked" >&2
  fi
  if [ -n "$unformatted" ]; then
    printf 'not formatted (make fmt):\n%s\n' "$unformatted" >&2
    exit 1
  fi
  ;;
*)
  echo "usage: scripts/format.sh check|write" >&2
  exit 2
  ;;
esac
