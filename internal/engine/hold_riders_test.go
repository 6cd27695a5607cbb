package engine

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// rider is what is said in a connection, and judged.
type rider struct {
	name string
	rule string // allows what is allowed
	port uint16
	// allowed and blocked are what is judged: said by the client, or, with preface,
	// by the server to what the client says first, which passes.
	allowed, blocked string
	preface          string
}

func (k *rider) policy() string {
	return "mode: prevent\nrules: [{name: judged, action: allow, layer7: {" + k.rule + "}}]\n"
}

const ok = "GET /v1/ok HTTP/1.1\r\nHost: a.example\r\nX-Env: prod\r\n\r\n"

// differing is the request with a part of it replaced.
func differing(old, new string) string { return strings.Replace(ok, old, new, 1) }

func riders(t testing.TB) []rider {
	trusted, other := newAuthority(t, "Trusted CA"), newAuthority(t, "Other CA")
	year := 365 * 24 * time.Hour
	good := trusted.issue(t, "a.example", -time.Hour, year)
	hello, _ := greetings(t, &tls.Config{ServerName: "a.example", CurvePreferences: []tls.CurveID{tls.X25519}}, good)
	helloB, _ := greetings(t, &tls.Config{ServerName: "b.example", CurvePreferences: []tls.CurveID{tls.X25519}}, good)
	large, _ := greetings(t, &tls.Config{ServerName: "a.example"}, good)
	largeB, _ := greetings(t, &tls.Config{ServerName: "b.example"}, good)
	// What servers answer to one hello that does not know TLS 1.3.
	old := &tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}
	oldHello, answer := greetings(t, old, good)
	_, elsewhere := greetings(t, old, other.issue(t, "a.example", -time.Hour, year))
	_, expired := greetings(t, old, trusted.issue(t, "a.example", -2*year, -time.Hour))
	_, named := greetings(t, old, trusted.issue(t, "b.example", -time.Hour, year))
	_, alone := greetings(t, old, newAuthority(t, "a.example").certificate)
	both := &tls.Config{ServerName: "a.example"}
	newHello, new3 := greetings(t, both, good)
	_, new2 := greetings(t, both, good, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	http := func(name, rule, blocked string) rider {
		return rider{name: "HTTP " + name, rule: "http: {" + rule + "}", port: 80, allowed: ok, blocked: blocked}
	}
	certificate := func(name, rule, blocked string) rider {
		return rider{name: "certificate " + name, rule: "tls: {certificate: {" + rule + "}}", port: 443, preface: oldHello, allowed: answer, blocked: blocked}
	}
	return []rider{
		http("host", "hosts: a.example", differing("a.example", "b.example")),
		http("path", "paths: /v1/**", differing("/v1/", "/v2/")),
		http("method", "methods: GET", differing("GET", "PUT")),
		http("header", "headers: {x-env: prod}", differing("prod", "test")),
		http("version", `versions: "1.1"`, differing("HTTP/1.1", "HTTP/1.0")),
		{name: "domain of HTTP", rule: "domains: a.example", port: 80, allowed: ok, blocked: differing("a.example", "b.example")},
		{name: "domain of TLS", rule: "domains: a.example", port: 443, allowed: hello, blocked: helloB},
		{name: "server name", rule: "tls: a.example", port: 443, allowed: hello, blocked: helloB},
		{name: "server name, post-quantum", rule: "tls: a.example", port: 443, allowed: large, blocked: largeB},
		{name: "TLS version", rule: `tls: {versions: "1.3"}`, port: 443, preface: newHello, allowed: new3, blocked: new2},
		certificate("of another issuer", "issuer_names: Trusted CA", elsewhere),
		certificate("expired", "expired: false", expired),
		certificate("self-signed", "self_signed: false", alone),
		certificate("of another name", "subject_names: a.example", named),
		{
			name: "SSH software", rule: "ssh: {software: OpenSSH_9*}", port: 22, preface: "SSH-2.0-OpenSSH_9.2\r\n",
			allowed: "SSH-2.0-OpenSSH_9.6\r\n", blocked: "SSH-2.0-dropbear_202\r\n",
		},
		{name: "DNS name", rule: "dns: a.example", port: 53, allowed: framedQuery("a.example", 1), blocked: framedQuery("b.example", 1)},
		{name: "DNS type", rule: "dns: {types: A}", port: 53, allowed: framedQuery("a.example", 1), blocked: framedQuery("a.example", 16)},
	}
}

// query is a DNS question.
func query(id uint16, name string, kind uint16) string {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for _, label := range strings.Split(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0)
	return string(append(binary.BigEndian.AppendUint16(b, kind), 0, 1))
}

func framedQuery(name string, kind uint16) string {
	q := query(7, name, kind)
	return string([]byte{byte(len(q) >> 8), byte(len(q))}) + q
}

// authority issues certificates.
type authority struct {
	certificate tls.Certificate // its own
	parsed      *x509.Certificate
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{}
	a.certificate = a.issue(t, name, -time.Hour, 24*time.Hour)
	var err error
	if a.parsed, err = x509.ParseCertificate(a.certificate.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate; the first is its own.
func (a *authority) issue(t testing.TB, name string, from, until time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until), IsCA: a.parsed == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, any(key)
	if a.parsed != nil {
		parent, signer = a.parsed, a.certificate.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// greetings are a client's hello and the flight that a server answers it with.
func greetings(t testing.TB, client *tls.Config, certificate tls.Certificate, change ...func(*tls.Config)) (hello, answer string) {
	t.Helper()
	server := &tls.Config{Certificates: []tls.Certificate{certificate}}
	for _, f := range change {
		f(server)
	}
	client = client.Clone()
	client.InsecureSkipVerify = true
	c, s := net.Pipe()
	asked, answered := &overheard{Conn: c}, &overheard{Conn: s}
	var running sync.WaitGroup
	running.Go(func() { tls.Server(answered, server).Handshake() })
	if err := tls.Client(asked, client).Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	running.Wait()
	s.Close()
	return asked.first(), answered.first()
}

// overheard keeps what is written until something is read.
type overheard struct {
	net.Conn
	mu      sync.Mutex
	written bytes.Buffer
	over    bool
}

func (o *overheard) Write(b []byte) (int, error) {
	o.mu.Lock()
	if !o.over {
		o.written.Write(b)
	}
	o.mu.Unlock()
	return o.Conn.Write(b)
}

func (o *overheard) Read(b []byte) (int, error) {
	o.mu.Lock()
	o.over = o.written.Len() > 0
	o.mu.Unlock()
	return o.Conn.Read(b)
}

func (o *overheard) first() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}
