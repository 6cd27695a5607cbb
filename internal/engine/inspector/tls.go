package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/inspect/tls"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// tlsReader reads the handshake of TLS.
type tlsReader struct {
	parser tls.Parser
	// said is when the ClientHello was complete, ended when the handshake was.
	said, ended time.Time
	after       [2]uint64 // the offset behind the last message of each end
	problem     string
	// certificate is how much was known of it, by the parser alone.
	certificate policy.State
}

func (i *Inspector) newTLSReader(*conn) *tlsReader {
	r := &tlsReader{}
	r.parser.Init(tls.Limits{Hello: i.config.MaxBytes, Certificate: i.config.MaxBytes})
	return r
}

func (r *tlsReader) read(i *Inspector, c *conn, end int, data []byte) int {
	n := r.parser.Read(tls.End(end), data)
	r.take(i, c)
	return n
}

func (r *tlsReader) gap(i *Inspector, c *conn, end int, n uint64) {
	r.parser.Gap(tls.End(end), n)
	r.take(i, c)
}

func (r *tlsReader) limit(i *Inspector, c *conn, end int) {
	r.parser.Limit(tls.End(end))
	r.take(i, c)
}

func (r *tlsReader) close(i *Inspector, c *conn, end int) {
	r.parser.Close(tls.End(end))
	r.take(i, c)
}

func (r *tlsReader) skip(end int) uint64 {
	if !r.wants(end) {
		return everything
	}
	return r.parser.Skip(tls.End(end))
}

func (r *tlsReader) wants(end int) bool { return r.parser.Wants(tls.End(end)) }

// judged: a message that is under way may be a hello.
func (r *tlsReader) judged(end int) uint64 {
	if !r.wants(end) {
		return everything
	}
	return r.after[end]
}

func (r *tlsReader) distrust(c *conn, end int) {
	f := &c.facts
	if end == client {
		if f.Application.State == policy.Unknown {
			f.Application = policy.Lost[policy.Application](policy.Malformed)
		}
		f.TLS.ServerName, f.TLS.ECH = policy.Lost[string](policy.Malformed), policy.Lost[bool](policy.Malformed)
		return
	}
	f.TLS.Version = policy.Lost[string](policy.Malformed)
	f.TLS.Certificate = policy.Lost[policy.CertificateFacts](policy.Malformed)
}

// take goes through what the parser has found.
func (r *tlsReader) take(i *Inspector, c *conn) {
	messages := r.parser.Messages()
	for k := range messages {
		m := &messages[k]
		r.after[m.From] = m.After
		switch m.Kind {
		case tls.ClientHello:
			if r.said.IsZero() {
				r.said = i.now
			}
		case tls.Certificate:
			if h := r.parser.Handshake(); len(h.Chain) > 0 {
				i.remember(c, h.Client, h.Chain)
			}
		case tls.Established:
			r.ended = i.now
		case tls.Alert:
			if r.parser.Handshake().Alert.Fatal {
				r.ended = i.now
			}
		case tls.Lost:
			if r.problem == "" && m.Cause != policy.NotSeen {
				r.problem = handshakeProblem(client == int(m.From), m.Cause)
			}
		}
	}
	found := len(messages) > 0
	r.parser.Reset()
	if c.facts.Application.State == policy.Unknown {
		c.facts.Application = withDoT(r.parser.Application(), policy.AppTLS, c.Tuple.DestinationPort)
		found = found || c.facts.Application.State != policy.Unknown
	}
	if f := r.parser.Facts(); found || f.Certificate.State != r.certificate {
		c.facts.TLS, r.certificate = f, f.Certificate.State
		c.recause(&c.facts)
		h := r.parser.Handshake()
		i.reveal(c, h.Client, hidingOf(h.Client, h.Server, h.Resumed))
		i.judge(c)
	}
	if c.phase != reading {
		return
	}
	over := r.parser.Handshake().Established || !r.wants(client) && !r.wants(server)
	if over {
		i.closeInquiry(c, policy.NotSeen)
	}
	if over || !i.config.Report.TLS && !c.judged.waits() && c.facts.Application.State == policy.Known {
		i.stop(c)
	}
}

// withDoT adds DNS to what is on its port (RFC 7858, RFC 9250).
func withDoT(f policy.Fact[policy.Application], app policy.Application, port uint16) policy.Fact[policy.Application] {
	if f.State == policy.Known && f.Value&app != 0 && port == dns.PortTLS {
		f.Value |= policy.AppDNS
	}
	return f
}

func handshakeProblem(ofClient bool, cause policy.Cause) string {
	who := "what the server sends"
	if ofClient {
		who = "the ClientHello"
	}
	if cause == policy.Limit {
		return who + " is longer than the limit"
	}
	return who + " is malformed"
}

func (r *tlsReader) held() int { return r.parser.Held() }

func (r *tlsReader) finish(i *Inspector, c *conn) {
	h := r.parser.Handshake()
	if !i.config.Report.TLS || h.Client == nil && h.Server == nil {
		return
	}
	e := i.exchange(c, telemetry.TLSHandshake, &c.judged)
	e.Protocol, e.Problem, e.Answered = "tls", r.problem, r.ended
	if !r.said.IsZero() {
		e.Time = r.said
	}
	e.TLS = helloExchange(h.Client, h.Server, hello.OverTCP)
	e.TLS.Established, e.TLS.Resumed = h.Established, h.Resumed
	e.Version = e.TLS.Version
	if len(h.Chain) > 0 {
		setLeaf(e.TLS, h.Chain[0])
	}
	c.setHidden(e.TLS)
	i.exchanges = append(i.exchanges, e)
}
