package engine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/telemetry"
)

// certified is a policy that allows by a certificate.
func certified(criterion string) string {
	return "mode: prevent\nrules: [{name: judged, action: allow, direction: outbound, layer4: {tcp: 443}, layer7: {tls: {certificate: {" + criterion + "}}}}]\n"
}

// byName is a server with a certificate for each name, and for those under it.
func byName(certificates map[string]tls.Certificate) *tls.Config {
	return &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, ok := certificates[h.ServerName]
		if _, name, under := strings.Cut(h.ServerName, "."); !ok && under {
			c, ok = certificates[name]
		}
		if !ok {
			return nil, fmt.Errorf("no certificate for %q", h.ServerName)
		}
		return &c, nil
	}}
}

// chains are certificates for names of which the good one is allowed.
func chains(t testing.TB) map[string]tls.Certificate {
	trusted, year := newAuthority(t, "Trusted CA"), 365*24*time.Hour
	return map[string]tls.Certificate{
		"good.example":    trusted.issue(t, "good.example", -time.Hour, year),
		"expired.example": trusted.issue(t, "expired.example", -2*year, -time.Hour),
		"other.example":   newAuthority(t, "Other CA").issue(t, "other.example", -time.Hour, year),
		"alone.example":   newAuthority(t, "alone.example").certificate,
	}
}

// apply puts another policy in force.
func (s *street) apply(t testing.TB, text string) {
	t.Helper()
	s.generation++
	if err := s.engine.Apply(s.generation, load(t, text), nil); err != nil {
		t.Fatal(err)
	}
}

// TestNothingBeforeTheProbe: nothing of a ClientHello of TLS 1.3 gets out before the
// server has shown its certificate to Weir, and nothing ever where it is the wrong one,
// however the hello is cut.
func TestNothingBeforeTheProbe(t *testing.T) {
	s := newStreet(t, certified("expired: false"), byName(chains(t)), nil)
	for _, k := range []struct{ criterion, blocked string }{
		{"expired: false", "expired.example"},
		{"issuer_names: Trusted CA", "other.example"},
		{"self_signed: false", "alone.example"},
		{"subject_names: good.example", "other.example"},
	} {
		t.Run(k.criterion, func(t *testing.T) {
			s.apply(t, certified(k.criterion))
			before := s.engine.Stats().Probe
			under := strings.ReplaceAll(k.criterion[:4], "_", "") + "."
			for _, version := range []int{4, 6} {
				for _, size := range []int{0, 700, 180} {
					for _, name := range []string{"good.example", k.blocked} {
						k := s.begin(t, errand{From: clientTo[version], To: serverAt[version], Name: under + name, Min: tls.VersionTLS13, Size: size})
						err := k.end(t)
						came := s.server.came(k.Local)
						switch {
						case name == "good.example" && err != nil:
							t.Errorf("IPv%d, pieces of %d: what is allowed: %v", version, size, err)
						case name != "good.example" && (err == nil || came > 0):
							t.Errorf("IPv%d, pieces of %d: %d bytes came of what is blocked: %v", version, size, came, err)
						}
					}
				}
			}
			// A probe for each name and address.
			stats := s.engine.Stats().Probe
			if stats.Probes["seen"]-before.Probes["seen"] != 4 || stats.Cached-before.Cached != 8 || stats.Running != 0 {
				t.Errorf("%+v", stats)
			}
		})
	}
	// All came from the address of the client, the probes too.
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	for _, from := range s.server.accepted {
		if from.Addr() != clientTo[4] && from.Addr() != clientTo[6] {
			t.Errorf("a connection came from %v", from)
		}
	}
}

// TestWhileProbing: the hello waits as long as the probe takes, and many wait for one.
func TestWhileProbing(t *testing.T) {
	shows := chains(t)
	config := byName(shows)
	release := make(chan struct{})
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { <-release; return nil, nil }
	s := newStreet(t, certified("issuer_names: Trusted CA"), config, nil)
	const many = 20
	var trips [many]*trip
	for i := range trips {
		trips[i] = s.begin(t, errand{From: clientAt[4], To: serverAt[4], Name: "good.example"})
	}
	time.Sleep(20 * pause)
	for _, k := range trips {
		if n := s.server.came(k.Local); n > 0 {
			t.Errorf("%d bytes came before the verdict", n)
		}
	}
	if n := s.server.taken(); n != many+1 {
		t.Errorf("%d connections came", n)
	}
	close(release)
	for _, k := range trips {
		if err := k.end(t); err != nil {
			t.Error(err)
		}
	}
}

