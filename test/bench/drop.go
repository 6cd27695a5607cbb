package main

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

var errPassed = errors.New("frames that were to be dropped came through")

// attachXDPDrop drops everything, at the driver.
func attachXDPDrop(h *host, name string) (l link.Link) {
	const xdpDrop = 1
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()},
	})
	must(err, "load an XDP program")
	defer p.Close()
	index := h.index(name)
	h.do(func() {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: link.XDPDriverMode})
		must(err, "attach an XDP program")
	})
	return l
}

// attachTCXDrop drops everything, at the ingress hook.
func attachTCXDrop(h *host, name string) link.Link {
	const tcxDrop = 2
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, tcxDrop), asm.Return()},
	})
	must(err, "load a program that drops")
	defer p.Close()
	return attachTCX(h, name, p, ebpf.AttachTCXIngress)
}
