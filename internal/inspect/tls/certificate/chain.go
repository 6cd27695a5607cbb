package certificate

import (
	"encoding/hex"
	"slices"

	"github.com/weirnet/weir/internal/policy"
)

// MaxChain is the number of certificates that are read of a chain. OpenSSL takes
// chains of 100, and those of real servers have up to 10.
const MaxChain = 100

// Chain is what a server sent: its own certificate first.
type Chain []*Certificate

// ReadChain reads the body of a Certificate message of TLS 1.2 and below (RFC 5246
// section 7.4.2). It may be empty, as a client's may. With an error, what could be
// read comes along.
func ReadChain(body []byte) (Chain, error) {
	list, rest, ok := vector24(body)
	if !ok || len(rest) != 0 {
		return nil, MalformedError("length of the chain")
	}
	var chain Chain
	for len(list) > 0 {
		var encoded []byte
		if encoded, list, ok = vector24(list); !ok {
			return chain, MalformedError("length of a certificate")
		}
		if len(chain) == MaxChain {
			return chain, MalformedError("more certificates than any client takes")
		}
		c, err := Read(encoded)
		chain = append(chain, c)
		if err != nil {
			return chain, err
		}
	}
	return chain, nil
}

// ReadList reads a chain whose certificates were taken apart already, as a client of
// TLS 1.3 has them. With an error, what could be read comes along.
func ReadList(encoded [][]byte) (Chain, error) {
	if len(encoded) > MaxChain {
		return nil, MalformedError("more certificates than any client takes")
	}
	var chain Chain
	for _, one := range encoded {
		c, err := Read(one)
		chain = append(chain, c)
		if err != nil {
			return chain, err
		}
	}
	return chain, nil
}

func vector24(b []byte) (content, rest []byte, ok bool) {
	if len(b) < 3 {
		return nil, nil, false
	}
	n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if len(b)-3 < n {
		return nil, nil, false
	}
	return b[3 : 3+n], b[3+n:], true
}

// IsComplete says whether the chain ends in a self-signed certificate, or would
// with the next authority: each is the issuer of the one before. Servers leave the
// root out, so that a chain of one that is not self-signed is not complete, and one
// whose last is an authority is.
func (c Chain) IsComplete() bool {
	if len(c) == 0 {
		return false
	}
	for i := 1; i < len(c); i++ {
		if c[i-1].Issuer.String() != c[i].Subject.String() {
			return false
		}
	}
	last := c[len(c)-1]
	return last.SelfSigned || len(c) > 1 && last.IsAuthority
}

// Facts are what rules ask of the chain, which has one certificate at least.
func (c Chain) Facts() policy.CertificateFacts {
	leaf := c[0]
	f := policy.CertificateFacts{
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, SelfSigned: leaf.SelfSigned,
		SubjectNames: slices.Concat(leaf.Subject.CommonNames(), leaf.Names),
	}
	for i, one := range c {
		f.IssuerNames = append(f.IssuerNames, one.Issuer.CommonNames()...)
		f.IssuerOrganizations = append(f.IssuerOrganizations, one.Issuer.Organizations()...)
		// The leaf counts where it is its own authority.
		if i > 0 || one.SelfSigned {
			f.AuthoritySHA256 = append(f.AuthoritySHA256, hex.EncodeToString(one.SHA256[:]))
		}
	}
	return f
}
