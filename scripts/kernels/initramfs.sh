#!/bin/bash
# Makes the file system of a virtual machine for scripts/kernels/run.sh: the
# modules that the tests need, the tests, and an init of our own. No kernel is
# booted and nothing is installed.
#
# usage: scripts/kernels/initramfs.sh MODULES TESTS OUTPUT
#   MODULES  folder of a kernel's modules (lib/modules/VERSION of its package)
#   TESTS    folder whose files go into the machine as they are
#   OUTPUT   the file to write, a gzipped cpio archive
set -euo pipefail
if [ $# -ne 3 ]; then
  sed -n 's/^# usage/usage/p' "$0" >&2
  exit 2
fi
modules=$1 tests=$2 output=$(realpath -m "$3")

# What the tests' networks are made of. A kernel that has one built in has no
# file for it. Modules that one of these depends on come along.
wanted=(
  veth dummy tun bridge 8021q vrf vxlan macvlan # interfaces
  sch_ingress cls_bpf cls_u32             # hooks where there is no tcx
  inet_diag tcp_diag udp_diag             # the list of sockets
  nfnetlink xfrm_user                     # what a netlink.Handle opens besides
)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{proc,sys,dev,tmp,bin,modules}
: >"$work/modules/order"

# Puts the module into the archive, those before it that it depends on.
declare -A taken=()
add_module() {
  local name=${1//-/_} file depends dependency
  [ -z "${taken[$name]:-}" ] || return 0
  taken[$name]=yes
  # Files are named with dashes or underscores, whichever the module's author liked.
  file=$(find "$modules" -name "${name//_/[-_]}.ko*" | head -n 1)
  if [ -z "$file" ]; then
    return 0 # built in
  fi
  case $file in
  *.xz) xz -dc "$file" ;;
  *.zst) zstd -qdc "$file" ;;
  *.gz) gzip -dc "$file" ;;
  *) cat "$file" ;;
  esac >"$work/modules/$name.ko"
  # The section .modinfo is KEY=VALUE, each ended by NUL.
  depends=$(tr '\0' '\n' <"$work/modules/$name.ko" | grep -a '^depends=' | head -n 1 || true)
  for dependency in $(tr ',' ' ' <<<"${depends#depends=}"); do
    add_module "$dependency"
  done
  echo "$name.ko" >>"$work/modules/order"
}
for name in "${wanted[@]}"; do
  add_module "$name"
done

cp -a "$tests/." "$work/"
cd "$work"
find . | cpio --quiet -o -H newc | gzip -1 >"$output"
