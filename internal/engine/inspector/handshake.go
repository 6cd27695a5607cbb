package inspector

import (
	"encoding/hex"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// helloExchange is what the two hellos tell; either may be nil.
func helloExchange(c *hello.Client, s *hello.Server, over hello.Transport) *telemetry.TLSExchange {
	t := &telemetry.TLSExchange{}
	if c != nil {
		t.JA4 = c.JA4(over)
		t.JA3, _ = c.JA3()
		if c.ServerName.State == policy.Known {
			t.ServerName = c.ServerName.Value
		}
		t.ECH = c.ECH.State == policy.Known && c.ECH.Value
	}
	if s == nil {
		return t
	}
	protocol, number := hello.VersionName(s.Version)
	if protocol == "ssl" {
		number += ".0"
	}
	t.Version, t.Cipher, t.NextProtocol = number, hello.CipherName(s.Cipher), s.ALPN
	return t
}

// setLeaf tells of the server's own certificate.
func setLeaf(t *telemetry.TLSExchange, leaf *certificate.Certificate) {
	t.Subject, t.Issuer = leaf.Subject.String(), leaf.Issuer.String()
	t.NotBefore, t.NotAfter = leaf.NotBefore, leaf.NotAfter
	t.SHA256 = hex.EncodeToString(leaf.SHA256[:])
	t.CertificateSource = telemetry.CertificateFromWire
}
