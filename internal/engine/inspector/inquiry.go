package inspector

import (
	"net/netip"
	"strings"
	"time"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// Question asks which certificate a server has that hides it from the wire: it is all
// that the verdict of a connection waits for. The answer is given to Certificate.
type Question struct {
	ID     uint64 // of the connection
	Server certificate.Server
	// Source is the connection's own address.
	Source netip.Addr
	// Interface is where its packets go, where the address alone does not say so: in a
	// VRF, or on the link. Else it is empty.
	Interface string
}

// Certificate is what was found out, or why nothing was.
type Certificate struct {
	Fact policy.Fact[policy.CertificateFacts]
	// Leaf is the server's own certificate, valid where Fact is known.
	Leaf   *certificate.Certificate
	Source telemetry.CertificateSource
}

// inquiry is how far a connection's question has come.
type inquiry struct {
	asked, answered bool
	// early: it was asked before the server answered the ClientHello, which waits.
	early  bool
	answer Certificate
}

func (q *inquiry) isOpen() bool { return q.asked && !q.answered }

// hiding says whether a server hides its certificate.
type hiding uint8

const (
	shows    hiding = iota // it does not, or there is none
	mayHide                // the client offers TLS 1.3
	hides                  // TLS 1.3 was chosen
	resuming               // an earlier session goes on, of TLS 1.2 or below
)

// hidingOf says how it is in a handshake.
func hidingOf(client *hello.Client, server *hello.Server, resumed bool) hiding {
	switch {
	case client == nil:
		return shows
	case server == nil && !offersTLS13(client):
		return shows
	case server == nil:
		return mayHide
	case hello.IsTLS13(server.Version):
		return hides
	case resumed:
		return resuming
	}
	return shows
}

func offersTLS13(client *hello.Client) bool {
	for _, v := range client.Versions {
		if hello.IsTLS13(v) {
			return true
		}
	}
	return false
}

// How long what the wire showed is remembered, for sessions that go on: tickets should
// not be taken for longer (RFC 5077 section 5.6). And how much of it.
const (
	rememberFor     = 24 * time.Hour
	rememberEntries = 4096
	rememberBytes   = 4 << 20
)

// serverOf is the server of a handshake, as certificates that the wire showed are
// remembered.
func (c *conn) serverOf(client *hello.Client) certificate.Server {
	s := certificate.Server{
		Address: netip.AddrPortFrom(c.Tuple.Destination, c.Tuple.DestinationPort), Zone: c.Tuple.Zone, QUIC: c.quic != nil,
	}
	if c.Tuple.Destination.IsLinkLocalUnicast() {
		s.Interface = c.Interface
	}
	if client.ServerName.State == policy.Known {
		s.Name = client.ServerName.Value
	}
	return s
}

// remember remembers a chain that the wire has shown.
func (i *Inspector) remember(c *conn, client *hello.Client, chain certificate.Chain) {
	if client != nil && i.version.certificates {
		shown := chain.Shown()
		i.config.Shown.Put(c.serverOf(client), shown, shown.Size(), i.now.Add(rememberFor))
	}
}

// reveal makes a certificate that is hidden known: by what was found out, or is
// remembered. Else it asks, where nothing but the certificate decides and that may be
// asked; the fact is then one that may still come.
func (i *Inspector) reveal(c *conn, client *hello.Client, how hiding) {
	f, q := &c.facts.TLS.Certificate, &c.inquiry
	if how == shows || how == mayHide && q.asked {
		return
	}
	if how == resuming && !q.asked {
		if shown, ok := i.config.Shown.Get(c.serverOf(client), i.now); ok {
			q.asked, q.answered = true, true
			q.answer = Certificate{Fact: policy.Is(shown.Facts), Leaf: shown.Leaf, Source: telemetry.CertificateFromCache}
		}
	}
	switch {
	case q.answered:
		*f = q.answer.Fact
		return
	case q.asked:
		*f = policy.Fact[policy.CertificateFacts]{}
		return
	case !i.mayAsk(c):
		return
	}
	before := *f
	*f = policy.Fact[policy.CertificateFacts]{}
	v := i.walk(c, &c.facts)
	if v.action != 0 || v.wanted&policy.WantTLSCertificate == 0 || v.wanted&^(policy.WantTLSCertificate|policy.WantTLSVersion) != 0 {
		*f = before
		return
	}
	q.asked, q.early = true, how == mayHide
	s := c.serverOf(client)
	s.Protocols = offered(client)
	question := Question{ID: c.ID, Server: s, Source: c.Tuple.Source}
	if c.Tuple.Zone.IsVRF() || c.Tuple.Destination.IsLinkLocalUnicast() {
		question.Interface = c.Interface
	}
	i.questions = append(i.questions, question)
}

// offered are the protocols that a client offers, where they are no more than any
// client has.
func offered(client *hello.Client) string {
	const longest = 64
	if all := strings.Join(client.ALPN, "\x00"); len(all) <= longest {
		return all
	}
	return ""
}

// mayAsk: only for what this host itself sends, and what is enforced. What leads to TLS
// within a connection nobody can say to the server again. Without the safeguard `export`
// Weir's own connections are judged as any.
func (i *Inspector) mayAsk(c *conn) bool {
	p := i.version.Policy
	return i.config.Asks && p.Mode == policy.Prevent && p.Safeguards.Export && c.Direction == packet.Outbound && !c.Loopback && c.sealed == nil &&
		c.base == [2]uint64{} && !c.Tuple.Destination.IsMulticast()
}

// Questions are those since Reset, valid until its next call.
func (i *Inspector) Questions() []Question { return i.questions }

// Certificate gives the answer to the question of a connection.
func (i *Inspector) Certificate(id uint64, answer *Certificate, now time.Time) {
	c := i.byID[id]
	if c == nil || c.phase != reading || !c.inquiry.isOpen() {
		return
	}
	i.now = now
	q, f := &c.inquiry, &c.facts.TLS.Certificate
	q.answered, q.answer = true, *answer
	before := *f
	*f = answer.Fact
	// A ClientHello that is not blocked passes. Which version is chosen, and so whether
	// the wire shows the certificate after all, is for the server to say.
	if q.early && i.walk(c, &c.facts).action != policy.Block {
		*f = before
	}
	i.judge(c)
	if c.judged.action == policy.Block && i.version.Policy.Mode == policy.Prevent || !i.config.Report.TLS && !c.judged.waits() {
		i.stop(c)
	}
	i.settle(c)
	i.weigh(c)
}

// closeInquiry says that no answer is waited for any more.
func (i *Inspector) closeInquiry(c *conn, cause policy.Cause) {
	if !c.inquiry.isOpen() {
		return
	}
	c.inquiry.answered = true
	c.inquiry.answer = Certificate{Fact: policy.Lost[policy.CertificateFacts](cause)}
	c.facts.TLS.Certificate = c.inquiry.answer.Fact
	i.judge(c)
}

// setHidden tells of a certificate that the wire did not show.
func (c *conn) setHidden(t *telemetry.TLSExchange) {
	if a := &c.inquiry.answer; a.Leaf != nil && t.CertificateSource == telemetry.NoCertificate {
		setLeaf(t, a.Leaf)
		t.CertificateSource = a.Source
	}
}
