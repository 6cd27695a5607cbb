package http

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/weirnet/weir/internal/policy"
)

// The pseudo-headers, as bits.
const (
	pseudoMethod = 1 << iota
	pseudoScheme
	pseudoPath
	pseudoAuthority
	pseudoStatus
	pseudoProtocol
)

// block is a header section of HTTP/2 as it is decompressed.
type block struct {
	parser  *Parser
	decoder *hpack.Decoder
	fields
	// headers are what is to be told. Sections of both ends can be under way at once.
	headers []Header
	// promised is the stream of a PUSH_PROMISE.
	promised uint32
	size     int
	// pseudo are those that were there; regular that another header was.
	pseudo  uint8
	regular bool

	method, scheme, path, authority, status, protocol string

	// why is what is malformed, over which limit was passed: headers after that are
	// decompressed for the table's sake only.
	why, over Reason
}

func (b *block) begin(p *Parser, promised uint32) {
	*b = block{parser: p, decoder: b.decoder, promised: promised, headers: b.headers[:0]}
	b.decoder.SetEmitEnabled(true)
}

// field takes a header.
func (b *block) field(h hpack.HeaderField) {
	limits := &b.parser.limits
	b.count++
	b.size += int(h.Size())
	switch {
	case b.count > limits.Headers:
		b.over = TooManyHeaders
	case b.size > limits.HeaderBytes:
		b.over = TooManyHeaderBytes
	}
	if b.over != None {
		b.decoder.SetEmitEnabled(false)
		return
	}
	var why Reason
	if strings.HasPrefix(h.Name, ":") {
		why = b.takePseudo(h.Name, h.Value)
	} else {
		b.regular = true
		why = b.takeRegular(h.Name, h.Value)
	}
	if b.why == None {
		b.why = why
	}
}

func (b *block) takePseudo(name, value string) Reason {
	var bit uint8
	switch name {
	case ":method":
		bit, b.method = pseudoMethod, value
	case ":scheme":
		bit, b.scheme = pseudoScheme, value
	case ":path":
		bit, b.path = pseudoPath, value
	case ":authority":
		bit, b.authority = pseudoAuthority, value
	case ":status":
		bit, b.status = pseudoStatus, value
	case ":protocol":
		bit, b.protocol = pseudoProtocol, value
	}
	if bit == 0 || b.pseudo&bit != 0 || b.regular {
		b.pseudo |= bit
		return PseudoHeader
	}
	b.pseudo |= bit
	return None
}

// takeRegular is RFC 9113 section 8.2.
func (b *block) takeRegular(name, value string) Reason {
	if !isToken(name) || strings.ToLower(name) != name {
		return HeaderName
	}
	if why := checkValue(value, true); why != None {
		return why
	}
	if trim(value) != value {
		return WhiteSpace
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return ConnectionHeader
	case "te":
		if value != "trailers" {
			return ConnectionHeader
		}
	}
	if known, is := b.parser.wanted(name); is {
		b.headers = append(b.headers, Header{Name: known, Value: value})
	}
	if why := b.take(name, value, value, false, true); why != None {
		return why
	}
	return b.framingWhy
}

// told are the headers that the caller asked for.
func (b *block) told() []Header {
	p, from := b.parser, len(b.parser.headers)
	p.headers = append(p.headers, b.headers...)
	return p.headers[from:len(p.headers):len(p.headers)]
}

// request2 makes a request of the section: RFC 9113 section 8.3.1.
func (b *block) request2(m *Message) Reason {
	m.Version, m.Method = "2", b.method
	const always = pseudoMethod | pseudoScheme | pseudoPath
	switch {
	case b.over != None:
		return b.over
	case b.why != None:
		return b.why
	case b.pseudo&pseudoStatus != 0, !isToken(b.method):
		return PseudoHeader
	case b.method == "CONNECT" && b.pseudo&pseudoProtocol == 0:
		if b.pseudo != pseudoMethod|pseudoAuthority || b.authority == "" {
			return PseudoHeader
		}
	case b.pseudo&always != always, b.pseudo&pseudoProtocol != 0 && b.method != "CONNECT",
		!isScheme(b.scheme), !isTarget(b.path), b.path[0] != '/' && !(b.path == "*" && b.method == "OPTIONS"),
		b.pseudo&pseudoProtocol != 0 && !isToken(b.protocol):
		return PseudoHeader
	}
	m.Scheme = b.scheme
	m.setPath(b.path)
	host, why := m.setHost(b.authority, b.host)
	m.UserAgent, m.Trace = b.userAgent, b.trace.value()
	m.Facts = policy.HTTPFacts{
		Host: host, Path: m.pathFact(), Method: policy.Is(m.Method), Version: policy.Is("2"), Headers: headerFact(m.Headers),
	}
	m.Reason = why
	if why == None && m.Facts.Path.State == policy.Unobtainable {
		m.Reason = Target
	}
	return None
}

// status2 is the status of a response; 0 with a reason.
func (b *block) status2() (status uint16, why Reason) {
	switch {
	case b.pseudo != pseudoStatus || len(b.status) != 3 || !isDecimal(b.status) || b.status[0] == '0' || b.status == "101":
		return 0, PseudoHeader
	case b.over != None:
		why = b.over
	}
	return uint16(decimal(b.status)), why
}
