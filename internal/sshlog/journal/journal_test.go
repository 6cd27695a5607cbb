package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/internal/sshlog"
)

const sum = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"

// TestJournal: of the entries that journalctl gives those count that the fields of
// journald say are sshd's.
func TestJournal(t *testing.T) {
	defer goleak.VerifyNone(t)
	line := func(uid, exe, message string) string {
		return fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"1795965349638123","__CURSOR":"s=1","_UID":%q,"_EXE":%q,"MESSAGE":%q}`, uid, exe, message)
	}
	accepted := func(user string) string {
		return "Accepted publickey for " + user + " from 192.0.2.7 port 4242 ssh2: ED25519 " + sum
	}
	dir := t.TempDir()
	lines := strings.Join([]string{
		line("1000", "/usr/sbin/sshd", accepted("a")),
		line("0", "/usr/bin/logger", accepted("b")),
		line("0", "/usr/sbin/sshd", accepted("c")+" [preauth]"),
		line("0", "/usr/sbin/sshd", "Connection closed by 192.0.2.7 port 4242"),
		`{"__REALTIME_TIMESTAMP":"1795965349638123","__CURSOR":"s=1","_UID":["0","0"],"_EXE":"/usr/sbin/sshd","MESSAGE":"` + accepted("d") + `"}`,
		`{"__REALTIME_TIMESTAMP":"1795965349638123","__CURSOR":"s=1","_UID":"0","_EXE":"/usr/sbin/sshd","MESSAGE":[65,99]}`,
		"no JSON",
		line("0", "/usr/sbin/sshd", accepted("root")),
	}, "\n")
	if err := os.WriteFile(filepath.Join(dir, "lines"), []byte(lines+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	journalctl := filepath.Join(dir, "journalctl")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >%s/arguments\ncat %s/lines\nexec sleep 60\n", dir, dir)
	if err := os.WriteFile(journalctl, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	entries := make(chan sshlog.Entry, 10)
	j, err := Follow(journalctl, []string{"/usr/sbin/sshd", "/usr/lib/openssh/sshd-session"}, func(e sshlog.Entry) { entries <- e }, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	want := sshlog.Entry{Login: sshlog.Login{Key: sum, Address: "192.0.2.7", Port: 4242}, Time: time.UnixMicro(1795965349638123)}
	select {
	case got := <-entries:
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Error("no login is told")
	}
	if err := j.Stop(); err != nil {
		t.Error(err)
	}
	arguments, _ := os.ReadFile(filepath.Join(dir, "arguments"))
	const asked = "--lines=0 --priority debug _EXE=/usr/sbin/sshd _UID=0 + _EXE=/usr/lib/openssh/sshd-session _UID=0"
	if !strings.Contains(string(arguments), asked) {
		t.Errorf("journalctl is asked for %q, want %q in it", arguments, asked)
	}
	if len(entries) > 0 {
		t.Errorf("and %+v", <-entries)
	}
}

func TestJournalMissing(t *testing.T) {
	if _, err := Follow("/no/such/journalctl", nil, nil, zaptest.NewLogger(t)); err == nil || !strings.Contains(err.Error(), "/no/such/journalctl") {
		t.Errorf("error %v, want which program is missing", err)
	}
}
