package datapath

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// neededCapabilities are what the programs, their maps and their hooks ask of
// the process; CAP_SYS_ADMIN stands for the first two.
var neededCapabilities = []struct {
	name     string
	number   int
	sysAdmin bool
}{
	{"CAP_BPF", unix.CAP_BPF, true},
	{"CAP_PERFMON", unix.CAP_PERFMON, true},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, false},
}

// missingCapabilities names what the process lacks; nil where it cannot be told.
func missingCapabilities() []string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return nil
	}
	has := func(n int) bool { return sets[n/32].Effective>>(n%32)&1 != 0 }
	var missing []string
	for _, c := range neededCapabilities {
		if !has(c.number) && !(c.sysAdmin && has(unix.CAP_SYS_ADMIN)) {
			missing = append(missing, c.name)
		}
	}
	return missing
}

// needsPrivilege says what the process lacks where the kernel said no.
func needsPrivilege(doing string, err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if missing := missingCapabilities(); len(missing) > 0 {
		return fmt.Errorf("%s: the process lacks %s; run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: %w",
			doing, strings.Join(missing, ", "), withoutLog(err))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// explainLoad says in a sentence what the kernel or the process lacks.
func explainLoad(err error) error {
	var verifier *ebpf.VerifierError
	// The verifier, too, says "permission denied": of a load without CAP_PERFMON.
	if errors.Is(err, os.ErrPermission) && len(missingCapabilities()) > 0 {
		return needsPrivilege("load the programs", err)
	}
	if old := tooOld(requirements); old != nil {
		return fmt.Errorf("%w: %w", old, withoutLog(err))
	}
	if jitOff() {
		return fmt.Errorf("the kernel's BPF compiler is off, which the programs need: sysctl net.core.bpf_jit_enable=1: %w", withoutLog(err))
	}
	if errors.As(err, &verifier) {
		return fmt.Errorf("this kernel (Linux %s) refuses the programs, though it has what they need: please report this: %w", kernelRelease(), err)
	}
	return fmt.Errorf("load the programs: %w", err)
}

// withoutLog leaves out the verifier's log, which is about the program and not
// about what the process lacks.
func withoutLog(err error) error {
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		return verifier.Cause
	}
	return err
}
