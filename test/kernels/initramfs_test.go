// Package kernels tests what makes the machines of `make test-kernels`, without
// booting one.
package kernels

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInitramfs: modules come after those that they depend on, unpacked, whatever
// their file is called; one that the kernel has built in is left out.
func TestInitramfs(t *testing.T) {
	for _, tool := range []string{"cpio", "gzip", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	modules, tests := filepath.Join(dir, "modules"), filepath.Join(dir, "tests")
	write(t, filepath.Join(modules, "kernel/net/8021q/8021q.ko"), module("garp,mrp"))
	write(t, filepath.Join(modules, "kernel/net/802/garp.ko"), module("stp"))
	write(t, filepath.Join(modules, "kernel/net/802/mrp.ko"), module(""))
	write(t, filepath.Join(modules, "kernel/net/802/stp.ko"), module("llc"))
	write(t, filepath.Join(modules, "kernel/net/llc/llc.ko"), module(""))
	write(t, filepath.Join(modules, "kernel/net/bridge/bridge.ko"), module("stp,llc"))
	write(t, filepath.Join(modules, "kernel/net/sched/cls-bpf.ko"), module(""))
	write(t, filepath.Join(modules, "kernel/net/unwanted.ko"), module(""))
	write(t, filepath.Join(tests, "init"), "init")
	write(t, filepath.Join(tests, "tests/list"), "a list")
	packed := filepath.Join(modules, "kernel/drivers/net/veth.ko")
	write(t, packed, module("ptp-core"))
	write(t, filepath.Join(modules, "kernel/drivers/ptp/ptp_core.ko"), module(""))
	command(t, dir, "xz", packed)

	archive := filepath.Join(dir, "initramfs")
	command(t, "../..", "scripts/kernels/initramfs.sh", modules, tests, archive)
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, unpacked, "sh", "-c", "gzip -dc ../initramfs | cpio --quiet -i")

	text, err := os.ReadFile(filepath.Join(unpacked, "modules/order"))
	if err != nil {
		t.Fatal(err)
	}
	order := strings.Fields(string(text))
	for _, pair := range [][2]string{
		{"llc", "stp"}, {"stp", "garp"}, {"garp", "8021q"}, {"mrp", "8021q"}, {"stp", "bridge"}, {"ptp_core", "veth"},
	} {
		first, second := slices.Index(order, pair[0]+".ko"), slices.Index(order, pair[1]+".ko")
		if first < 0 || second < 0 || first > second {
			t.Errorf("%s must come before %s: %v", pair[0], pair[1], order)
		}
	}
	if len(order) != 9 {
		t.Errorf("%d modules, want 9: %v", len(order), order)
	}
	for name, want := range map[string]string{
		"modules/veth.ko": module("ptp-core"), "init": "init", "tests/list": "a list",
	} {
		got, err := os.ReadFile(filepath.Join(unpacked, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// module is a file with the section .modinfo of a module.
func module(depends string) string {
	return "\x7fELF\x00license=GPL\x00depends=" + depends + "\x00name=any\x00"
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, dir, name string, arguments ...string) {
	t.Helper()
	cmd := exec.Command(name, arguments...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &out)
	}
}