// TestProbeFails: where the server does not show its certificate, on_error answers.
func TestProbeFails(t *testing.T) {
	config := byName(chains(t))
	var s *street
	var asked atomic.Bool
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case strings.HasSuffix(h.ServerName, "hang.example"):
			<-s.server.quit
		case strings.HasPrefix(h.ServerName, "shy.") && !asked.Swap(true):
			return nil, errors.New("not for a probe")
		}
		return nil, nil
	}
	s = newStreet(t, "", config, func(c *Config) { c.Inspect.MaxWait = 2 * time.Second })
	for i, k := range []struct {
		onError, name string
		passes        bool
		reason        telemetry.Reason
	}{
		{"{limit: block, not_seen: allow}", "hang.example", false, telemetry.ReasonLimit},
		{"{limit: block, not_seen: allow}", "shy.good.example", true, telemetry.ReasonNotSeen},
		{"{limit: block, not_seen: allow}", "unknown.example", true, telemetry.ReasonDefault}, // then it shows the client none
		{"{limit: allow, not_seen: block}", "unknown.example", false, telemetry.ReasonNotSeen},
		{"block", "good.example", true, telemetry.ReasonDefault},
		{"allow", "other.example", false, telemetry.ReasonRule},
	} {
		t.Run(k.onError+" "+k.name, func(t *testing.T) {
			s.apply(t, "mode: prevent\ndefault_action: allow\non_error: "+k.onError+
				"\nrules: [{name: bad, action: block, layer7: {tls: {certificate: {issuer_names: Other CA}}}}]\n")
			name := k.name
			if !strings.HasPrefix(name, "shy.") {
				name = fmt.Sprintf("n%d.%s", i, name)
			}
			trip := s.begin(t, errand{From: clientAt[6], To: serverAt[6], Name: name})
			err := trip.end(t)
			// A server that has no certificate for a name ends the handshake itself.
			if came := s.server.came(trip.Local); (came > 0) != k.passes {
				t.Errorf("%d bytes came: %v", came, err)
			}
			eventually(t, "a record of the handshake", func() bool {
				said := s.told.handshakes(name)
				return len(said) == 1 && said[0].Judgement.Reason == k.reason
			})
		})
	}
}

func (c *collector) handshakes(name string) (found []telemetry.Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.said {
		if e.TLS != nil && e.TLS.ServerName == name {
			found = append(found, e)
		}
	}
	return found
}

// TestNoProbe: nobody is asked where nothing is enforced, where the rest of the rule is
// false, or the certificate changes nothing.
func TestNoProbe(t *testing.T) {
	s := newStreet(t, "", byName(chains(t)), nil)
	const rule = "tls: {certificate: {issuer_names: Trusted CA}}"
	for name, k := range map[string]struct {
		policy string
		passes bool
	}{
		"detect":          {"mode: detect\nrules: [{name: judged, action: allow, layer7: {" + rule + "}}]\n", true},
		"shadow":          {"mode: prevent\nrules: [{name: judged, mode: detect, action: block, layer7: {" + rule + "}}, {name: all, action: allow}]\n", true},
		"without export":  {"safeguards: {export: false}\n" + certified("issuer_names: Trusted CA"), false},
		"another name":    {"mode: prevent\nrules: [{name: judged, action: allow, layer7: {tls: {server_names: a.example, certificate: {issuer_names: Trusted CA}}}}]\n", false},
		"another port":    {"mode: prevent\nrules: [{name: judged, action: allow, layer4: {tcp: 444}, layer7: {" + rule + "}}]\n", false},
		"allowed anyhow":  {"mode: prevent\nrules: [{name: one, action: allow, layer7: {" + rule + "}}, {name: all, action: allow}]\n", true},
		"blocked anyhow":  {"mode: prevent\nrules: [{name: one, action: block, layer7: {" + rule + "}}]\n", false},
		"only inbound":    {"mode: prevent\nrules: [{name: one, action: allow, direction: inbound, layer7: {" + rule + "}}]\n", false},
		"decided earlier": {"mode: prevent\nrules: [{name: old, action: block, layer7: {tls: {server_names: good.example}}}, {name: one, action: allow, layer7: {" + rule + "}}]\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			s.apply(t, k.policy)
			trip := s.begin(t, errand{From: clientAt[4], To: serverAt[4], Name: "good.example"})
			err := trip.end(t)
			// Without a probe the version has to be known first.
			if came := s.server.came(trip.Local); !k.passes && came > 0 && name != "without export" {
				t.Errorf("%d bytes came of what is blocked", came)
			}
			if (err == nil) != k.passes {
				t.Error(err)
			}
			if n := s.engine.Stats().Probe; n.Probes["seen"] > 0 {
				t.Errorf("the server was asked: %+v", n)
			}
		})
	}
}

// TestProbeOff: where servers are not asked, on_error answers.
func TestProbeOff(t *testing.T) {
	s := newStreet(t, certified("issuer_names: Trusted CA"), byName(chains(t)), func(c *Config) { c.Inspect.CertificateProbe = false })
	for _, passes := range []bool{false, true} {
		if passes {
			s.apply(t, "mode: prevent\ndefault_action: allow\non_error: {not_seen: allow}\nrules: [{name: bad, action: block, layer7: {tls: {certificate: {issuer_names: Other CA}}}}]\n")
		}
		taken := s.server.taken()
		err := s.begin(t, errand{From: clientAt[4], To: serverAt[4], Name: "good.example"}).end(t)
		if (err == nil) != passes {
			t.Errorf("it passes: %v", err)
		}
		if n := s.server.taken() - taken; n > 1 {
			t.Errorf("%d connections came", n)
		}
	}
}

