#!/bin/bash
# Shows that what is generated is what is committed: regenerates in a copy of
# the checkout and compares. The checkout itself is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/before"
tar --exclude=./.git --exclude=./bin --exclude=./build --exclude=./build-wide -cf - . |
  tar -xf - -C "$work/before"
cp -a "$work/before" "$work/after"
(cd "$work/after" && go generate ./...)
if ! changes=$(cd "$work" && diff -ru before after); then
  head -n 100 <<<"$changes" >&2
  echo "generated files are out of date: make generate" >&2
  exit 1
fi
