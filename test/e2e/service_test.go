package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestService runs the Collector with the rights that the systemd unit gives it,
// and no others: it says when it is ready, enforces, survives a kill and an upgrade
// to other map layouts, and starts with the last good policy where what is
// configured is broken.
func TestService(t *testing.T) {
	t.Parallel()
	setpriv := tool(t, "setpriv")
	unit, err := os.ReadFile("../../packaging/systemd/weir.service")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if match == nil || !strings.Contains(string(unit), "\nType=notify\n") {
		t.Fatal("the unit says nothing of capabilities, or of readiness")
	}
	set := "-all"
	for capability := range strings.FieldsSeq(string(match[1])) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(capability, "CAP_"))
	}
	l := newLab(t)
	p := newPolicy(t, shut8080)
	api, socket := apiOf(t)
	w := &weir{dir: t.TempDir(), host: l.a, partial: true, config: config{
		policy: string(p), checked: true, extensions: api,
		extension: fmt.Sprintf("audit: {path: %q}", filepath.Join(t.TempDir(), "log", "audit.log")),
	}}
	w.logs.path = signalFile(w.dir, "logs")
	if err := os.WriteFile(w.file("config.yaml"), []byte(w.config.yaml(w.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.file("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		manager.Close()
		w.stop(t)
		if t.Failed() {
			t.Logf("the Collector's log:\n%s", tail(w.log(), 30))
		}
	})
	run := func(binary string) {
		t.Helper()
		ready := strings.Count(w.log(), readyLine)
		w.begin(t, "/usr/bin/env", "NOTIFY_SOCKET="+w.file("notify"), setpriv, "--no-new-privs",
			"--bounding-set", set, "--inh-caps", "-all", binary, "--config", w.file("config.yaml"))
		message := make([]byte, 100)
		manager.SetReadDeadline(time.Now().Add(patience))
		n, err := manager.Read(message)
		if err != nil || string(message[:n]) != "READY=1" {
			t.Fatalf("the service manager is told %q, %v", message[:n], err)
		}
		if in, out := l.a.attached(t, nearName); in != 1 || out != 1 {
			t.Fatalf("ready with %d programs in ingress, %d in egress", in, out)
		}
		w.awaitReady(t, ready+1)
		l.enforces(t, shut8080)
		if h := callAPI(t, socket, "/v1/health"); h["mode"] != "prevent" {
			t.Errorf("health: %v", h)
		}
	}
	run(weirBinary(t))
	kept := l.connect(t, l.a, l.b, netip.AddrPortFrom(l.address(l.b, ipv4, 1), 9090))
	kept.chat(t)

	w.kill(t)
	l.enforces(t, shut8080)
	p.replace(t, "mode: prevnt\n")
	run(weirBinary(t))
	kept.chat(t)
	w.awaitLog(t, "The last good one is in force instead")
	w.awaitChange(t, "refused", 0)
	if files, err := filepath.Glob(w.file("state/*.policy.tar")); err != nil || len(files) != 1 {
		t.Errorf("kept: %v, %v", files, err)
	}

	p.replace(t, shut8080)
	w.stop(t)
	other, err := otherBinary()
	if err != nil {
		t.Fatal(err)
	}
	run(other)
	w.awaitLog(t, "The hooks were taken over from an earlier Weir.")
	kept.chat(t)
}
