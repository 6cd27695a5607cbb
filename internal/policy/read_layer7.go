package policy

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	layer7Keys      = []string{"domains", "http", "tls", "dns", "ssh"}
	httpKeys        = []string{"hosts", "paths", "methods", "headers", "versions"}
	tlsKeys         = []string{"server_names", "versions", "ech", "certificate"}
	certificateKeys = []string{
		"subject_names", "issuer_names", "issuer_organizations", "authority_sha256",
		"expired", "expires_within", "self_signed",
	}
	dnsKeys = []string{"names", "types", "transports"}
	sshKeys = []string{"public_keys", "software"}
)

const acceptedText = "a text, in which * stands for any characters"

// layer7 reads the alternatives of the application protocol. A list names
// protocols without further criteria, as with layer4.
func (c *cursor) layer7(r *Rule) {
	l := &Layer7{}
	if c.n.Kind != yaml.MappingNode {
		protocols := layer7Keys[1:]
		c.list("http, tls, dns, ssh, or a mapping with these keys or domains", func(at *cursor) {
			switch i, ok := at.word(protocols...); {
			case !ok:
			case i == 0:
				l.HTTP = &HTTP{}
			case i == 1:
				l.TLS = &TLS{}
			case i == 2:
				l.DNS = &DNS{}
			case i == 3:
				l.SSH = &SSH{}
			}
		})
		r.Layer7 = l
		return
	}
	f, _ := c.mapping(layer7Keys)
	if len(f) == 0 {
		return
	}
	for _, v := range f {
		switch v.key {
		case "domains":
			l.Domains = v.names(r)
		case "http":
			l.HTTP = v.http(r)
		case "tls":
			l.TLS = v.tls(r)
		case "dns":
			l.DNS = v.dns(r)
		case "ssh":
			l.SSH = v.ssh()
		}
	}
	r.Layer7 = l
}

func (c *cursor) http(r *Rule) *HTTP {
	h := &HTTP{}
	if c.n.Kind != yaml.MappingNode {
		h.Hosts = c.names(r)
		return h
	}
	f, _ := c.mapping(httpKeys)
	for _, v := range f {
		switch v.key {
		case "hosts":
			h.Hosts = v.names(r)
		case "paths":
			h.Paths = v.paths()
		case "methods":
			const accepted = "a method such as GET"
			v.list(accepted, func(at *cursor) {
				s, ok := at.text(accepted)
				if !ok {
					return
				}
				if !isToken(s) {
					at.fail(quote(s)+" is not a method", accepted, "")
					return
				}
				h.Methods = append(h.Methods, strings.ToUpper(s))
			})
		case "headers":
			h.Headers = v.headers()
		case "versions":
			h.Versions = v.words("1.0", "1.1", "2")
		}
	}
	return h
}

func (c *cursor) headers() []Header {
	f, _ := c.entries("a mapping of header names to values")
	var headers []Header
	for _, v := range f {
		h := Header{Name: strings.ToLower(v.key)}
		twice := slices.ContainsFunc(headers, func(o Header) bool { return o.Name == h.Name })
		switch {
		case !isToken(v.key):
			v.fail(quote(v.key)+" is not the name of a header", "a name such as x-env", "")
		case twice:
			v.fail("the header "+quote(v.key)+" is here a second time", "each header once; case does not matter", "")
		}
		h.Values = v.texts(false, acceptedText)
		headers = append(headers, h)
	}
	return headers
}

// isToken checks methods and names of headers (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		b := s[i]
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0) {
			return false
		}
	}
	return s != "" && s[0] != '!' && !strings.Contains(s, "*")
}

// words reads a list of words out of some.
func (c *cursor) words(words ...string) []string {
	var list []string
	c.list(strings.Join(words, ", "), func(at *cursor) {
		if i, ok := at.word(words...); ok {
			list = append(list, words[i])
		}
	})
	return list
}

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
		sums = append(sums, strings.ToLower(strings.ReplaceAll(s, ":", "")))
	})
	return sums
}

func (c *cursor) dns(r *Rule) *DNS {
	d := &DNS{}
	if c.n.Kind != yaml.MappingNode {
		d.Names = c.names(r)
		return d
	}
	f, _ := c.mapping(dnsKeys)
	for _, v := range f {
		switch v.key {
		case "names":
			d.Names = v.names(r)
		case "types":
			const accepted = "a type such as A, AAAA or TXT, or its number"
			v.list(accepted, func(at *cursor) {
				if t, ok := at.dnsType(accepted); ok {
					d.Types = append(d.Types, t)
				}
			})
		case "transports":
			d.Transports = v.words("udp", "tcp", "tls")
		}
	}
	return d
}

func (c *cursor) dnsType(accepted string) (uint16, bool) {
	s, ok := c.text(accepted)
	if !ok {
		return 0, false
	}
	if t, known := dnsTypes[s]; known {
		return t, true
	}
	if t, ok := number(strings.TrimPrefix(s, "TYPE"), 65535); ok {
		return t, true
	}
	hint := ""
	if near := nearest(strings.ToUpper(s), slices.Sorted(maps.Keys(dnsTypes))); near != "" {
		hint = "did you mean " + near + "?"
	}
	c.fail(quote(s)+" is not a type of DNS", accepted, hint)
	return 0, false
}

// DNSTypeName is the name of a query type; TYPE and its number where it has none
// (RFC 3597).
func DNSTypeName(t uint16) string {
	for name, n := range dnsTypes {
		if n == t {
			return name
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// dnsTypes are those of IANA's registry that are in use.
var dnsTypes = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "WKS": 11, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16,
	"RP": 17, "AFSDB": 18, "SIG": 24, "KEY": 25, "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "KX": 36,
	"CERT": 37, "DNAME": 39, "OPT": 41, "APL": 42, "DS": 43, "SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46,
	"NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53,
	"HIP": 55, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64,
	"HTTPS": 65, "SPF": 99, "EUI48": 108, "EUI64": 109, "TKEY": 249, "TSIG": 250, "IXFR": 251,
	"AXFR": 252, "ANY": 255, "URI": 256, "CAA": 257, "TA": 32768, "DLV": 32769,
}

func (c *cursor) ssh() *SSH {
	s := &SSH{}
	f, _ := c.mapping(sshKeys)
	for _, v := range f {
		switch v.key {
		case "public_keys":
			const accepted = "a fingerprint as ssh-keygen -l shows it: SHA256: and 43 characters"
			v.list(accepted, func(at *cursor) {
				text, ok := at.text(accepted)
				if !ok {
					return
				}
				sum, isSHA := strings.CutPrefix(text, "SHA256:")
				sum = strings.TrimSuffix(sum, "=")
				// 43 characters are 32 bytes; the length also keeps out line ends, which
				// the decoder skips.
				_, err := base64.RawStdEncoding.Strict().DecodeString(sum)
				if !isSHA || err != nil || len(sum) != 43 {
					at.fail(quote(text)+" is not a fingerprint", accepted, "")
					return
				}
				s.PublicKeys = append(s.PublicKeys, "SHA256:"+sum)
			})
		case "software":
			s.Software = v.texts(false, acceptedText)
		}
	}
	return s
}
