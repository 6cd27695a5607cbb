package datapath

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// oldestKernel is the first release of Linux that has all of the requirements.
const oldestKernel = "5.17"

// requirement is something of the kernel that the programs cannot do without. It
// is tried only after they could not be loaded, to say why: distributions take
// features back to older releases, so the release alone says little.
type requirement struct {
	name, since string
	try         func() error // ebpf.ErrNotSupported where it is missing
}

var requirements = []requirement{
	{"ring buffers", "5.8", func() error { return features.HaveMapType(ebpf.RingBuf) }},
	{"inner arrays of any size", "5.10", haveInnerArrays},
	{"a callback for each element of a map", "5.13", func() error {
		return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnForEachMapElem)
	}},
	{"programs that run as a system call", "5.14", func() error { return features.HaveProgramType(ebpf.Syscall) }},
	{"cookies of network namespaces", "5.14", haveNamespaceCookie},
	{"bpf_loop", "5.17", func() error { return features.HaveProgramHelper(ebpf.SchedCLS, asm.FnLoop) }},
}

func haveInnerArrays() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: unix.BPF_F_INNER_MAP})
	if errors.Is(err, unix.EINVAL) {
		return ebpf.ErrNotSupported
	}
	if err != nil {
		return err
	}
	return m.Close()
}

func haveNamespaceCookie() error {
	if _, err := namespaceCookie(); errors.Is(err, unix.ENOPROTOOPT) {
		return ebpf.ErrNotSupported
	}
	return nil
}

// tooOld says what this kernel lacks; nil where it lacks nothing.
func tooOld(list []requirement) error {
	var missing []string
	for _, r := range list {
		if errors.Is(r.try(), ebpf.ErrNotSupported) {
			missing = append(missing, fmt.Sprintf("%s (Linux %s)", r.name, r.since))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("this kernel (Linux %s) lacks %s; Linux %s or newer is needed", kernelRelease(), strings.Join(missing, ", "), oldestKernel)
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "of unknown release"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// jitOff says that the kernel would interpret the programs, which the callbacks
// that they loop by are not made for.
func jitOff() bool {
	value, err := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	return err == nil && strings.TrimSpace(string(value)) == "0"
}
