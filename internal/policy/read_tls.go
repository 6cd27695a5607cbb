package policy

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	tlsKeys         = []string{"server_names", "versions", "ech", "certificate"}
	certificateKeys = []string{
		"subject_names", "issuer_names", "issuer_organizations", "authority_sha256",
		"expired", "expires_within", "self_signed",
	}
)

func (c *cursor) tls(r *Rule) *TLS {
	t := &TLS{}
	if c.n.Kind != yaml.MappingNode {
		t.ServerNames = c.names(r)
		return t
	}
	f, _ := c.mapping(tlsKeys)
	for _, v := range f {
		switch v.key {
		case "server_names":
			t.ServerNames = v.names(r)
		case "versions":
			t.Versions = v.words("1.0", "1.1", "1.2", "1.3")
		case "ech":
			t.ECH = v.optionalFlag()
		case "certificate":
			t.Certificate = v.certificate(r)
		}
	}
	return t
}

func (c *cursor) optionalFlag() *bool {
	on, ok := c.flag()
	if !ok {
		return nil
	}
	return &on
}

func (c *cursor) certificate(r *Rule) *Certificate {
	t := &Certificate{}
	f, _ := c.mapping(certificateKeys)
	if len(f) == 0 {
		return nil
	}
	for _, v := range f {
		switch v.key {
		case "subject_names":
			t.SubjectNames = v.names(r)
		case "issuer_names":
			t.IssuerNames = v.texts(true, acceptedText)
		case "issuer_organizations":
			t.IssuerOrganizations = v.texts(true, acceptedText)
		case "authority_sha256":
			t.AuthoritySHA256 = v.fingerprints()
		case "expired":
			t.Expired = v.optionalFlag()
		case "expires_within":
			t.ExpiresWithin = v.duration()
		case "self_signed":
			t.SelfSigned = v.optionalFlag()
		}
	}
	return t
}

var sha256Form = regexp.MustCompile(`^[0-9a-fA-F]{2}(:?[0-9a-fA-F]{2}){31}$`)

// fingerprints reads SHA-256 sums in hex, with or without colons.
func (c *cursor) fingerprints() []string {
	const accepted = "a SHA-256 fingerprint of 64 hex digits"
	var sums []string
	c.list(accepted, func(at *cursor) {
		s, ok := at.text(accepted)
		if !ok {
			return
		}
		if !sha256Form.MatchString(s) {
			at.fail(quote(s)+" is not a fingerprint", accepted, "")
			return
		}
		sums = append(sums, strings.Clone(strings.ToLower(strings.ReplaceAll(s, ":", ""))))
	})
	return sums
}
