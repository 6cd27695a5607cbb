package datapath

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
)

// TestRequirements: a kernel that loads the programs has what is asked for.
func TestRequirements(t *testing.T) {
	open(t)
	for _, r := range requirements {
		if err := r.try(); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	if err := tooOld(requirements); err != nil {
		t.Error(err)
	}
}

func TestTooOld(t *testing.T) {
	has := requirement{"what is there", "5.1", func() error { return nil }}
	lacks := requirement{"what is not", "5.2", func() error { return fmt.Errorf("try: %w", ebpf.ErrNotSupported) }}
	unsure := requirement{"what cannot be tried", "5.3", func() error { return errors.New("not now") }}
	also := requirement{"neither this", "5.4", lacks.try}
	for _, test := range []struct {
		name string
		list []requirement
		want string // "" where nothing is missing
	}{
		{"all there", []requirement{has, unsure}, ""},
		{"one missing", []requirement{has, lacks, unsure}, "lacks what is not (Linux 5.2); Linux " + oldestKernel},
		{"two missing", []requirement{lacks, also}, "lacks what is not (Linux 5.2), neither this (Linux 5.4); Linux"},
	} {
		err := tooOld(test.list)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && !strings.Contains(err.Error(), "(Linux "+kernelRelease()+")") {
			t.Errorf("%s: the kernel found is not named: %v", test.name, err)
		}
	}
}

// TestTGIDOffset reads, as the programs do, what process runs.
func TestTGIDOffset(t *testing.T) {
	nstest.Need(t)
	offset, err := tgidOffset()
	if err != nil {
		t.Skip("this kernel has no type information:", err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.FnGetCurrentTask.Call(),
		asm.Mov.Reg(asm.R3, asm.R0),
		asm.Add.Imm(asm.R3, int32(offset)),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, -4),
		asm.Mov.Imm(asm.R2, 4),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(asm.R0, asm.RFP, -4, asm.Word),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// The number in the initial PID namespace, which this may not be.
	helper, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Syscall, Flags: unix.BPF_F_SLEEPABLE, License: "GPL", Instructions: asm.Instructions{
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer helper.Close()
	want, err := helper.Run(&ebpf.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, p, make([]byte, 64)); got != want {
		t.Errorf("process %d at offset %d, want %d", got, offset, want)
	}
}
