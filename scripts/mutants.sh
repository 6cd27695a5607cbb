#!/bin/sh
# Compiles the programs with the faults of bpf/mutant.h, for the tests that show
# that such faults are noticed. Run by go generate in bpf/.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
../scripts/bpf2go.sh Mutants connections.c -output-dir "$work" -cflags -DWEIR_MUTANTS
../scripts/bpf2go.sh LookMutants look.c -output-dir "$work" -cflags -DWEIR_MUTANTS
../scripts/bpf2go.sh HoldMutants hold.c -output-dir "$work" -cflags -DWEIR_MUTANTS
../scripts/bpf2go.sh XDPMutants xdp.c -output-dir "$work" -cflags -DWEIR_MUTANTS
cp "$work/mutants_bpfel.o" ../internal/datapath/testdata/mutants_bpfel.o
cp "$work/lookmutants_bpfel.o" ../internal/datapath/testdata/look_mutants_bpfel.o
cp "$work/holdmutants_bpfel.o" ../internal/datapath/testdata/hold_mutants_bpfel.o
cp "$work/xdpmutants_bpfel.o" ../internal/datapath/testdata/xdp_mutants_bpfel.o
