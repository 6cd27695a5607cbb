package inspector

import (
	"maps"
	"slices"
	"strings"

	"github.com/weirnet/weir/internal/inspect/http"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// httpReader reads HTTP/1 and clear-text HTTP/2.
type httpReader struct {
	parser http.Parser
	// open are the records of requests that wait for their response, by exchange.
	open map[uint64]*telemetry.Exchange
	// garbled: there is a record of what the client sent and could not be read.
	garbled bool
	waiting int // bytes of open
	// due are the requests of HTTP/1 that were allowed and whose responses are not over
	// yet, by exchange; kept in prevent mode.
	due map[uint64]struct{}
	// withheld is one more than the offset of the first request that is blocked.
	withheld uint64
}

func (i *Inspector) newHTTPReader() *httpReader {
	r := &httpReader{}
	r.parser.Init(i.http)
	return r
}

// setHeaders makes the configuration of parsers anew after a change of policy. Those
// at work take it over from the next request on; what a rule asks for now and was
// not kept of requests before cannot be had.
func (i *Inspector) setHeaders(old *version) {
	all := append(i.version.Policy.HeaderNames(), i.config.Report.Headers...)
	slices.Sort(all)
	all = slices.Compact(all)
	if old != nil && slices.Equal(all, i.http.Headers) {
		return
	}
	var before []string
	if i.http != nil {
		before = i.http.Headers
	}
	i.http = &http.Config{Headers: all, Limits: http.Limits{HeaderBytes: i.config.MaxBytes}}
	isNew := slices.ContainsFunc(all, func(name string) bool { return !slices.Contains(before, name) })
	for c := i.oldest; c != nil; c = c.newer {
		if r, ok := c.reader.(*httpReader); ok {
			r.parser.SetHeaders(all)
		}
		if h := &c.facts.HTTP.Headers; isNew && h.State == policy.Known {
			*h = policy.Lost[map[string][]string](policy.NotSeen)
		}
	}
}

func (r *httpReader) read(i *Inspector, c *conn, end int, data []byte) int {
	if end == client && r.withheld != 0 && i.version.Policy.Mode == policy.Prevent {
		return len(data) // nothing of it goes on
	}
	n := r.parser.Read(http.End(end), data)
	r.take(i, c)
	return n
}

func (r *httpReader) gap(i *Inspector, c *conn, end int, n uint64) {
	r.parser.Gap(http.End(end), n)
	r.take(i, c)
}

func (r *httpReader) limit(i *Inspector, c *conn, end int) {
	r.parser.Limit(http.End(end))
	r.take(i, c)
}

func (r *httpReader) close(i *Inspector, c *conn, end int) {
	r.parser.Close(http.End(end))
	r.take(i, c)
}

func (r *httpReader) skip(end int) uint64 { return r.parser.Skip(http.End(end)) }
func (r *httpReader) wants(end int) bool  { return r.parser.Wants(http.End(end)) }

func (r *httpReader) judged(end int) uint64 {
	if at := r.parser.Undecided(http.End(end)); end == server || r.withheld == 0 || at < r.withheld {
		return at
	}
	return r.withheld - 1
}

func (r *httpReader) distrust(c *conn, _ int) { c.facts.HTTP = lostHTTP(policy.Malformed) }

// take goes through what the parser has found.
func (r *httpReader) take(i *Inspector, c *conn) {
	messages := r.parser.Messages()
	if len(messages) == 0 {
		return
	}
	var inner *http.Message
	missed := false
	for k := range messages {
		m := &messages[k]
		switch m.Kind {
		case http.Request:
			r.request(i, c, m)
		case http.Response:
			switch e := r.open[m.Exchange]; {
			case m.Status == 101 && e != nil:
				e.HTTP.Status, e.Answered = 101, i.now
			case m.Status >= 200 || m.Status == 101:
				r.answer(i, c, m, m.Status)
			}
		case http.Ended:
			if m.End == http.Server {
				delete(r.due, m.Exchange)
			}
		case http.Unanswered:
			delete(r.due, m.Exchange)
			r.answer(i, c, m, 0)
		case http.Broken:
			if m.End == http.Client {
				r.broken(i, c, m)
				missed = m.Reason.Cause() == policy.NotSeen && c.loss == 0
			}
		case http.Switched:
			if m.Stream == 0 {
				inner = m
			}
			if m.Inner != http.InnerHTTP2 { // there the response is yet to come
				r.answer(i, c, m, 0)
			}
		}
	}
	at, begins := [2]uint64{}, false
	if inner != nil {
		// Messages of WebSocket belong to the request that asked for it, as its body
		// does. HTTP/2 is read by the same parser.
		at, begins = inner.InnerStart, inner.Inner != http.InnerWebSocket && inner.Inner != http.InnerHTTP2
	}
	r.parser.Reset()
	switch {
	case missed && c.phase == reading:
		i.miss(c)
	case begins:
		i.restart(c, at)
	case c.phase == reading && !r.parser.Wants(http.Client) && !r.parser.Wants(http.Server):
		i.stop(c)
	}
}

// request judges a request, and begins its record.
func (r *httpReader) request(i *Inspector, c *conn, m *http.Message) {
	facts := c.facts
	facts.HTTP = m.Facts
	c.recause(&facts)
	v := i.walk(c, &facts)
	if m.End == http.Client && !c.cut {
		c.facts.HTTP = facts.HTTP
		c.take(v)
		r.withhold(i, c, &v, m)
		if v.action == policy.Allow && r.withheld == 0 && m.Stream == 0 && i.version.Policy.Mode == policy.Prevent {
			if r.due == nil {
				r.due = map[uint64]struct{}{}
			}
			r.due[m.Exchange] = struct{}{}
		}
	}
	if !i.config.Report.HTTP {
		return
	}
	e := i.exchange(c, telemetry.HTTPRequest, &v)
	e.Protocol, e.Version, e.Problem = "http", m.Version, m.Reason.String()
	// The header section's text is not to be held for these parts of it.
	h := &telemetry.HTTPExchange{
		Method: strings.Clone(m.Method), Scheme: strings.Clone(m.Scheme), Path: strings.Clone(m.Path), HasQuery: m.HasQuery,
		Host: strings.Clone(m.Host), Port: m.Port, UserAgent: strings.Clone(m.UserAgent),
	}
	if i.config.Report.Query {
		h.Query = strings.Clone(m.Query)
	}
	for _, header := range m.Headers {
		if slices.Contains(i.config.Report.Headers, header.Name) {
			if h.Headers == nil {
				h.Headers = map[string][]string{}
			}
			h.Headers[header.Name] = append(h.Headers[header.Name], strings.Clone(header.Value))
		}
	}
	if t := &m.Trace; t.Valid {
		h.Trace = telemetry.TraceContext{Valid: true, TraceID: t.TraceID, ParentID: t.ParentID, Sampled: t.Flags&1 != 0}
	}
	e.HTTP = h
	if v.action == policy.Block && i.version.Policy.Mode == policy.Prevent {
		i.exchanges = append(i.exchanges, e) // no response will come
		return
	}
	if r.open == nil {
		r.open = map[uint64]*telemetry.Exchange{}
	}
	r.open[m.Exchange] = &e
	r.waiting += sizeOf(&e)
}

// withhold notes where what is blocked begins.
func (r *httpReader) withhold(i *Inspector, c *conn, v *verdict, m *http.Message) {
	if v.action == policy.Block && r.withheld == 0 {
		r.withheld = m.Start + 1
		c.cut = i.version.Policy.Mode == policy.Prevent
	}
}

// sizeOf is about how many bytes the record of a request takes.
func sizeOf(e *telemetry.Exchange) int {
	const fixed = 1024 // itself, its parts, its place in the map
	h := e.HTTP
	n := fixed + len(h.Method) + len(h.Scheme) + len(h.Path) + len(h.Host) + len(h.UserAgent) + len(h.Query)
	for name, values := range h.Headers {
		n += 64 + len(name)
		for _, v := range values {
			n += 16 + len(v)
		}
	}
	return n
}

// answer ends the record of a request with its status; 0: none comes.
func (r *httpReader) answer(i *Inspector, c *conn, m *http.Message, status uint16) {
	e := r.open[m.Exchange]
	if e == nil && m.Exchange == 0 && status != 0 && i.config.Report.HTTP && !r.garbled {
		unasked := i.exchange(c, telemetry.HTTPRequest, &c.judged)
		unasked.Protocol, unasked.Version, unasked.Problem = "http", m.Version, "the request was not seen"
		unasked.HTTP = &telemetry.HTTPExchange{}
		e = &unasked
	}
	if e == nil {
		return
	}
	if _, waited := r.open[m.Exchange]; waited {
		r.waiting -= sizeOf(e)
		delete(r.open, m.Exchange)
	}
	if status != 0 {
		e.HTTP.Status, e.Answered = status, i.now
	}
	if e.Problem == "" {
		e.Problem = m.Reason.String()
	}
	i.exchanges = append(i.exchanges, *e)
}

// broken: what the client sends from here on cannot be understood. If it is not for
// bytes that were missed, it is a request, and has a record.
func (r *httpReader) broken(i *Inspector, c *conn, m *http.Message) {
	facts := c.facts
	facts.HTTP = m.Facts
	c.recause(&facts)
	v := i.walk(c, &facts)
	if !c.cut {
		c.facts.HTTP = facts.HTTP
		c.take(v)
		r.withhold(i, c, &v, m)
	}
	if !i.config.Report.HTTP || m.Reason.Cause() == policy.NotSeen {
		return
	}
	r.garbled = true
	e := i.exchange(c, telemetry.HTTPRequest, &v)
	e.Protocol, e.Problem, e.HTTP = "http", m.Reason.String(), &telemetry.HTTPExchange{}
	i.exchanges = append(i.exchanges, e)
}

func (r *httpReader) held() int { return r.parser.Held() + r.waiting }

func (r *httpReader) finish(i *Inspector, _ *conn) {
	for _, number := range slices.Sorted(maps.Keys(r.open)) {
		e := r.open[number]
		if e.Problem == "" && e.HTTP.Status == 0 {
			e.Problem = "the response was not waited for"
		}
		i.exchanges = append(i.exchanges, *e)
	}
	r.open = nil
}

func lostHTTP(cause policy.Cause) policy.HTTPFacts {
	return policy.HTTPFacts{
		Host: policy.Lost[string](cause), Path: policy.Lost[string](cause), Method: policy.Lost[string](cause),
		Headers: policy.Lost[map[string][]string](cause), Version: policy.Lost[string](cause),
	}
}
