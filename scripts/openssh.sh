#!/bin/bash
# Tests what enforces by SSH keys with the OpenSSH of another Debian release: unpacks that
# into a folder of the cache, and runs its server there. Needs root.
#
# RELEASE    the release (trixie: sshd-session and sshd-auth)
set -euo pipefail
cd "$(dirname "$0")/.."
release=${RELEASE:-trixie}
root=${XDG_CACHE_HOME:-$HOME/.cache}/weir/openssh/$release

if [ "$(id -u)" -ne 0 ]; then
  echo "Servers are started that let people in. As root: make test-openssh" >&2
  exit 1
fi
if ! [ -x "$root/usr/sbin/sshd" ]; then
  rm -rf "$root" "$root.new"
  mkdir -p "$root.new"
  debootstrap --variant=minbase --include=openssh-server "$release" "$root.new" >"$root.log" || {
    echo "Debian $release cannot be unpacked; $root.log says why." >&2
    exit 1
  }
  mv "$root.new" "$root"
fi
chroot "$root" /usr/sbin/sshd -V
WEIR_SSHD_ROOT=$root go test ./test/e2e -run '^TestSSHKeys(Told|SentAhead)?$' -count=1 -v
