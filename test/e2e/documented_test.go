package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// shellBlock is the shell block of a page that has some words in it.
func shellBlock(t *testing.T, page, words string) string {
	t.Helper()
	text, err := os.ReadFile(inRoot(t, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], words) {
			return m[1]
		}
	}
	t.Fatalf("%s has no commands with %q any more", page, words)
	return ""
}

// standIns are what a host has and a namespace has not: a service manager, which starts
// what the unit says, sudo, and an editor that changes the mode.
const standIns = `
cd %s
make() { test "$*" = "build weirctl"; }
sudo() { "$@"; }
sudoedit() { sed -i 's/^mode: .*/mode: prevent/' "$1"; }
tail() { test "$1" = -f && shift; command tail "$@"; }
systemctl() {
  case "$*" in
  daemon-reload) ;;
  "enable --now weir")
    test -z "$weir" || return 0
    $(sed -n 's/^ExecStart=.usr.bin.//p' /etc/systemd/system/weir.service) 2> /var/log/weir.log &
    weir=$!
    for i in $(seq 300); do weirctl status --exit-code > /dev/null 2>&1 && return; sleep 0.1; done; return 1 ;;
  "stop weir") kill "$weir"; for i in $(seq 200); do kill -0 "$weir" 2>/dev/null || { weir=; return 0; }; sleep 0.1; done; command tail -n 12 /var/log/weir.log; return 1 ;;
  *) return 1 ;;
  esac
}`

// TestDocumentedService types what docs/operations.md and docs/install.md have for a
// host with systemd: install, look at the policy, start, take all away.
func TestDocumentedService(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bash", "install"} {
		tool(t, name)
	}
	needKernel(t)
	h, outside := newHost(t), newHost(t)
	wire(t, h, "eth0", outside, "eth0")
	h.address(t, "eth0", "192.0.2.10/24")
	s := h.shell(t)
	run := func(commands string) string {
		t.Helper()
		// The folder of /usr/bin that only this host has.
		commands = strings.ReplaceAll(commands, " /usr/bin/", " ${PATH%%:*}/")
		printed := s.run(t, "set -e; "+commands+"\nset +e; echo done", nil)
		if !strings.HasSuffix(printed, "done\n") {
			t.Fatalf("%s\nprints\n%s\n%s", commands, printed, s.run(t, "tail -n 5 /var/log/weir.log", nil))
		}
		return printed
	}
	run(fmt.Sprintf(standIns, inRoot(t, ".")))
	run("rm ${PATH%%:*}/weir ${PATH%%:*}/weirctl; mkdir -p /etc/systemd/system")
	install := shellBlock(t, "docs/operations.md", "install -m 755")
	run(strings.Replace(install, "bin/weir bin/weirctl", weirBinary(t)+" "+weirctlBinary(t), 1))
	if in, out := h.attached(t, "eth0"); in != 1 || out != 1 {
		t.Errorf("the service runs with %d programs in ingress, %d in egress", in, out)
	}
	if printed := run(shellBlock(t, "docs/install.md", "sudoedit")); !containsAll(printed, []string{"/etc/weir/policy.yaml: ok", " start "}) {
		t.Errorf("it prints\n%s", printed)
	}
	await(t, "the policy to be in force", func() bool { return strings.Contains(run("weirctl status"), "prevent") })
	if printed := run(shellBlock(t, "docs/operations.md", "weirctl unload")); !strings.Contains(printed, "removed /sys/fs/bpf/weir/net-") {
		t.Errorf("it takes nothing away:\n%s", printed)
	}
	if in, out := h.attached(t, "eth0"); in+out != 0 {
		t.Errorf("%d programs are left in ingress, %d in egress", in, out)
	}
}
