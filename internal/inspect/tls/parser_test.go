package tls

import (
	gotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

func kinds(messages []Message) (all []Kind) {
	for _, m := range messages {
		all = append(all, m.Kind)
	}
	return all
}

type handshakeCase struct {
	name           string
	client, server func(c *gotls.Config)
	version        string
	suite          string // where it is fixed
	kinds          []Kind
	sni            policy.Fact[string]
	alpn           string
	certificate    policy.Fact[policy.CertificateFacts] // its state and cause
	established    bool
	retried        bool
}

func versions(low, high uint16) func(c *gotls.Config) {
	return func(c *gotls.Config) { c.MinVersion, c.MaxVersion = low, high }
}

func handshakeCases() []handshakeCase {
	known := policy.Fact[policy.CertificateFacts]{State: policy.Known}
	hidden := policy.Lost[policy.CertificateFacts](policy.NotSeen)
	name := policy.Is("www.example.net")
	full := []Kind{ClientHello, ServerHello, Certificate, Established}
	short := []Kind{ClientHello, ServerHello, Established}
	return []handshakeCase{
		{name: "TLS 1.0", client: versions(gotls.VersionTLS10, gotls.VersionTLS10), version: "1.0", kinds: full, sni: name, certificate: known, established: true},
		{name: "TLS 1.1", client: versions(gotls.VersionTLS11, gotls.VersionTLS11), version: "1.1", kinds: full, sni: name, certificate: known, established: true},
		{name: "TLS 1.2", client: versions(gotls.VersionTLS12, gotls.VersionTLS12), version: "1.2", kinds: full, sni: name, certificate: known, established: true},
		{
			name: "TLS 1.2, ALPN", version: "1.2", kinds: full, sni: name, certificate: known, established: true, alpn: "h2",
			client: func(c *gotls.Config) { c.MaxVersion, c.NextProtos = gotls.VersionTLS12, []string{"h2", "http/1.1"} },
			server: func(c *gotls.Config) { c.NextProtos = []string{"h2"} },
		},
		{
			name: "TLS 1.2, client authentication", version: "1.2", kinds: full, sni: name, certificate: known, established: true,
			client: func(c *gotls.Config) {
				c.MaxVersion, c.Certificates = gotls.VersionTLS12, []gotls.Certificate{identity().server}
			},
			server: func(c *gotls.Config) { c.ClientAuth = gotls.RequireAnyClientCert },
		},
		{
			name: "TLS 1.2, a certificate of 64 kB over many records", version: "1.2", kinds: full, certificate: known, established: true,
			client: func(c *gotls.Config) { c.MaxVersion, c.ServerName = gotls.VersionTLS12, "big.example.net" },
			server: func(c *gotls.Config) { c.Certificates = []gotls.Certificate{identity().other} },
			sni:    policy.Is("big.example.net"),
		},
		{
			name: "TLS 1.2, one suite", version: "1.2", suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", kinds: full, sni: name, certificate: known, established: true,
			client: func(c *gotls.Config) {
				c.MaxVersion, c.CipherSuites = gotls.VersionTLS12, []uint16{gotls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
			},
		},
		{name: "TLS 1.3", version: "1.3", kinds: short, sni: name, certificate: hidden, established: true},
		{
			name: "TLS 1.3, client authentication", version: "1.3", kinds: short, sni: name, certificate: hidden, established: true,
			client: func(c *gotls.Config) { c.Certificates = []gotls.Certificate{identity().server} },
			server: func(c *gotls.Config) { c.ClientAuth = gotls.RequireAnyClientCert },
		},
		{
			name: "TLS 1.3, HelloRetryRequest", version: "1.3", sni: name, certificate: hidden, established: true, retried: true,
			kinds:  []Kind{ClientHello, HelloRetryRequest, ClientHello, ServerHello, Established},
			client: func(c *gotls.Config) { c.CurvePreferences = []gotls.CurveID{gotls.X25519, gotls.CurveP384} },
			server: func(c *gotls.Config) { c.CurvePreferences = []gotls.CurveID{gotls.CurveP384} },
		},
		{
			name: "no name", version: "1.3", kinds: short, sni: policy.Missing[string](), certificate: hidden, established: true,
			client: func(c *gotls.Config) { c.InsecureSkipVerify, c.ServerName = true, "192.0.2.1" },
		},
		{
			name: "refused version", kinds: []Kind{ClientHello, Alert}, sni: name, certificate: policy.Missing[policy.CertificateFacts](),
			client: versions(gotls.VersionTLS10, gotls.VersionTLS11), server: versions(gotls.VersionTLS13, gotls.VersionTLS13),
		},
		{
			name: "TLS 1.2, refused certificate", version: "1.2", kinds: []Kind{ClientHello, ServerHello, Certificate, Alert}, sni: name, certificate: known,
			client: func(c *gotls.Config) { c.MaxVersion, c.RootCAs = gotls.VersionTLS12, x509.NewCertPool() },
		},
		{
			name: "TLS 1.3, refused certificate", version: "1.3", kinds: []Kind{ClientHello, ServerHello}, sni: name, certificate: hidden,
			client: func(c *gotls.Config) { c.RootCAs = x509.NewCertPool() },
		},
	}
}

func (c *handshakeCase) configs() (client, server *gotls.Config) {
	client = &gotls.Config{RootCAs: identity().roots, ServerName: "www.example.net", MinVersion: gotls.VersionTLS10}
	server = &gotls.Config{Certificates: []gotls.Certificate{identity().server}, MinVersion: gotls.VersionTLS10}
	if c.client != nil {
		c.client(client)
	}
	if c.server != nil {
		c.server(server)
	}
	return client, server
}

func TestHandshakes(t *testing.T) {
	for _, test := range handshakeCases() {
		t.Run(test.name, func(t *testing.T) {
			client, server := test.configs()
			turns := talk(t, client, server)
			var p Parser
			got := read(&p, turns, 0, 0)
			test.check(t, got)
			checkOffsets(t, turns, got.Messages)
			for _, end := range []End{Client, Server} {
				if test.established && p.Wants(end) {
					t.Errorf("wants more of end %d", end)
				}
			}
			pieces := []int{1, 2, 3, 7, 100, 1000, 1460}
			for _, n := range pieces {
				if again := read(new(Parser), turns, n, 0); !reflect.DeepEqual(got, again) {
					t.Fatalf("in pieces of %d bytes: %s", n, cmp.Diff(got, again))
				}
			}
			longest := 0
			for _, turn := range turns {
				longest = max(longest, len(turn.data))
			}
			for first := 1; first < longest; first += 1 + longest/3000 {
				if again := read(new(Parser), turns, 0, first); !reflect.DeepEqual(got, again) {
					t.Fatalf("cut after %d bytes: %s", first, cmp.Diff(got, again))
				}
			}
		})
	}
}

func (c *handshakeCase) check(t *testing.T, got outcome) {
	t.Helper()
	if diff := cmp.Diff(c.kinds, kinds(got.Messages)); diff != "" {
		t.Errorf("messages: %s", diff)
	}
	if got.Application != policy.Is(policy.AppTLS) {
		t.Errorf("application %v", got.Application)
	}
	if got.Facts.ServerName != c.sni {
		t.Errorf("server name %v, not %v", got.Facts.ServerName, c.sni)
	}
	if got.Facts.ECH != policy.Is(false) {
		t.Errorf("ECH %v", got.Facts.ECH)
	}
	version := policy.Missing[string]()
	if c.version != "" {
		version = policy.Is(c.version)
	}
	if got.Facts.Version != version {
		t.Errorf("version %v, not %v", got.Facts.Version, version)
	}
	found := got.Facts.Certificate
	if found.State != c.certificate.State || found.Cause != c.certificate.Cause {
		t.Errorf("certificate %v, not %v", found, c.certificate)
	}
	h := got.Handshake
	if h.Established != c.established || h.Retried != c.retried || h.Resumed || h.Renegotiated {
		t.Errorf("established %t, retried %t, resumed %t, renegotiated %t", h.Established, h.Retried, h.Resumed, h.Renegotiated)
	}
	if c.suite != "" && hello.CipherName(h.Server.Cipher) != c.suite {
		t.Errorf("suite %s, not %s", hello.CipherName(h.Server.Cipher), c.suite)
	}
	if h.Server != nil && h.Server.ALPN != c.alpn {
		t.Errorf("next protocol %q, not %q", h.Server.ALPN, c.alpn)
	}
	if found.State == policy.Known {
		_, server := c.configs()
		c.checkCertificate(t, found.Value, h.Chain, server.Certificates[0].Certificate)
	}
}

func (c *handshakeCase) checkCertificate(t *testing.T, got policy.CertificateFacts, chain certificate.Chain, sent [][]byte) {
	t.Helper()
	leaf, err := x509.ParseCertificate(sent[0])
	if err != nil {
		t.Fatal(err)
	}
	want := policy.CertificateFacts{
		SubjectNames: append(append([]string{leaf.Subject.CommonName}, leaf.DNSNames...), "192.0.2.1"),
		IssuerNames:  []string{"Test Root", "Test Root"}, IssuerOrganizations: []string{"Weir, Inc.", "Weir, Inc."},
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(policy.CertificateFacts{}, "AuthoritySHA256")); diff != "" {
		t.Errorf("certificate: %s", diff)
	}
	if len(got.AuthoritySHA256) != 1 || got.AuthoritySHA256[0] != fmt.Sprintf("%x", chain[1].SHA256) {
		t.Errorf("authorities %v", got.AuthoritySHA256)
	}
	if !chain.IsComplete() {
		t.Error("chain is not complete")
	}
}

// checkOffsets: where a message begins there is a record or a message.
func checkOffsets(t *testing.T, turns []turn, messages []Message) {
	t.Helper()
	var streams [2][]byte
	for _, turn := range turns {
		streams[turn.from] = append(streams[turn.from], turn.data...)
	}
	var last [2]uint64
	for _, m := range messages {
		if m.Begin < last[m.From] || m.After <= m.Begin || m.After > uint64(len(streams[m.From])) {
			t.Errorf("message %+v after offset %d, of %d", m, last[m.From], len(streams[m.From]))
			continue
		}
		last[m.From] = m.After
		switch first := streams[m.From][m.Begin]; m.Kind {
		case ClientHello, ServerHello, HelloRetryRequest:
			if first != recordHandshake {
				t.Errorf("message %+v begins with %#x", m, first)
			}
		}
	}
}

func TestResumption(t *testing.T) {
	for _, version := range []uint16{gotls.VersionTLS12, gotls.VersionTLS13} {
		t.Run(gotls.VersionName(version), func(t *testing.T) {
			client := &gotls.Config{
				RootCAs: identity().roots, ServerName: "www.example.net", MaxVersion: version,
				ClientSessionCache: gotls.NewLRUClientSessionCache(4),
			}
			server := &gotls.Config{Certificates: []gotls.Certificate{identity().server}}
			first := read(new(Parser), talk(t, client, server), 0, 0)
			second := read(new(Parser), talk(t, client, server), 0, 0)
			if first.Handshake.Resumed || !second.Handshake.Resumed || !second.Handshake.Established {
				t.Errorf("resumed %t, then %t", first.Handshake.Resumed, second.Handshake.Resumed)
			}
			if want := policy.Lost[policy.CertificateFacts](policy.NotSeen); second.Facts.Certificate.State != want.State || second.Facts.Certificate.Cause != want.Cause {
				t.Errorf("certificate %v", second.Facts.Certificate)
			}
			if h := second.Handshake.Client; h.Ticket == (version == gotls.VersionTLS13) || h.PreSharedKey != (version == gotls.VersionTLS13) {
				t.Errorf("ticket %t, key %t", h.Ticket, h.PreSharedKey)
			}
		})
	}
}

// TestRetry: what a server sends before it knows what the client says the second time is
// told apart, with the record that goes with it.
func TestRetry(t *testing.T) {
	for _, test := range handshakeCases() {
		client, server := test.configs()
		var p Parser
		want, from := uint64(0), uint64(0)
		for _, turn := range talk(t, client, server) {
			if turn.from == Server {
				from += uint64(len(turn.data))
			}
			if turn.from == Client && p.Handshake().Retried && p.Handshake().Server == nil && want == 0 {
				want = from
			}
			p.Read(turn.from, turn.data)
		}
		if p.Retry() != want || (want > 0) != test.retried {
			t.Errorf("%s: %d bytes, want %d", test.name, p.Retry(), want)
		}
	}
}
