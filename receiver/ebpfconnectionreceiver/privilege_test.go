package ebpfconnectionreceiver

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// skipLifecycleWithoutPrivilege keeps the generated lifecycle test, which loads
// the programs, from failing where the kernel would not let it.
func skipLifecycleWithoutPrivilege() {
	if missing := missingCapabilities(); len(missing) > 0 {
		fmt.Fprintln(os.Stderr, "skipping TestComponentLifecycle: it needs", strings.Join(missing, ", "))
		if err := flag.Set("test.skip", "^TestComponentLifecycle$"); err != nil {
			panic(err)
		}
	}
}

// missingCapabilities are those that the datapath needs and this process lacks.
func missingCapabilities() []string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return []string{"/proc"}
	}
	_, after, _ := strings.Cut(string(status), "\nCapEff:")
	line, _, _ := strings.Cut(after, "\n")
	effective, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return []string{"a kernel that tells capabilities"}
	}
	var missing []string
	for _, needed := range []struct {
		name string
		bit  uint
	}{{"CAP_NET_ADMIN", 12}, {"CAP_PERFMON", 38}, {"CAP_BPF", 39}} {
		if effective&(1<<needed.bit) == 0 {
			missing = append(missing, needed.name)
		}
	}
	return missing
}
