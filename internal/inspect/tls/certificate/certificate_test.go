package certificate

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"
)

func tlv(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	n := len(content)
	switch {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	}
	return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
}

// parts are a certificate's, to be put together badly.
type parts struct {
	serial, issuer, notBefore, notAfter, subject, key []byte
	extensions                                        [][]byte
}

func commonName(tag byte, value string) []byte {
	return tlv(tagSequence, tlv(tagSet, tlv(tagSequence, tlv(tagOID, []byte{0x55, 4, 3}), tlv(tag, []byte(value)))))
}

func usual() parts {
	return parts{
		serial: tlv(tagInteger, []byte{7}), issuer: commonName(0x13, "Issuer"), subject: commonName(0x13, "leaf.example"),
		notBefore: tlv(tagUTCTime, []byte("200102030405Z")), notAfter: tlv(tagUTCTime, []byte("300102030405Z")),
		key: tlv(tagSequence, tlv(tagSequence, tlv(tagOID, []byte{0x2a, 3})), tlv(tagBitString, []byte{0, 1})),
	}
}

func (p parts) encode() []byte {
	algorithm := tlv(tagSequence, tlv(tagOID, []byte{0x2a, 3, 4}))
	body := [][]byte{tlv(0xa0, tlv(tagInteger, []byte{2})), p.serial, algorithm, p.issuer, tlv(tagSequence, p.notBefore, p.notAfter), p.subject, p.key}
	if p.extensions != nil {
		body = append(body, tlv(0xa3, tlv(tagSequence, p.extensions...)))
	}
	return tlv(tagSequence, tlv(tagSequence, body...), algorithm, tlv(tagBitString, []byte{0, 1}))
}

func extension(number byte, value []byte) []byte {
	return tlv(tagSequence, tlv(tagOID, []byte{0x55, 0x1d, number}), tlv(tagOctetString, value))
}

// both are the odd ones that crypto/x509 reads as well.
var both = map[string]bool{
	"an algorithm that does not exist":  true,
	"a serial number of 40 bytes":       true,
	"T.61":                              true,
	"a BMP string":                      true,
	"times without seconds":             true,
	"times with an offset":              true,
	"a short time of 1960":              true,
	"a short time of 2049":              true,
	"an end before the start":           true,
	"self-signed, of version 1":         true,
	"self-issued by another key":        true,
	"self-signed, with key identifiers": true,
}

