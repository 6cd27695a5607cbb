#!/bin/sh
# Compiles the kernel programs with other layouts of their maps
# (WEIR_OTHER_LAYOUT): the "earlier Weir" of tests. Run by go generate:
# bpf-other-layout.sh SOURCE OUTPUT, a file of bpf/ and one relative to the folder that
# it is run in.
set -eu
source=$1 output=$PWD/$2
cd "$(dirname "$0")/../bpf"
# As bpf2go compiles, so that the object is the same wherever the checkout is.
"${CLANG:-clang-14}" -target bpfel -O2 -g -mcpu=v3 -Wall -Werror -fno-ident \
	-fdebug-prefix-map="$PWD"=. -fdebug-compilation-dir . \
	-I"/usr/include/$(uname -m)-linux-gnu" -DWEIR_OTHER_LAYOUT -c "$source" -o "$output"
"${LLVM_STRIP:-llvm-strip-14}" -g "$output"
