package http

import "strings"

// fields are what the headers of a section say that matters.
type fields struct {
	count int

	host, userAgent, upgrade, settings string
	hasHost, hasContentType            bool

	// lengths counts Content-Length, length is its text. codings is the list of
	// Transfer-Encoding so far read: see coding.
	lengths int
	length  string
	coding  coding
	// framingWhy is what is wrong with either.
	framingWhy Reason

	trace traceField
	// from and to are the place of what is told in Parser.headers.
	from, to int
}

// told are the headers that the caller asked for.
func (f *fields) told(p *Parser) []Header { return p.headers[f.from:f.to:f.to] }

// readFields reads the header section after its first line.
func (p *Parser) readFields(l *lines, f *fields) Reason {
	f.from, f.to = len(p.headers), len(p.headers)
	for {
		name, raw, folded, ok, why := l.field()
		if why != None {
			return why
		}
		if !ok {
			return None
		}
		f.count++
		if f.count > p.limits.Headers && !isFraming(name) {
			continue
		}
		value := trim(raw)
		if known, is := p.wanted(name); is {
			p.headers = append(p.headers, Header{Name: known, Value: value})
			f.to = len(p.headers)
		}
		if why = f.take(name, raw, value, folded, l.strict); why != None {
			return why
		}
	}
}

func isFraming(name string) bool {
	return equalFold(name, "content-length") || equalFold(name, "transfer-encoding")
}

// take notes a header of HTTP/1 that this package understands.
func (f *fields) take(name, raw, value string, folded, strict bool) Reason {
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			if f.hasHost && strict {
				return DuplicateHeader
			}
			if folded {
				return Folding
			}
			f.host, f.hasHost = value, true
		}
	case len("upgrade"):
		if equalFold(name, "upgrade") && value != "" {
			if f.upgrade == "" {
				f.upgrade = value
			} else {
				f.upgrade += ", " + value
			}
		}
	case len("user-agent"):
		if equalFold(name, "user-agent") && f.userAgent == "" {
			f.userAgent = value
		}
	case len("traceparent"):
		if equalFold(name, "traceparent") {
			f.trace.add(value)
		}
	case len("content-type"):
		// Servers differ in which one counts, and so in how they read the body.
		if strict && equalFold(name, "content-type") {
			if f.hasContentType {
				return DuplicateHeader
			}
			f.hasContentType = true
		}
	case len("http2-settings"):
		switch {
		case equalFold(name, "http2-settings"):
			f.settings = value
		case equalFold(name, "content-length"):
			if folded {
				return Folding
			}
			f.addLength(raw, value, strict)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			if folded {
				return Folding
			}
			f.addCoding(raw, value, strict)
		}
	}
	return None
}

// isPlain: at most one space before a value and none after it. Servers that do not
// trim, or trim more than that, see another value; in what frames a request no
// client writes it otherwise.
func isPlain(raw, value string) bool { return strings.TrimPrefix(raw, " ") == value }
