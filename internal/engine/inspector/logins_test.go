package inspector_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
)

const (
	keyA = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	keyB = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"
	keyC = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"

	serverBanner = "SSH-2.0-OpenSSH_9.6\r\n"
	clientBanner = "SSH-2.0-Go\r\n"
)

// sshd is an SSH server of this host as it would tell of logins.
type sshd struct {
	login    inspector.Login
	asked    int
	added    []inspector.LoginVerdicts
	judges   uint32
	forgot   int
	numbered uint32
}

func (s *sshd) Login(*inspector.Connection) inspector.Login { s.asked++; return s.login }
func (s *sshd) Judge(_ packet.Tuple, v uint32)              { s.judges = v }
func (s *sshd) Add(v inspector.LoginVerdicts) uint32 {
	s.added = append(s.added, v)
	s.numbered++
	return s.numbered
}
func (s *sshd) Forget(packet.Tuple)        { s.forgot++ }
func (s *sshd) config(c *inspector.Config) { c.Logins, c.LateWait = s, 150*time.Second }
func inbound(c *inspector.Connection)      { c.Direction = packet.Inbound }
func keys(rules string) string             { return "mode: prevent\nrules:\n" + rules }
func rule(name, action, key string) string {
	return "  - {name: " + name + ", action: " + action + ", layer7: {ssh: {public_keys: ['" + key + "']}}}\n"
}

func opened(w *world, to func(*inspector.Connection)) *talk {
	k := w.connect(22, to)
	k.segment(0, packet.SYN, "")
	k.segment(1, packet.SYN|packet.ACK, "")
	k.segment(0, packet.ACK, "")
	return k
}

// TestLogin: what both ends say passes until somebody has logged in, and the key decides.
func TestLogin(t *testing.T) {
	text := keys(rule("one", "allow", keyA) + rule("two", "block", keyB))
	for name, c := range map[string]struct {
		policy string
		login  inspector.Login
		want   string
		passes inspector.Extent
	}{
		"an allowed key": {text, inspector.Login{State: inspector.LoginKey, Key: keyA}, "allow rule one", inspector.All},
		"a blocked key":  {text, inspector.Login{State: inspector.LoginKey, Key: keyB}, "block rule two", inspector.Nothing},
		"another key":    {text, inspector.Login{State: inspector.LoginKey, Key: keyC}, "block default", inspector.Nothing},
		"a password":     {text, inspector.Login{State: inspector.LoginNoKey}, "block default", inspector.Nothing},
		"a password, and the rest is allowed": {
			"default_action: allow\n" + text, inspector.Login{State: inspector.LoginNoKey}, "allow default", inspector.All,
		},
		"not told, and the rest is allowed": {
			"default_action: allow\n" + text, inspector.Login{State: inspector.LoginUnseen}, "block error.not_seen two", inspector.Nothing,
		},
		"forgotten": {"default_action: allow\n" + text, inspector.Login{}, "block error.not_seen two", inspector.Nothing},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sshd{login: inspector.Login{State: inspector.LoginAwaited}}
			w := newWorld(t, c.policy, s.config)
			k := opened(w, inbound)
			if _, how := w.Judged(1, 0); how != inspector.Part {
				t.Errorf("the client's first bytes would pass: %v", how)
			}
			k.client(clientBanner).server(serverBanner)
			for range 5 {
				k.client("\x00\x00\x00\x0c encrypted").server("encrypted")
				for end := range 2 {
					if _, how := w.Judged(1, end); how != inspector.All {
						t.Fatalf("before the login, of end %d passes %v", end, how)
					}
				}
			}
			w.expect("before the login", k.verdict(), "pending")
			s.login = c.login
			k.server("the session")
			w.expect("after the login", k.verdict(), c.want)
			if _, how := w.Judged(1, 1); how != c.passes {
				t.Errorf("after the login, of the session passes %v, want %v", how, c.passes)
			}
			if s.forgot != 1 {
				t.Errorf("the login was forgotten %d times", s.forgot)
			}
			if c.login.Key != "" && (len(w.said) != 1 || w.said[0].SSH.ClientKey != c.login.Key) {
				t.Errorf("the record does not tell the key: %+v", w.said)
			}
		})
	}
}

// TestLoginOutOfOrder: what comes after a login is found out before it passes, also where
// bytes before it are missing.
func TestLoginOutOfOrder(t *testing.T) {
	s := &sshd{login: inspector.Login{State: inspector.LoginAwaited}}
	w := newWorld(t, keys(rule("one", "allow", keyA)), s.config)
	k := opened(w, inbound).client(clientBanner).server(serverBanner)
	s.login = inspector.Login{State: inspector.LoginKey, Key: keyB}
	k.next[1] += 1000
	k.server("the session")
	w.expect("after the login", k.verdict(), "block default")
}

