package inspector

import (
	"slices"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// maxAnswers is the number of records of an answer that are told.
const maxAnswers = 128

// dnsReader reads DNS over TCP.
type dnsReader struct{ parser dns.Parser }

func (i *Inspector) newDNSReader(c *conn) *dnsReader {
	return &dnsReader{parser: dns.Parser{Protocol: dns.ProtocolOf(c.Tuple.SourcePort, c.Tuple.DestinationPort)}}
}

func (r *dnsReader) read(i *Inspector, c *conn, end int, data []byte) int {
	n := r.parser.Read(dns.End(end), data)
	r.take(i, c)
	return n
}

func (r *dnsReader) gap(i *Inspector, c *conn, end int, n uint64) {
	r.parser.Gap(dns.End(end), n)
	r.take(i, c)
}

func (r *dnsReader) limit(_ *Inspector, _ *conn, end int) { r.parser.Limit(dns.End(end)) }

func (r *dnsReader) close(i *Inspector, c *conn, end int) {
	r.parser.Close(dns.End(end))
	r.take(i, c)
}

func (r *dnsReader) skip(end int) uint64 {
	if !r.wants(end) {
		return everything
	}
	return r.parser.Skip(dns.End(end))
}

func (r *dnsReader) wants(end int) bool    { return r.parser.Wants(dns.End(end)) }
func (r *dnsReader) judged(end int) uint64 { return r.parser.Consumed(dns.End(end)) }

func (r *dnsReader) distrust(c *conn, _ int) {
	c.facts.DNS = policy.DNSFacts{Name: policy.Lost[string](policy.Malformed), Type: policy.Lost[uint16](policy.Malformed)}
}

// held: messages lie in the stream's bytes.
func (r *dnsReader) held() int { return 0 }

func (r *dnsReader) finish(*Inspector, *conn) {}

func (r *dnsReader) take(i *Inspector, c *conn) {
	messages := r.parser.Messages()
	for k := range messages {
		i.dnsMessage(c, int(messages[k].From), &messages[k])
	}
	r.parser.Reset()
	if c.phase == reading && !r.wants(client) && !r.wants(server) {
		i.stop(c)
	}
}

// message1 takes a datagram of DNS.
func (i *Inspector) message1(c *conn, p *Packet) policy.Action {
	m := &i.message
	m.Parse(p.Payload, len(p.Payload)+p.Missing, dns.ProtocolOf(c.Tuple.SourcePort, c.Tuple.DestinationPort))
	return i.dnsMessage(c, p.End, m)
}

// dnsMessage judges a query, which it tells of once it is answered or is not. It
// returns the query's action.
func (i *Inspector) dnsMessage(c *conn, end int, m *dns.Message) policy.Action {
	tuple := c.Tuple
	if end == server {
		tuple = tuple.Reversed()
	}
	if m.IsAnswer() {
		i.answer(c, tuple, m)
		return 0
	}
	if end == server && m.Problem != dns.None {
		return 0
	}
	c.asks = true
	prevent := i.version.Policy.Mode == policy.Prevent
	action := policy.Allow
	var first verdict
	withheld := -1 // the first question that is
	for k := range m.Judged() {
		facts := c.facts
		facts.DNS = m.Facts(k)
		c.recause(&facts)
		v := i.walk(c, &facts)
		if k == 0 {
			first = v
		}
		if v.action != policy.Allow {
			action = v.action
		}
		if v.action == policy.Block && withheld < 0 {
			withheld = k
			first = v
		}
		// A datagram is dropped, and its connection goes on. A stream cannot go on
		// without a part of it.
		if v.action == policy.Allow || c.Tuple.Protocol == packet.TCP {
			c.take(v)
			c.cut = c.cut || v.action == policy.Block && prevent
		}
		if m.Protocol == dns.MDNS {
			// Who answers names no question, so that nothing pairs with it.
			i.query(c, m, k, &v)
		}
	}
	switch {
	case m.Protocol == dns.MDNS:
	case withheld >= 0 && prevent:
		i.query(c, m, withheld, &first) // no answer will come
	default:
		i.ask(c, tuple, m, &first)
	}
	return action
}

// ask waits for a query's answer.
func (i *Inspector) ask(c *conn, tuple packet.Tuple, m *dns.Message, v *verdict) {
	before := i.queries.Counters
	i.cookie++
	if given := i.queries.Ask(tuple, m, i.cookie, i.now); given != nil {
		i.unanswered(given)
	}
	switch {
	case !i.config.Report.DNS:
	case i.queries.Counters.Asked > before.Asked:
		q := &m.Questions[0]
		i.asked[i.cookie] = telemetry.Exchange{
			Kind: telemetry.DNSQuery, Time: i.now, Connection: c.ref(), Judgement: i.judgement(v), Protocol: "dns",
			DNS: &telemetry.DNSExchange{
				Name: q.Name.String(), Type: dns.TypeName(q.Type), Transport: transportOf(&tuple), Service: m.Protocol.String(),
			},
		}
		c.queries = append(c.queries, i.cookie)
	case i.queries.Counters.Unpaired > before.Unpaired:
		i.query(c, m, 0, v)
	}
}

// query tells of a query to which no answer can be found.
func (i *Inspector) query(c *conn, m *dns.Message, question int, v *verdict) {
	if !i.config.Report.DNS {
		return
	}
	e := i.exchange(c, telemetry.DNSQuery, v)
	e.Protocol, e.Problem = "dns", problemOf("the query", m.Problem)
	e.DNS = &telemetry.DNSExchange{Transport: transportOf(&c.Tuple), Service: m.Protocol.String()}
	if question < len(m.Questions) {
		q := &m.Questions[question]
		e.DNS.Name, e.DNS.Type = q.Name.String(), dns.TypeName(q.Type)
	}
	i.exchanges = append(i.exchanges, e)
}

// answer finds the query of an answer, tells of both, and learns from it.
func (i *Inspector) answer(c *conn, tuple packet.Tuple, m *dns.Message) {
	e := i.queries.Answer(tuple, m)
	if e == nil {
		i.unasked(c, m)
		return
	}
	if i.version.learns && m.Problem == dns.None {
		i.learner.learn(i.config.Names, tuple, e, m, i.now)
	}
	record, ok := i.wasAsked(e.Cookie)
	if !ok {
		return
	}
	record.Answered = i.now
	record.Problem = problemOf("the answer", m.Problem)
	record.DNS.ResponseCode = dns.RCodeName(m.RCode)
	if i.config.Report.Answers {
		record.DNS.Answers = m.AppendAnswers(nil, maxAnswers)
	}
	i.exchanges = append(i.exchanges, record)
}

// unasked tells of an answer in a connection of which no query was seen at all. Any
// other that nobody asked for is another copy, or was made up.
func (i *Inspector) unasked(c *conn, m *dns.Message) {
	if c.asks || !i.config.Report.DNS || len(m.Questions) == 0 || m.Protocol == dns.MDNS {
		return
	}
	q := &m.Questions[0]
	e := i.exchange(c, telemetry.DNSQuery, &c.judged)
	e.Protocol, e.Answered, e.Problem = "dns", i.now, "the query was not seen"
	e.DNS = &telemetry.DNSExchange{
		Name: q.Name.String(), Type: dns.TypeName(q.Type), ResponseCode: dns.RCodeName(m.RCode),
		Transport: transportOf(&c.Tuple), Service: m.Protocol.String(),
	}
	if i.config.Report.Answers {
		e.DNS.Answers = m.AppendAnswers(nil, maxAnswers)
	}
	i.exchanges = append(i.exchanges, e)
}

// wasAsked is the record of a query, whose connection waits for its answer no more.
func (i *Inspector) wasAsked(cookie uint64) (record telemetry.Exchange, ok bool) {
	if record, ok = i.asked[cookie]; !ok {
		return record, false
	}
	delete(i.asked, cookie)
	if c := i.byID[record.Connection.ID]; c != nil {
		if at := slices.Index(c.queries, cookie); at >= 0 {
			c.queries = slices.Delete(c.queries, at, at+1)
		}
	}
	return record, true
}

// unanswered tells of a query that no answer came to.
func (i *Inspector) unanswered(e *dns.Exchange) {
	if record, ok := i.wasAsked(e.Cookie); ok {
		i.exchanges = append(i.exchanges, record)
	}
}

// leaveUnanswered tells of the queries of a connection that is not known any more. An answer
// that comes all the same is learned from.
func (i *Inspector) leaveUnanswered(c *conn) {
	for _, cookie := range c.queries {
		i.exchanges = append(i.exchanges, i.asked[cookie])
		delete(i.asked, cookie)
	}
	c.queries = nil
}

func (i *Inspector) expireQueries() {
	for e := i.queries.Expire(i.now); e != nil; e = i.queries.Expire(i.now) {
		i.unanswered(e)
	}
}

func transportOf(t *packet.Tuple) string {
	if t.Protocol == packet.UDP {
		return "udp"
	}
	return "tcp"
}

func problemOf(what string, p dns.Problem) string {
	if p == dns.None {
		return ""
	}
	return what + ": " + p.String()
}
