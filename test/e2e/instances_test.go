package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refusal launches a Collector that must not start, and returns its log.
func refusal(t *testing.T, h *host, c config) string {
	t.Helper()
	w := launch(t, h, c)
	w.mayFail = true
	w.awaitExit(t)
	if w.err == nil {
		t.Errorf("it ended well\n%s", tail(w.log(), 10))
	}
	return w.log()
}

// TestSecondInstance: one Weir for each network namespace. The second is told
// who the first is, and does it no harm.
func TestSecondInstance(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{policy: string(newPolicy(t, shut8080))})
	log := refusal(t, l.a, config{policy: string(newPolicy(t, open8080))})
	if want := fmt.Sprintf("another Weir (process %d) watches this network namespace", w.pid()); !strings.Contains(log, want) {
		t.Errorf("want %q in\n%s", want, tail(log, 10))
	}
	l.enforces(t, shut8080)
	other := start(t, l.b, config{interfaces: "{include: [" + farName + "]}"}) // another namespace is another matter
	p := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 9090))
	source, destination := p.exchange(t, 1, 1)
	w.expect(t, p.tuple, expectation{
		direction: "outbound", mode: "prevent", verdict: "allowed", action: "allow", reason: "rule", rule: "other",
		generation: "1", end: "fin", source: source, destination: destination,
	})
	other.expect(t, p.tuple, expectation{
		direction: "inbound", mode: "detect", verdict: "detected", end: "fin", source: source, destination: destination, iface: farName,
	})
}

// TestPrivileges runs the Collector as nobody, with capabilities taken away.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	setpriv := tool(t, "setpriv")
	for _, c := range []struct {
		capabilities string
		starts       bool
	}{
		{"", false},
		{"net_admin,perfmon", false},
		{"bpf,perfmon", false},
		{"bpf,net_admin", false},
		{"bpf,net_admin,perfmon", true},
	} {
		t.Run("as nobody with "+c.capabilities, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := &weir{dir: openDir(t), host: l.a, mayFail: !c.starts}
			w.logs.path = signalFile(w.dir, "logs")
			settings := config{}
			if err := os.WriteFile(w.file("config.yaml"), []byte(settings.yaml(w.dir)), 0o644); err != nil {
				t.Fatal(err)
			}
			set := "-all"
			for name := range strings.SplitSeq(c.capabilities, ",") {
				if name != "" {
					set += ",+" + name
				}
			}
			w.begin(t, setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups",
				"--inh-caps", set, "--ambient-caps", set, "--bounding-set", set,
				openBinary(t, w.dir), "--config", w.file("config.yaml"))
			t.Cleanup(func() {
				w.stop(t)
				if t.Failed() {
					t.Logf("the Collector's log:\n%s", tail(w.log(), 20))
				}
			})
			if c.starts {
				w.awaitReady(t, 1)
				p := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 0), 80))
				source, destination := p.exchange(t, 1, 1)
				w.expect(t, p.tuple, expectation{
					direction: "outbound", mode: "detect", verdict: "detected", end: "fin", source: source, destination: destination,
				})
				return
			}
			w.awaitExit(t)
			if w.err == nil {
				t.Error("it ended well")
			}
			sentences := 0
			for line := range strings.Lines(w.log()) {
				if strings.Contains(line, "run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON") {
					sentences++
				}
			}
			if sentences == 0 {
				t.Error("no sentence names the capabilities")
			}
		})
	}
}

// openDir is a folder that everybody may use.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// openBinary is the binary where everybody can reach it.
func openBinary(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "weir")
	content, err := os.ReadFile(weirBinary(t))
	if err == nil {
		err = os.WriteFile(path, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNoBTF hides the kernel's type information. The programs do without.
func TestNoBTF(t *testing.T) {
	t.Parallel()
	unshare := tool(t, "unshare")
	l := newLab(t)
	w := &weir{dir: t.TempDir(), host: l.a}
	w.logs.path = signalFile(w.dir, "logs")
	settings := config{policy: string(newPolicy(t, shut8080)), receiver: "on_shutdown: unload"}
	if err := os.WriteFile(w.file("config.yaml"), []byte(settings.yaml(w.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	const hide = "mount --bind /dev/null /sys/kernel/btf/vmlinux; exec \"$0\" --config \"$1\""
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		t.Log("this kernel has none anyway")
	}
	w.begin(t, unshare, "--mount", "sh", "-ec", hide, weirBinary(t), w.file("config.yaml"))
	t.Cleanup(func() { w.stop(t) })
	w.awaitReady(t, 1)
	l.enforces(t, shut8080)
}

// TestBareKernel starts where the BPF file system is not mounted: Weir mounts it.
func TestBareKernel(t *testing.T) {
	t.Parallel()
	unshare := tool(t, "unshare")
	l := newLab(t)
	w := &weir{dir: t.TempDir(), host: l.a}
	w.logs.path = signalFile(w.dir, "logs")
	settings := config{policy: string(newPolicy(t, shut8080)), receiver: "on_shutdown: keep"}
	if err := os.WriteFile(w.file("config.yaml"), []byte(settings.yaml(w.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.begin(t, unshare, "--mount", "sh", "-ec", "umount -l /sys/fs/bpf; umount -l /sys/fs/bpf 2>/dev/null || true; exec \"$0\" --config \"$1\"",
		weirBinary(t), w.file("config.yaml"))
	t.Cleanup(func() { w.stop(t) })
	w.awaitReady(t, 1)
	l.enforces(t, shut8080)
	var st unix.Statfs_t
	if err := unix.Statfs(fmt.Sprintf("/proc/%d/root/sys/fs/bpf", w.pid()), &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		t.Errorf("the BPF file system is not mounted: %x, %v", st.Type, err)
	}
}
