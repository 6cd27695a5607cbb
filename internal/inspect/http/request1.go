package http

import (
	"slices"
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

// request1 reads the header section of a request. What is wrong with where it
// ends is returned, since nothing behind it can be understood then; what is wrong
// with some of its facts stands in m.
func (p *Parser) request1(s *side, m *Message, text string) (why Reason) {
	lines := newLines(text, p.fold, true)
	first, _ := lines.next()
	method, target, version, why := requestLine(first)
	if why != None {
		return why
	}
	m.Kind, m.Method, m.Version = Request, method, version
	var f fields
	if why = p.readFields(&lines, &f); why != None {
		return why
	}
	framed, why := f.ofRequest(m)
	if why != None {
		return why
	}
	host, hostWhy := m.setTarget(target, &f)
	if hostWhy == Target {
		return Target
	}
	m.UserAgent, m.Trace, m.Headers = f.userAgent, f.trace.value(), f.told(p)
	m.Facts = policy.HTTPFacts{
		Host: host, Path: m.pathFact(), Method: policy.Is(method), Version: policy.Is(version), Headers: headerFact(m.Headers),
	}
	m.Reason = hostWhy
	if hostWhy == None && m.Facts.Path.State == policy.Unobtainable {
		m.Reason = Target
	}
	if f.count > p.limits.Headers {
		m.refuse(TooManyHeaders)
	}
	p.requests++
	m.Exchange = p.requests
	framed.place(m)
	p.tell(*m)
	p.expect(s, method, &f)
	p.beginBody(s, m, framed)
	return None
}

// refuse takes back what was said of a request, of which the rest of the stream
// does not depend.
func (m *Message) refuse(why Reason) {
	*m = Message{
		Kind: Request, End: m.End, Reason: why, Exchange: m.Exchange, Stream: m.Stream, Method: m.Method,
		Start: m.Start, HeadEnd: m.HeadEnd, Facts: lost(why.Cause()),
	}
}

// expect puts a request among those that wait for a response.
func (p *Parser) expect(s *side, method string, f *fields) {
	s.offers = method == "CONNECT" || f.upgrade != ""
	if !p.deaf && p.pending.length() >= p.limits.Pending {
		p.giveUp(Server, TooManyPending, p.sides[Server].at)
	}
	if p.deaf {
		p.tell(Message{Kind: Unanswered, End: Server, Reason: p.deafness, Exchange: p.requests, Method: method})
		return
	}
	settings := f.settings
	if len(settings) > maxUpgradeSettings*2 {
		settings = settings[:maxUpgradeSettings*2]
	}
	// The header section's text is not to be held for its method.
	p.pending.push(exchange{
		number: p.requests, method: methodOf(method), offers: s.offers, settings: strings.Clone(settings),
	})
}

// methodOf is a method without the text that it is part of. Methods that nobody knows are
// cut at a length that no known one has.
func methodOf(method string) string {
	for _, known := range [...]string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"} {
		if method == known {
			return known
		}
	}
	return strings.Clone(method[:min(len(method), maxMethod)])
}

// requestLine takes apart a request's first line. Other white space than one
// space (RFC 9112 section 3) is where servers disagree.
func requestLine(line string) (method, target, version string, why Reason) {
	switch {
	case strings.IndexByte(line, 0) >= 0:
		return "", "", "", NUL
	case strings.IndexByte(line, '\r') >= 0:
		return "", "", "", BareCR
	}
	method, rest, found := strings.Cut(line, " ")
	switch {
	case !isToken(method):
		return "", "", "", Method
	case !found:
		return "", "", "", RequestLine
	}
	i := strings.LastIndexByte(rest, ' ')
	if i < 0 {
		return "", "", "", HTTP09
	}
	target, version = rest[:i], rest[i+1:]
	switch {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return "", "", "", Version
	case !isTarget(target):
		return "", "", "", Target
	}
	return method, target, version[len("HTTP/"):], None
}

// isTarget: bytes beyond ASCII are not allowed there, but servers take them.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// pathFact is absent for CONNECT, which has no path. A path with a fragment is cut
// there by some servers and taken whole by others: /a#/../b is /a or /b.
func (m *Message) pathFact() policy.Fact[string] {
	switch {
	case m.Method == "CONNECT" && m.Path == "":
		return policy.Missing[string]()
	case strings.IndexByte(m.Path, '#') >= 0:
		return policy.Lost[string](policy.Malformed)
	}
	return policy.PathFact(m.Path)
}

// headerFact is what rules compare. Values stay apart, as lines were.
func headerFact(headers []Header) policy.Fact[map[string][]string] {
	var all map[string][]string
	for _, h := range headers {
		if all == nil {
			all = make(map[string][]string, len(headers))
		}
		all[h.Name] = append(all[h.Name], h.Value)
	}
	return policy.Is(all)
}

// wanted is the name, in lower case, of a header that is to be told.
func (p *Parser) wanted(name string) (string, bool) {
	i := slices.IndexFunc(p.names, func(want string) bool { return equalFold(name, want) })
	if i < 0 {
		return "", false
	}
	return p.names[i], true
}
