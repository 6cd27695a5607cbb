package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var sshTalks = []talk{{
	name: "ssh", transport: "tcp", port: 8031, protocol: "ssh", run: sshLogin,
	exchanges: []said{{action: "allow", rule: "shell", attributes: map[string]any{
		"event": "weir.ssh.handshake", "network.protocol.name": "ssh", "network.protocol.version": "2.0",
		"weir.ssh.client.software": present, "weir.ssh.server.software": present, "weir.ssh.hassh": present,
		"weir.ssh.server.host_key.fingerprint": present,
	}}},
	action: "allow", rule: "shell",
}}

// sshLogin connects to an sshd with a host key of its own, which refuses the login.
func sshLogin(t *testing.T, p passage, at netip.AddrPort) {
	ssh, sshd, keygen := tool(t, "ssh"), tool(t, "/usr/sbin/sshd"), tool(t, "ssh-keygen")
	dir := t.TempDir()
	key := filepath.Join(dir, "host")
	if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	// It separates privileges in there.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("ListenAddress %v\nHostKey %s\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n", at, key)
	if err := os.WriteFile(key+".conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.to.spawn(t, p.to.command(t, sshd, "-D", "-e", "-f", key+".conf"))
	p.to.awaitListening(t, at)
	out, err := p.from.output(t, ssh, "-F", "none", "-p", fmt.Sprint(at.Port()), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-i", "/dev/null", "nobody@"+at.Addr().String(), "true")
	if err == nil || !strings.Contains(out, "Permission denied") {
		t.Fatalf("ssh says %q, %v", out, err)
	}
}
