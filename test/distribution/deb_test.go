package distribution

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDebianPackage makes the package and unpacks it: what it installs is closed as
// Weir wants it, the configuration is accepted, and the policy blocks nothing yet.
func TestDebianPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is missing: not Debian")
	}
	built, tree := t.TempDir(), t.TempDir()
	if err := os.Symlink(binary(t), filepath.Join(built, "weir")); err != nil {
		t.Fatal(err)
	}
	run(t, root(t), "go", "build", "-ldflags=-s -w", "-o", filepath.Join(built, "weirctl"), "./cmd/weirctl")
	t.Setenv("DPKG_DEB_COMPRESSOR_TYPE", "none") // half a minute of a processor's
	deb := strings.TrimSpace(run(t, root(t), "scripts/deb.sh", built))
	list := run(t, root(t), "dpkg-deb", "--contents", deb)
	for name, mode := range map[string]string{
		"./usr/bin/weir":                          "-rwxr-xr-x root/root",
		"./usr/bin/weirctl":                       "-rwxr-xr-x root/root",
		"./usr/lib/systemd/system/weir.service":   "-rw-r--r-- root/root",
		"./etc/weir/":                             "drwx------ root/root",
		"./etc/weir/config.yaml":                  "-rw------- root/root",
		"./etc/weir/policy.yaml":                  "-rw------- root/root",
		"./usr/share/doc/weir/copyright":          "-rw-r--r-- root/root",
		"./usr/share/doc/weir/docs/operations.md": "-rw-r--r-- root/root",
	} {
		found := false
		for line := range strings.Lines(list) {
			line = strings.TrimSpace(line)
			found = found || strings.HasPrefix(line, mode+" ") && strings.HasSuffix(line, " "+name)
		}
		if !found {
			t.Errorf("no %s %s in:\n%s", mode, name, list)
		}
	}
	if got := run(t, root(t), "dpkg-deb", "--info", deb, "conffiles"); got != "/etc/weir/config.yaml\n/etc/weir/policy.yaml\n" {
		t.Errorf("conffiles: %q", got)
	}

	run(t, root(t), "dpkg-deb", "--raw-extract", deb, tree)
	run(t, tree, "md5sum", "--quiet", "--check", "DEBIAN/md5sums")
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, tree, "sh", "-n", filepath.Join("DEBIAN", script))
	}
	run(t, tree, "usr/bin/weir", "validate", "--config", "etc/weir/config.yaml")
	if out := run(t, tree, "usr/bin/weirctl", "policy", "check", "etc/weir/policy.yaml"); !strings.Contains(out, "mode detect") || strings.Contains(out, "warning") {
		t.Errorf("the policy: %s", out)
	}
	unit, err := os.ReadFile(filepath.Join(tree, "usr/lib/systemd/system/weir.service"))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/usr/bin/weir --config /etc/weir/config.yaml\n") {
		t.Errorf("the unit starts something else: %v", err)
	}
}
