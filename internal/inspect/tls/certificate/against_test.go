package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestAgainstX509 compares with Go on what both read.
func TestAgainstX509(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := url.Parse("spiffe://example.org/x")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0).SetBytes([]byte{0xff, 1, 2}), NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2077, 1, 2, 3, 4, 5, 0, time.UTC),
		Subject: pkix.Name{
			CommonName: `#a, "b"+c\d; <e>  `, Organization: []string{"Weir, Inc.", " two"}, OrganizationalUnit: []string{"ü", "=x"},
			Country: []string{"UK"}, Locality: []string{"L"}, Province: []string{"P"}, StreetAddress: []string{"S 1"}, PostalCode: []string{"1"}, SerialNumber: "5",
		},
		DNSNames: []string{"a.example", "*.b.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
		EmailAddresses: []string{"a@b.example"}, URIs: []*url.URL{uri}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte{1, 2},
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	against(t, encoded)

	// The authorities of the system, where there are some.
	list, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		t.Log("the system has no list of authorities")
	}
	compared := 0
	for block, rest := pem.Decode(list); block != nil; block, rest = pem.Decode(rest) {
		against(t, block.Bytes)
		compared++
	}
	t.Logf("%d authorities of the system compared", compared)
}

func against(t *testing.T, encoded []byte) {
	t.Helper()
	want, err := x509.ParseCertificate(encoded)
	if err != nil {
		t.Skip(err)
	}
	got, err := Read(encoded)
	if err != nil {
		t.Errorf("%s: %v", want.Subject, err)
		return
	}
	var names []string
	names = append(append(names, want.DNSNames...), want.EmailAddresses...)
	for _, a := range want.IPAddresses {
		names = append(names, a.String())
	}
	for _, u := range want.URIs {
		names = append(names, u.String())
	}
	slices.Sort(names)
	all := slices.Sorted(slices.Values(slices.Concat(got.Names, got.Others)))
	if diff := cmp.Diff(names, all, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: %s", want.Subject, diff)
	}
	if new(big.Int).SetBytes(got.Serial).Cmp(want.SerialNumber) != 0 || !got.NotBefore.Equal(want.NotBefore) || !got.NotAfter.Equal(want.NotAfter) || got.IsAuthority != (want.IsCA || want.Version == 1) {
		t.Errorf("%s: %+v", want.Subject, got)
	}
	if self := want.CheckSignatureFrom(want) == nil; self && !got.SelfSigned {
		t.Errorf("%s is self-signed", want.Subject)
	}
	// What Go prints of types without a short name differs, by RFC 4514.
	sequence := want.Subject.ToRDNSequence()
	if plain := want.Subject.String(); len(want.Subject.Names) == len(flat(sequence)) && !strings.Contains(plain, "=#") && len(want.Subject.ExtraNames) == 0 &&
		sameOrder(want.Subject, got.Subject) && got.Subject.String() != plain {
		t.Errorf("%s, not %s", got.Subject, plain)
	}
}

func flat(s pkix.RDNSequence) (all []pkix.AttributeTypeAndValue) {
	for _, set := range s {
		all = append(all, set...)
	}
	return all
}

// sameOrder: pkix.Name puts attributes into an order of its own.
func sameOrder(want pkix.Name, got Name) bool {
	var a, b []string
	for _, set := range want.ToRDNSequence() {
		for _, one := range set {
			a = append(a, one.Type.String())
		}
		a = append(a, "|")
	}
	for _, set := range got {
		for _, one := range set {
			b = append(b, one.Type)
		}
		b = append(b, "|")
	}
	return slices.Equal(a, b)
}

func FuzzRead(f *testing.F) {
	f.Add(usual().encode())
	p := usual()
	p.extensions = [][]byte{extension(17, tlv(tagSequence, tlv(0x82, []byte("a.example")))), extension(19, tlv(tagSequence, tlv(1, []byte{255})))}
	f.Add(p.encode())
	f.Fuzz(func(t *testing.T, encoded []byte) {
		c, err := Read(encoded)
		if err == nil {
			_, _ = c.Subject.OneLine(), c.Issuer.String()
			Chain{c}.Facts()
		}
		// Go passes over extensions before version 3, OpenSSL does not.
		if want, refused := x509.ParseCertificate(encoded); refused == nil && want.Version == 3 {
			if err != nil {
				t.Fatalf("%v, but crypto/x509 reads it", err)
			}
			if !c.NotAfter.Equal(want.NotAfter) || !slices.Equal(c.Subject.CommonNames(), commonNames(want.Subject)) {
				t.Fatalf("%+v, not %+v", c, want)
			}
		}
		chain, _ := ReadChain(encoded)
		if len(chain) > MaxChain {
			t.Fatal("too long")
		}
	})
}

func commonNames(n pkix.Name) (all []string) {
	for _, a := range n.Names {
		if s, ok := a.Value.(string); ok && a.Type.String() == typeCommonName {
			all = append(all, s)
		}
	}
	return all
}
