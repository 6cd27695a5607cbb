#!/bin/sh
# Compiles the kernel programs with other layouts of their maps
# (WEIR_OTHER_LAYOUT): the "earlier Weir" of tests. Run by go generate:
# bpf-other-layout.sh OUTPUT, relative to the folder that it is run in.
set -eu
output=$PWD/$1
cd "$(dirname "$0")/../bpf"
# As bpf2go compiles, so that the object is the same wherever the checkout is.
"${CLANG:-clang-14}" -target bpfel -O2 -g -mcpu=v3 -Wall -Werror -fno-ident \
	-fdebug-prefix-map="$PWD"=. -fdebug-compilation-dir . \
	-I"/usr/include/$(uname -m)-linux-gnu" -DWEIR_OTHER_LAYOUT -c connections.c -o "$output"
"${LLVM_STRIP:-llvm-strip-14}" -g "$output"
