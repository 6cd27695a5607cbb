#!/bin/bash
# Fetches Debian's kernel of a release into a folder, and prints where it is
# unpacked. Nothing is installed.
#
# usage: scripts/kernels/fetch.sh RELEASE FOLDER      (6.1, 6.12)
set -euo pipefail
if [ $# -ne 2 ]; then
  sed -n 's/^# usage/usage/p' "$0" >&2
  exit 2
fi
release=$1 folder=$2

# Debian 12 names its own linux-image-6.1.0-NN-amd64, those of its backports
# linux-image-6.12.NN+deb12-amd64.
package=$(apt-cache search --names-only "^linux-image-${release//./\\.}\.[0-9]+(-[0-9]+|\+deb[0-9]+)-amd64$" |
  cut -d ' ' -f 1 | sort -V | tail -n 1)
if [ -n "$package" ]; then
  unpacked=$folder/$package
else
  # Without package lists, what was fetched before does.
  unpacked=$(find "$folder" -mindepth 1 -maxdepth 1 -type d -name "linux-image-$release.*" 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$unpacked" ]; then
    echo "No package of Linux $release for amd64 is known: apt-get update; for 6.12 on Debian 12, bookworm-backports" >&2
    exit 1
  fi
fi
if [ ! -d "$unpacked/lib/modules" ]; then
  echo "Fetching $package." >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq "$package" >&2)
  mkdir -p "$folder"
  dpkg -x "$work"/*.deb "$work/unpacked"
  rm -rf "$unpacked"
  cp -a "$work/unpacked" "$unpacked"
fi
echo "$unpacked"
