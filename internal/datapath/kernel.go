package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"go.uber.org/zap"
)

// adapt sets what the programs do otherwise on older kernels. What a kernel is
// asked for is found out by loading a program that uses it, not by its version:
// distributions take features back to older ones.
func adapt(spec *ebpf.CollectionSpec, log *zap.Logger) error {
	err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnGetCurrentPidTgid)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ebpf.ErrNotSupported) {
		return nil // not allowed to try: loading the programs says why
	}
	offset, err := tgidOffset()
	if err != nil {
		log.Warn("This kernel does not tell the programs which process sends (Linux 6.10 does), and its type information, "+
			"which would help, cannot be read: Weir's own new connections are judged by the rules, without the safeguard export.",
			zap.Error(err))
		return nil
	}
	if err := spec.Variables["tgid_offset"].Set(offset); err != nil {
		return fmt.Errorf("set where processes have their number: %w", err)
	}
	return nil
}

// tgidOffset is where the kernel's struct task_struct has its tgid, in bytes.
func tgidOffset() (uint32, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return 0, err
	}
	var task *btf.Struct
	if err := kernel.TypeByName("task_struct", &task); err != nil {
		return 0, err
	}
	for _, m := range task.Members {
		if m.Name == "tgid" {
			return m.Offset.Bytes(), nil
		}
	}
	return 0, errors.New("struct task_struct has no member tgid")
}
