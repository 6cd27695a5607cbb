#!/bin/bash
# Shows that what is generated is what is committed: regenerates in a copy of
# the checkout and compares. The checkout itself is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar --exclude=./.git --exclude=./bin --exclude=./build --exclude=./build-wide -cf - . |
  tar -xf - -C "$copy"
(cd "$copy" && go generate ./...)
if ! changes=$(diff -ru -x .git -x bin -x build -x build-wide . "$copy"); then
  head -n 100 <<<"$changes" >&2
  echo "generated files are out of date: make generate" >&2
  exit 1
fi
