package certificate

import (
	"net/netip"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// Server is what a certificate is shown for: a server may have one for each.
type Server struct {
	Address netip.AddrPort
	// Zone is the network that Address belongs to; Interface where it is, of an address
	// that every link has for itself.
	Zone      packet.Zone
	Interface string
	// Name is the server name that the client sends, in lower case; empty without.
	Name string
	// Protocols are those of ALPN that it offers, separated by NUL.
	Protocols string
	// QUIC: over UDP.
	QUIC bool
}

// Shown is a chain as far as it is remembered.
type Shown struct {
	Facts policy.CertificateFacts
	// Leaf is the server's own certificate.
	Leaf *Certificate
}

// Shown is what is remembered of a chain, which has one certificate at least.
func (c Chain) Shown() *Shown { return &Shown{Facts: c.Facts(), Leaf: c[0]} }

// Size is about how many bytes it takes.
func (s *Shown) Size() int {
	const (
		fixed  = 1 << 10
		header = 16 // of a string
	)
	n := fixed
	f := &s.Facts
	for _, list := range [...][]string{
		f.SubjectNames, f.IssuerNames, f.IssuerOrganizations, f.AuthoritySHA256, s.Leaf.Names, s.Leaf.Others,
	} {
		for _, one := range list {
			n += header + len(one)
		}
	}
	return n + len(s.Leaf.Serial) + s.Leaf.Subject.size() + s.Leaf.Issuer.size()
}
