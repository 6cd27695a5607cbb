package datapath

//go:generate ../../scripts/bpf-other-layout.sh testdata/other_layout.o