// TestWireOutweighsProbe: a certificate that the wire shows counts, whatever the probe
// was shown.
func TestWireOutweighsProbe(t *testing.T) {
	shows := chains(t)
	s := newStreet(t, certified("issuer_names: Trusted CA"), &tls.Config{Certificates: []tls.Certificate{shows["good.example"]}}, nil)
	if err := s.begin(t, errand{From: clientAt[4], To: serverAt[4], Name: "any.example"}).end(t); err != nil {
		t.Fatal(err)
	}
	s.server.mu.Lock()
	s.server.config = &tls.Config{Certificates: []tls.Certificate{shows["other.example"]}, MaxVersion: tls.VersionTLS12}
	s.server.mu.Unlock()
	k := s.begin(t, errand{From: clientAt[4], To: serverAt[4], Name: "any.example"})
	if err := k.end(t); err == nil {
		t.Error("the other certificate is taken")
	}
	if s.server.came(k.Local) == 0 {
		t.Error("the hello did not get there")
	}
	eventually(t, "a record of the handshakes", func() bool {
		said := s.told.handshakes("any.example")
		return len(said) == 2 && said[0].TLS.CertificateSource == telemetry.CertificateFromProbe && said[0].TLS.Issuer == "CN=Trusted CA" &&
			said[0].Judgement.Verdict == telemetry.Allowed &&
			said[1].TLS.CertificateSource == telemetry.CertificateFromWire && said[1].TLS.Issuer == "CN=Other CA" &&
			said[1].Judgement.Verdict == telemetry.Blocked
	})
}

// TestAskedTwice: a server that asks the client for another hello is judged like any.
func TestAskedTwice(t *testing.T) {
	shows := chains(t)
	config := byName(shows)
	config.CurvePreferences = []tls.CurveID{tls.CurveP384}
	s := newStreet(t, "", config, nil)
	for _, criterion := range []string{"certificate: {issuer_names: Trusted CA}", `versions: "1.3"`} {
		s.apply(t, "mode: prevent\nrules: [{name: judged, action: allow, layer7: {tls: {"+criterion+"}}}]\n")
		if err := s.begin(t, errand{From: clientAt[4], To: serverAt[4], Name: "good.example"}).end(t); err != nil {
			t.Errorf("%s: %v", criterion, err)
		}
	}
}

// TestProbeQUIC: QUIC is judged by what the server shows by QUIC.
func TestProbeQUIC(t *testing.T) {
	s := newStreet(t, "mode: prevent\nrules: [{name: judged, action: allow, direction: outbound, layer7: {tls: {versions: \"1.3\", certificate: {issuer_names: Trusted CA}}}}]\n", byName(chains(t)), nil)
	for _, version := range []int{4, 6} {
		for name, passes := range map[string]bool{"good.example": true, "other.example": false} {
			k := s.begin(t, errand{From: clientTo[version], To: serverAt[version], Name: name, QUIC: true})
			err := k.end(t)
			if (err == nil) != passes {
				t.Errorf("IPv%d, %s: %v", version, name, err)
			}
			if came := s.server.came(k.Local); (came > 0) != passes {
				t.Errorf("IPv%d, %s: %d bytes came", version, name, came)
			}
			eventually(t, "a record of the handshake", func() bool {
				said := s.told.handshakes(name)
				last := len(said) - 1
				return last >= 0 && said[last].Connection.Tuple.Destination == serverAt[version] && said[last].Protocol == "quic" &&
					said[last].TLS.CertificateSource == telemetry.CertificateFromProbe && (said[last].Judgement.Verdict == telemetry.Allowed) == passes
			})
		}
	}
	if stats := s.engine.Stats().Probe; stats.Probes["seen"] != 4 {
		t.Errorf("%+v", stats)
	}
}

// TestResumed: what a session that goes on does not show again is remembered, or asked
// for.
func TestResumed(t *testing.T) {
	s := newStreet(t, "", byName(chains(t)), nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s.apply(t, certified("issuer_names: Trusted CA"))
			name := fmt.Sprintf("v%d.good.example", version)
			again := func(v int) error {
				return s.begin(t, errand{From: clientAt[v], To: serverAt[v], Name: name, Max: version, Session: true}).end(t)
			}
			for range 2 {
				if err := again(4); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "records of the handshakes", func() bool {
				said := s.told.handshakes(name)
				return len(said) == 2 && said[1].TLS.Resumed && said[1].TLS.Issuer == "CN=Trusted CA" &&
					said[1].TLS.CertificateSource == telemetry.CertificateFromCache
			})
			// At another address nobody has seen it.
			if err := again(6); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a record of the handshake", func() bool {
				said := s.told.handshakes(name)
				return len(said) == 3 && said[2].TLS.Resumed && said[2].TLS.CertificateSource == telemetry.CertificateFromProbe
			})
			// Where it is the wrong one by now, the session does not go on.
			s.apply(t, certified("issuer_names: Other CA"))
			if err := again(4); err == nil {
				t.Error("it goes on")
			}
		})
	}
}
