package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"
)

const probedPolicy = `
mode: prevent
rules:
  - name: current
    action: allow
    direction: outbound
    layer7: {tls: {server_names: "*.example.com", certificate: {expired: false}}}
`

// certificateUntil is one for a name that signs itself.
func certificateUntil(t *testing.T, name string, until time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(until),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestCertificateProbe: a certificate that TLS 1.3 hides is enforced by what the server
// shows Weir; with the probe off on_error answers.
func TestCertificateProbe(t *testing.T) {
	shows := map[string]tls.Certificate{
		"good.example.com": certificateUntil(t, "good.example.com", 24*time.Hour),
		"old.example.com":  certificateUntil(t, "old.example.com", -24*time.Hour),
	}
	for _, setting := range []string{"auto", "off"} {
		t.Run(setting, func(t *testing.T) {
			l := newLab(t)
			w := start(t, l.a, config{policy: string(newPolicy(t, probedPolicy)), receiver: "inspect: {certificate_probe: " + setting + "}"})
			for i, f := range families {
				at := netip.AddrPortFrom(l.address(l.b, f, 0), 8443)
				l.b.showTLS(t, at, shows)
				for name, passes := range map[string]bool{"good.example.com": setting == "auto", "old.example.com": false} {
					err := sayByTLS(l.a, "", at, name)
					if (err == nil) != passes {
						t.Errorf("%v, %s: %v", f, name, err)
					}
					want := map[string]string{"weir.tls.server_name": name, "weir.verdict": "blocked", "weir.reason": "default", "destination.address": at.Addr().String()}
					if passes {
						want["weir.verdict"], want["weir.reason"], want["security_rule.name"] = "allowed", "rule", "current"
					}
					if setting == "auto" {
						want["weir.tls.certificate.source"], want["tls.server.subject"] = "probe", "CN="+name
					}
					w.awaitRecord(t, fmt.Sprintf("the handshake with %s by IPv%d", name, 4+2*i), func(r record) bool {
						for key, value := range want {
							if r.str(key) != value {
								return false
							}
						}
						return r.event == "weir.tls.handshake"
					})
				}
				if setting == "auto" {
					w.awaitRecord(t, "Weir's own connection", func(r record) bool {
						return r.event == "weir.connection.end" && r.str("security_rule.name") == "weir:export" &&
							r.str("destination.address") == at.Addr().String() && r.num("destination.port") == int64(at.Port())
					})
				}
			}
		})
	}
}

// TestProbeInVRF: the server is asked in the VRF of the connection, and what it shows is not
// another's who has its address in another.
func TestProbeInVRF(t *testing.T) {
	t.Parallel()
	h, red, blue, _ := tenants(t)
	const name = "good.example.com"
	at := mustAddrPort("198.18.0.2:8443")
	red.showTLS(t, at, map[string]tls.Certificate{name: certificateUntil(t, name, 24*time.Hour)})
	blue.showTLS(t, at, map[string]tls.Certificate{name: certificateUntil(t, name, -24*time.Hour)})
	start(t, h, config{policy: string(newPolicy(t, probedPolicy)), interfaces: "{include: ['red?', 'blue?']}"})
	for range 2 { // and as it is remembered
		if err := sayByTLS(h, "red", at, name); err != nil {
			t.Errorf("by red, whose server shows a good certificate: %v", err)
		}
		if sayByTLS(h, "blue", at, name) == nil {
			t.Error("blue's server shows an expired certificate, and is spoken to")
		}
	}
}

// showTLS has a server of TLS 1.3 that shows each name's certificate, and says again what it
// hears.
func (h *host) showTLS(t *testing.T, at netip.AddrPort, shows map[string]tls.Certificate) {
	t.Helper()
	h.echoTCP(t, at, &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, ok := shows[h.ServerName]
			if !ok {
				return nil, errors.New("no certificate for that name")
			}
			return &c, nil
		},
	})
}

// sayByTLS has something said again by a server of TLS 1.3; by way of a device, if any.
func sayByTLS(h *host, device string, at netip.AddrPort, name string) error {
	dialer := net.Dialer{Timeout: patience, KeepAlive: untold, Control: bound(device)}
	var conn net.Conn
	var err error
	h.run(func() { conn, err = dialer.Dial("tcp", at.String()) })
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 5))
	return err
}
