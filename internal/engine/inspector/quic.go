package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/inspect/quic"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// quicReader reads the handshake of QUIC.
type quicReader struct {
	parser      quic.Parser
	said, ended time.Time
	problem     string
	isTold      bool // its record was made
}

func (i *Inspector) newQUICReader() *quicReader {
	r := &quicReader{}
	r.parser.Init(quic.Limits{Hello: i.config.MaxBytes})
	return r
}

// read takes a datagram.
func (r *quicReader) read(i *Inspector, c *conn, p *Packet) {
	if p.Missing > 0 {
		r.parser.Gap(quic.End(p.End)) // what is cut short cannot be decrypted
	} else {
		r.parser.Read(quic.End(p.End), p.Payload)
	}
	messages := r.parser.Messages()
	for k := range messages {
		m := &messages[k]
		switch m.Kind {
		case quic.ClientHello:
			if r.said.IsZero() {
				r.said = i.now
			}
		case quic.Established, quic.Closed:
			r.ended = i.now
		case quic.Lost:
			if r.problem == "" && m.Cause != policy.NotSeen {
				r.problem = handshakeProblem(m.From == quic.Client, m.Cause)
			}
		}
	}
	found := len(messages) > 0
	r.parser.Reset()
	if !found {
		return
	}
	c.facts.Application = withDoT(r.parser.Application(), policy.AppQUIC, c.Tuple.DestinationPort)
	c.facts.TLS = r.parser.Facts()
	if h := r.parser.Handshake(); h.Client != nil {
		i.reveal(c, h.Client, hides)
	}
	i.judge(c)
	if r.parser.Handshake().Established || !r.parser.Wants(quic.Client) && !r.parser.Wants(quic.Server) {
		r.finish(i, c)
	}
}

// wants: a client may open another connection between the same ports, so that its
// datagrams are wanted as long as the first was not given up.
func (r *quicReader) wants(end int) bool {
	if end == client {
		return r.parser.Application().State != policy.Unobtainable
	}
	return r.parser.Wants(quic.Server)
}

func (r *quicReader) finish(i *Inspector, c *conn) {
	h := r.parser.Handshake()
	if r.isTold || !i.config.Report.TLS || h.Client == nil {
		return
	}
	r.isTold = true
	e := i.exchange(c, telemetry.TLSHandshake, &c.judged)
	e.Protocol, e.Version, e.Problem, e.Answered = "quic", quic.VersionName(h.Version), r.problem, r.ended
	if !r.said.IsZero() {
		e.Time = r.said
	}
	e.TLS = helloExchange(h.Client, h.Server, hello.OverQUIC)
	e.TLS.Established, e.TLS.Resumed = h.Established, h.Resumed
	c.setHidden(e.TLS)
	i.exchanges = append(i.exchanges, e)
}
