package http

import "strings"

// response1 reads the header section of a response, which is to the first request
// that waits for one. The status is told even where the framing is wrong.
func (p *Parser) response1(s *side, m *Message, text string) (why Reason) {
	lines := newLines(text, true, false)
	first, _ := lines.next()
	status, version, why := statusLine(first)
	if why != None {
		return why
	}
	m.Kind, m.Status, m.Version = Response, status, version
	var x exchange // its zero value is as good as a GET that was not seen
	if p.pending.length() > 0 {
		x = *p.pending.first()
	}
	m.Exchange, m.Method = x.number, x.method
	var f fields
	if why = p.readFields(&lines, &f); why == None && f.count > p.limits.Headers {
		// The facts of a response are its status, which is known.
		m.Reason = TooManyHeaders
	}
	m.Headers = f.told(p)
	if why != None {
		m.Reason = why
	}
	if status == 101 && why == None {
		return p.switchProtocols(s, m, &x, &f)
	}
	if status >= 200 && p.pending.length() > 0 {
		p.pending.pop()
	}
	if status < 200 {
		p.tell(*m)
		return why
	}
	var framed framing
	if why == None && !x.noBody(status) {
		framed, why = f.ofResponse(m)
	}
	if why != None {
		m.Reason = why
		p.tell(*m)
		return why
	}
	framed.place(m)
	p.tell(*m)
	p.beginBody(s, m, framed)
	switch {
	case x.isTunnel(status):
		p.switching = Message{Kind: Switched, End: Server, Exchange: x.number, Method: x.method, Inner: InnerAny}
		p.beginInner(s, m.HeadEnd)
	case x.offers && p.sides[Client].state == waiting:
		// Requests may have been kept waiting behind it, to which responses are next.
		c := &p.sides[Client]
		c.state, c.resumes = head, c.offered > 0
	}
	return None
}

// switchProtocols is for status 101. What follows is not HTTP/1.
func (p *Parser) switchProtocols(s *side, m *Message, x *exchange, f *fields) Reason {
	if !x.offers || x.method == "CONNECT" {
		m.Reason = UnexpectedSwitch
		p.tell(*m)
		return UnexpectedSwitch
	}
	p.pending.pop()
	p.tell(*m)
	p.switching = Message{Kind: Switched, End: Server, Exchange: x.number, Method: x.method, Upgrade: f.upgrade, Inner: innerOf(f.upgrade)}
	if p.switching.Inner == InnerHTTP2 {
		// RFC 7540 section 3.2: the request is stream 1, which is answered in HTTP/2.
		p.two = newConnection2(&p.limits)
		p.two.upgraded(p, x)
	}
	p.beginInner(s, m.HeadEnd)
	return None
}

// beginInner: the server's inner stream begins at an offset. The client's begins
// where its request ends, if that has been read.
func (p *Parser) beginInner(s *side, at uint64) {
	p.isSwitch = true
	p.switching.InnerStart[Server] = at
	s.state = inner
	if p.switching.Inner == InnerHTTP2 {
		s.state, s.two = head, true
	}
	if c := &p.sides[Client]; c.state == waiting {
		p.switched(c.at)
	}
}

// switched tells the change of protocol.
func (p *Parser) switched(client uint64) {
	p.switching.InnerStart[Client] = client
	c := &p.sides[Client]
	c.state, c.resumes = inner, false
	if p.switching.Inner == InnerHTTP2 {
		c.state, c.two, c.resumes = head, true, c.offered > 0
	}
	p.isSwitch = false
	p.tell(p.switching)
}

func innerOf(upgrade string) Inner {
	name, _, _ := strings.Cut(upgrade, ",")
	switch name = strings.TrimSpace(name); {
	case strings.EqualFold(name, "websocket"):
		return InnerWebSocket
	case strings.EqualFold(name, "h2c"):
		return InnerHTTP2
	case len(name) >= 4 && strings.EqualFold(name[:4], "TLS/"):
		return InnerTLS
	}
	return InnerOther
}

// statusLine takes apart a response's first line. The text after the status, and
// the space before it, may be missing.
func statusLine(line string) (status uint16, version string, why Reason) {
	const prefix = "HTTP/1."
	if !strings.HasPrefix(line, prefix) || len(line) < len(prefix)+1 {
		return 0, "", Version
	}
	version, rest := line[len("HTTP/"):len(prefix)+1], line[len(prefix)+1:]
	if version != "1.0" && version != "1.1" {
		return 0, "", Version
	}
	if len(rest) < 4 || rest[0] != ' ' || len(rest) > 4 && rest[4] != ' ' {
		return 0, "", StatusLine
	}
	for _, c := range []byte(rest[1:4]) {
		if c < '0' || c > '9' {
			return 0, "", StatusLine
		}
		status = status*10 + uint16(c-'0')
	}
	if status < 100 {
		return 0, "", StatusLine
	}
	return status, version, None
}