// TestLoginUntold: where nobody can tell of a login, nothing is waited for.
func TestLoginUntold(t *testing.T) {
	text := keys(rule("one", "allow", keyA))
	for name, c := range map[string]struct {
		login  inspector.Login
		to     func(*inspector.Connection)
		nobody bool
	}{
		"no such sshd":   {to: inbound},
		"another host's": {login: inspector.Login{State: inspector.LoginKey, Key: keyA}, to: func(*inspector.Connection) {}},
		"nobody tells":   {to: inbound, nobody: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sshd{login: c.login}
			config := s.config
			if c.nobody {
				config = nil
			}
			w := newWorld(t, text, config)
			k := opened(w, c.to).client(clientBanner).server(serverBanner)
			if c.nobody {
				k.client("encrypted").server("encrypted")
			}
			w.expect("verdict", k.verdict(), "block default")
		})
	}
}

// TestLoginTooLate: a login is not waited for without end, nor where bytes came twice with
// two contents.
func TestLoginTooLate(t *testing.T) {
	s := &sshd{login: inspector.Login{State: inspector.LoginAwaited}}
	w := newWorld(t, "default_action: allow\n"+keys(rule("one", "block", keyA)), s.config)
	k := opened(w, inbound).client(clientBanner).server(serverBanner)
	for range 150 {
		w.now = w.now.Add(time.Second)
		w.Expire(w.now)
		w.take()
	}
	w.expect("after 150 s", k.verdict(), "pending")
	w.now = w.now.Add(time.Second)
	w.Expire(w.now)
	w.take()
	w.expect("after 151 s", k.verdict(), "block error.limit one")

	k = opened(w, inbound).client(clientBanner).server(serverBanner)
	k.client("some bytes")
	k.next[0] -= 4
	k.client("other bytes")
	w.expect("two contents", k.verdict(), "block error.malformed one")
}

// TestLoginIdle: a login is found out without a packet of the connection.
func TestLoginIdle(t *testing.T) {
	s := &sshd{login: inspector.Login{State: inspector.LoginAwaited}}
	w := newWorld(t, keys(rule("one", "allow", keyA)), s.config)
	k := opened(w, inbound).client(clientBanner).server(serverBanner)
	s.login = inspector.Login{State: inspector.LoginKey, Key: keyA}
	w.Expire(w.now.Add(time.Second))
	w.take()
	w.expect("verdict", k.verdict(), "allow rule one")
}

// TestLoginVerdicts: what becomes of a login is known before it, by every key that makes a
// difference, and anew with each policy.
func TestLoginVerdicts(t *testing.T) {
	s := &sshd{login: inspector.Login{State: inspector.LoginAwaited}}
	w := newWorld(t, keys(rule("one", "allow", keyA+"', '"+keyC)+rule("two", "block", keyB)), s.config)
	opened(w, inbound).client(clientBanner).server(serverBanner)
	want := []inspector.LoginVerdicts{{WithoutKey: true, AnyKey: true, Keys: map[string]bool{keyA: false, keyB: true, keyC: false}}}
	if !reflect.DeepEqual(s.added, want) || s.judges != 1 {
		t.Errorf("%+v, of which number %d counts", s.added, s.judges)
	}
	opened(w, inbound).client(clientBanner).server(serverBanner)
	if len(s.added) != 1 || s.judges != 1 {
		t.Errorf("the same verdicts were added again: %+v", s.added)
	}
	s.added = nil
	w.apply("default_action: allow\n" + keys(rule("one", "block", keyA)))
	want = []inspector.LoginVerdicts{{Keys: map[string]bool{keyA: true}}}
	if !reflect.DeepEqual(s.added, want) || s.judges != 2 {
		t.Errorf("by the next policy: %+v, of which number %d counts", s.added, s.judges)
	}
	s.added = nil
	w.apply("rules:\n" + rule("one", "block", keyA))
	if len(s.added) != 0 {
		t.Errorf("in detect mode: %+v", s.added)
	}
}

// TestLoginShadow: for a shadow rule nothing is held, ended or cut.
func TestLoginShadow(t *testing.T) {
	s := &sshd{login: inspector.Login{State: inspector.LoginAwaited}}
	w := newWorld(t, "mode: prevent\nrules:\n  - {name: one, action: block, mode: detect, layer7: {ssh: {public_keys: '"+keyA+"'}}}\n  - {name: rest, action: allow}\n", s.config)
	k := opened(w, inbound).client(clientBanner).server(serverBanner)
	for _, v := range s.added {
		if v.WithoutKey || v.AnyKey || v.Keys[keyA] {
			t.Errorf("logins are ended for a shadow rule: %+v", v)
		}
	}
	s.login = inspector.Login{State: inspector.LoginKey, Key: keyA}
	k.server("the session")
	w.expect("verdict", k.verdict(), "allow rule rest, shadow block one")
	if _, how := w.Judged(1, 1); how != inspector.All {
		t.Errorf("it is held: %v", how)
	}
}