// TestOdd are certificates as they come along; crypto/x509 refuses some.
func TestOdd(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name   string
		change func(p *parts)
		check  func(c *Certificate) bool
	}{
		{"an algorithm that does not exist", func(*parts) {}, func(c *Certificate) bool {
			return c.Subject.OneLine() == "CN=leaf.example" && c.Issuer.String() == "CN=Issuer" && c.NotBefore.Equal(at) && !c.SelfSigned
		}},
		{"a negative serial number", func(p *parts) { p.serial = tlv(tagInteger, []byte{0x80, 1}) }, func(c *Certificate) bool {
			return bytes.Equal(c.Serial, []byte{0x80, 1})
		}},
		{"a serial number of 40 bytes", func(p *parts) { p.serial = tlv(tagInteger, bytes.Repeat([]byte{1}, 40)) }, func(c *Certificate) bool { return len(c.Serial) == 40 }},
		{"a length of more bytes than it needs", func(p *parts) {
			p.serial = []byte{tagInteger, 0x83, 0, 0, 1, 9}
		}, func(c *Certificate) bool { return bytes.Equal(c.Serial, []byte{9}) }},
		{"an underscore in a printable string", func(p *parts) { p.subject = commonName(0x13, "a_b@c") }, func(c *Certificate) bool {
			return slices.Equal(c.Subject.CommonNames(), []string{"a_b@c"})
		}},
		{"Latin-1 in UTF-8", func(p *parts) { p.subject = commonName(tagUTF8, "B\xfccher") }, func(c *Certificate) bool {
			return slices.Equal(c.Subject.CommonNames(), []string{"Bücher"})
		}},
		{"T.61", func(p *parts) { p.subject = commonName(tagT61, "B\xfccher") }, func(c *Certificate) bool {
			return slices.Equal(c.Subject.CommonNames(), []string{"Bücher"})
		}},
		{"a BMP string", func(p *parts) { p.subject = commonName(tagBMP, "\x00B\x00\xfc") }, func(c *Certificate) bool {
			return slices.Equal(c.Subject.CommonNames(), []string{"Bü"})
		}},
		{"a universal string", func(p *parts) { p.subject = commonName(tagUniversal, "\x00\x00\x00B\x00\x01\xf6\x00") }, func(c *Certificate) bool {
			return slices.Equal(c.Subject.CommonNames(), []string{"B😀"})
		}},
		{"a name that is no string", func(p *parts) { p.subject = commonName(tagInteger, "\x05") }, func(c *Certificate) bool {
			return c.Subject.String() == "CN=#020105"
		}},
		{"times without seconds", func(p *parts) { p.notBefore = tlv(tagUTCTime, []byte("2001020304Z")) }, func(c *Certificate) bool {
			return c.NotBefore.Equal(at.Truncate(time.Minute))
		}},
		{"times with an offset", func(p *parts) { p.notBefore = tlv(tagUTCTime, []byte("200102050405+0200")) }, func(c *Certificate) bool {
			return c.NotBefore.Equal(at)
		}},
		{"a long time before 2050, with a fraction", func(p *parts) { p.notBefore = tlv(tagGeneralized, []byte("20200102030405.5Z")) }, func(c *Certificate) bool {
			return c.NotBefore.Equal(at.Add(time.Second / 2))
		}},
		{"a short time of 1960", func(p *parts) { p.notBefore = tlv(tagUTCTime, []byte("600102030405Z")) }, func(c *Certificate) bool {
			return c.NotBefore.Year() == 1960
		}},
		{"a short time of 2049", func(p *parts) { p.notAfter = tlv(tagUTCTime, []byte("490102030405Z")) }, func(c *Certificate) bool {
			return c.NotAfter.Year() == 2049
		}},
		{"an end before the start", func(p *parts) { p.notAfter = tlv(tagUTCTime, []byte("100102030405Z")) }, func(c *Certificate) bool {
			return c.NotAfter.Before(c.NotBefore)
		}},
		{"an alternative name that is not ASCII", func(p *parts) {
			p.extensions = [][]byte{extension(17, tlv(tagSequence, tlv(0x82, []byte("b\xfccher.example")), tlv(0x87, []byte{1, 2, 3})))}
		}, func(c *Certificate) bool { return slices.Equal(c.Names, []string{"bücher.example"}) }},
		{"self-signed, of version 1", func(p *parts) { p.issuer = p.subject }, func(c *Certificate) bool { return c.SelfSigned && c.IsAuthority }},
		{"self-issued by another key", func(p *parts) {
			p.issuer = p.subject
			p.extensions = [][]byte{extension(14, tlv(tagOctetString, []byte{1})), extension(35, tlv(tagSequence, tlv(0x80, []byte{2})))}
		}, func(c *Certificate) bool { return !c.SelfSigned && !c.IsAuthority }},
		{"self-signed, with key identifiers", func(p *parts) {
			p.issuer = p.subject
			p.extensions = [][]byte{extension(14, tlv(tagOctetString, []byte{1})), extension(35, tlv(tagSequence, tlv(0x80, []byte{1})))}
		}, func(c *Certificate) bool { return c.SelfSigned }},
		{"repeated extensions", func(p *parts) {
			one := extension(17, tlv(tagSequence, tlv(0x82, []byte("a.example"))))
			p.extensions = [][]byte{one, one}
		}, func(c *Certificate) bool { return len(c.Names) == 2 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := usual()
			test.change(&p)
			encoded := p.encode()
			if _, err := x509.ParseCertificate(encoded); (err == nil) != both[test.name] {
				t.Errorf("crypto/x509: %v", err)
			}
			c, err := Read(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(c) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	tests := []struct {
		name   string
		change func(p *parts)
		want   string
	}{
		{"time", func(p *parts) { p.notAfter = tlv(tagUTCTime, []byte("301302030405Z")) }, "end of validity"},
		{"time of another type", func(p *parts) { p.notBefore = tlv(0x13, []byte("300102030405Z")) }, "start of validity"},
		{"serial", func(p *parts) { p.serial = tlv(tagUTF8, []byte("7")) }, "serial number"},
		{"issuer", func(p *parts) { p.issuer = tlv(tagSequence, tlv(tagSequence)) }, "issuer"},
		{"subject of indefinite length", func(p *parts) { p.subject = []byte{tagSequence, 0x80, 0, 0} }, "subject"},
		{"names", func(p *parts) { p.extensions = [][]byte{extension(17, []byte{1, 2, 3})} }, "extensions"},
	}
	for _, test := range tests {
		p := usual()
		test.change(&p)
		c, err := Read(p.encode())
		if err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if c == nil || c.SHA256 == [32]byte{} {
			t.Errorf("%s: no sum", test.name)
		}
	}
	whole := usual().encode()
	for n := range whole {
		if _, err := Read(whole[:n]); err == nil {
			t.Errorf("%d bytes are a certificate", n)
		}
	}
}

// TestChain are chains of the same certificate.
func TestChain(t *testing.T) {
	p := usual()
	p.issuer = p.subject
	one := p.encode()
	part := append([]byte{0, byte(len(one) >> 8), byte(len(one))}, one...)
	whole := func(n int) []byte {
		b := bytes.Repeat(part, n)
		return append([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
	}
	for n, want := range map[int]bool{0: true, 1: true, MaxChain: true, MaxChain + 1: false} {
		chain, err := ReadChain(whole(n))
		if (err == nil) != want || len(chain) != min(n, MaxChain) {
			t.Errorf("%d certificates: %d, %v", n, len(chain), err)
		}
	}
	if _, err := ReadChain(whole(2)[:20]); err == nil {
		t.Error("a chain that is cut")
	}
	chain, _ := ReadChain(whole(1))
	f := chain.Facts()
	if !chain.IsComplete() || !f.SelfSigned || len(f.AuthoritySHA256) != 1 || !slices.Equal(f.SubjectNames, []string{"leaf.example"}) {
		t.Errorf("%+v", f)
	}
	leaf, _ := Read(usual().encode())
	if (Chain{leaf}).IsComplete() || (Chain{leaf, leaf}).IsComplete() || (Chain{}).IsComplete() {
		t.Error("complete without an issuer")
	}
}
