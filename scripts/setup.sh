#!/bin/bash
# Checks that Go is there and installs the Debian packages that a target of the
# Makefile needs. Quick and silent when nothing is missing; says what to do
# where it cannot help.
#
# usage: scripts/setup.sh build|test|kernels|openssh|ci
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin

# command:package pairs; a package is installed when its command is missing.
test_tools=(ip:iproute2 nft:nftables dig:bind9-dnsutils tcpdump:tcpdump jq:jq ping:iputils-ping nc:netcat-openbsd
  curl:curl git:git ssh:openssh-client)
# Installing these starts services, which is nobody's wish on his own machine: tests
# that want them are skipped there.
server_tools=(nginx:nginx-light unbound:unbound sshd:openssh-server)
# What boots other kernels (make test-kernels), and makes what they boot into.
kernel_tools=(qemu-system-x86_64:qemu-system-x86 cpio:cpio xz:xz-utils zstd:zstd)
# What regenerates and checks the kernel programs; `make build`, `make run` and
# `make test` do without, since the objects are committed.
bpf_tools=(clang-14:clang-14 llvm-strip-14:llvm-14 clang-format-14:clang-format-14)

require_go() {
  local error
  # Reading the module fails when the go command is too old for go.mod and may
  # not fetch a newer one.
  if command -v go >/dev/null && error=$(go list -m 2>&1 >/dev/null); then
    return
  fi
  local wanted
  wanted=$(sed -n 's/^go //p' go.mod)
  {
    if command -v go >/dev/null; then
      echo "Go cannot be used here: $(go version)"
      echo "  $error"
    else
      echo "Go is missing."
    fi
    echo "Weir is built with Go $wanted or newer. Either"
    echo "  - download it from https://go.dev/dl/ and unpack it to /usr/local/go (it is found there), or"
    echo "  - install Debian's backports package: apt-get install -t $(release)-backports golang-go"
    echo "Go 1.21 or newer fetches the version that Weir wants by itself: GOTOOLCHAIN=auto."
  } >&2
  exit 1
}

release() {
  (. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-stable}") || echo stable
}

install_missing() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  install_packages "${missing[@]}"
}

install_packages() {
  [ $# -gt 0 ] || return 0
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@")
  if ! command -v apt-get >/dev/null; then
    echo "Missing, under their Debian names: $*. This is not Debian: please install them." >&2
    exit 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Missing packages. As root: apt-get update && apt-get install -y $*" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "Installing: $*" >&2
  # Package lists may be missing or old: fetch them and try again.
  "${as_root[@]}" "${install[@]}" >/dev/null 2>&1 && return
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" "${install[@]}" >/dev/null
}

require_go
case ${1:-build} in
build) ;;
test) install_missing "${test_tools[@]}" ;;
kernels) install_missing "${kernel_tools[@]}" ;;
openssh) install_missing "${test_tools[@]}" debootstrap:debootstrap ;;
ci)
  install_missing "${test_tools[@]}" "${server_tools[@]}" "${bpf_tools[@]}" cpio:cpio xz:xz-utils # for test/kernels
  [ -e /usr/include/bpf/bpf_helpers.h ] || install_packages libbpf-dev
  ;;
*)
  echo "usage: scripts/setup.sh build|test|kernels|openssh|ci" >&2
  exit 2
  ;;
esac
