#!/bin/sh
# Compiles one BPF program and writes its Go bindings beside it. Run by go
# generate in bpf/: bpf2go.sh NAME FILE [bpf2go's options].
set -eu
name=$1 file=$2
shift 2
exec env GOFLAGS=-mod=mod GOPACKAGE=bpf go tool -modfile=../tools/go.mod bpf2go \
	-cc "${CLANG:-clang-14}" -strip "${LLVM_STRIP:-llvm-strip-14}" \
	-target bpfel "$@" "$name" "$file" -- \
	-O2 -g -mcpu=v3 -Wall -Werror -I"/usr/include/$(uname -m)-linux-gnu"
