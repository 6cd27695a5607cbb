package datapath

//go:generate ../../scripts/bpf-other-layout.sh connections.c testdata/other_layout.o
//go:generate ../../scripts/bpf-other-layout.sh look.c testdata/other_layout_look.o
//go:generate ../../scripts/bpf-other-layout.sh hold.c testdata/other_layout_hold.o
//go:generate ../../scripts/bpf-other-layout.sh xdp.c testdata/other_layout_xdp.o
