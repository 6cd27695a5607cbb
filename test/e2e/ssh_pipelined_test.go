package e2e

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TestSSHKeysSentAhead: a command that a client sends along with its login, before it can
// know what becomes of that, is not executed where the key is blocked. sshd has it by
// then: it executes that of a key that is allowed.
func TestSSHKeysSentAhead(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := netip.AddrPortFrom(l.address(l.a, ipv4, 0), 2222)
	s := startSSHD(t, l.a, at, "/usr/sbin/sshd", "", "good", "bad")
	w := start(t, l.a, config{policy: string(noBadKey(t, s)), receiver: sshServers()})
	for _, c := range []struct {
		name, key string
		executes  bool
	}{
		{"by a key that is blocked", "bad", false},
		{"by a key that is allowed", "good", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, trace := len(s.log()), s.file(c.key+".trace")
			behind, err := l.b.dialSSH(t, at).execAhead("root", s.signer(t, c.key), "touch "+trace)
			if err != nil {
				t.Fatalf("%v; sshd says\n%s", err, s.log())
			}
			s.awaitIdle(t)
			said := s.log()[before:]
			if !strings.Contains(said, "Accepted publickey for root") {
				t.Errorf("sshd has not accepted the key:\n%s", said)
			}
			if began := strings.Contains(said, "Starting session"); began != c.executes {
				t.Errorf("sshd began a session: %t, want %t:\n%s", began, c.executes, said)
			}
			if _, err := os.Stat(trace); (err == nil) != c.executes {
				t.Errorf("the command was executed: %t, want %t (%v)", err == nil, c.executes, err)
			}
			if (behind > 0) != c.executes {
				t.Errorf("%d bytes came from sshd after the login", behind)
			}
		})
	}
	w.awaitRecord(t, "the connection that is blocked by the rule", func(r record) bool {
		return r.event == "weir.connection.verdict" && r.str("weir.verdict") == "blocked" && r.str("security_rule.name") == "no-key"
	})
}
