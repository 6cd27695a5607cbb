package tls

import (
	"github.com/weirnet/weir/internal/policy"
)

// Record types (RFC 8446 section 5.1).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordApplicationData  = 23
	recordHeartbeat        = 24
	recordSSLv2            = 0 // not one of them: a hello in SSL 2.0's form
)

const (
	recordHeader = 5
	// longestRecord is the longest payload: with what old versions add (RFC 5246
	// 6.2.3).
	longestRecord = 1<<14 + 2048
	messageHeader = 4
	alertLength   = 2

	defaultHello       = 32 << 10
	defaultCertificate = 128 << 10
)

// half is the state of one direction.
type half struct {
	at uint64 // bytes consumed
	// The record at hand: its type, where its header began, the length of its payload,
	// and the bytes of it that are still to come.
	kind  uint8
	begin uint64
	size  int
	left  int

	// The message at hand: its header as far as it is there, where it began, and its
	// body. Where it is skipped, skip says how many bytes of it are to come.
	header  [messageHeader]byte
	filled  int
	started uint64
	body    []byte
	skip    int

	protected bool // by ChangeCipherSpec, or by the ServerHello of TLS 1.3
	hidden    bool // there were handshake records since
	finished  bool
	over      bool // nothing more can be read
}

// Parser reads one connection. Its zero value has the default limits.
type Parser struct {
	limits      Limits
	ends        [2]half
	messages    []Message
	handshake   Handshake
	facts       policy.TLSFacts
	application policy.Fact[policy.Application]
	helloDone   bool
	retry       uint64 // where what follows a HelloRetryRequest begins, of the server's bytes
	kept        int    // bytes of the messages that handshake tells of
}

// Init makes the parser ready for a new connection; its storage is used again.
func (p *Parser) Init(limits Limits) {
	*p = Parser{limits: limits, messages: p.messages[:0]}
}

// Messages are what was found since Reset; valid until the next call.
func (p *Parser) Messages() []Message { return p.messages }

// Reset empties Messages.
func (p *Parser) Reset() { p.messages = p.messages[:0] }

// Handshake is what is known so far.
func (p *Parser) Handshake() *Handshake { return &p.handshake }

// Held is about how many bytes the parser holds besides its own size: messages under
// way, and what was read of others.
func (p *Parser) Held() int {
	const parsed = 4 // certificates, their keys and names take several times their length
	return cap(p.ends[Client].body) + cap(p.ends[Server].body) + parsed*p.kept
}

// Retry is the offset behind the server's HelloRetryRequest, and what goes with it that
// says nothing; 0 where there was none. The client sends its second ClientHello only
// once it has these bytes.
func (p *Parser) Retry() uint64 { return p.retry }

// Facts are what rules ask of TLS.
func (p *Parser) Facts() policy.TLSFacts { return p.facts }

// Application is TLS once the ClientHello is complete, and DNS besides where it
// offers that (ALPN "dot", RFC 7858).
func (p *Parser) Application() policy.Fact[policy.Application] { return p.application }

// Read takes what an end has sent, from where the last call left off, and returns
// how much of it need not come again.
func (p *Parser) Read(end End, data []byte) (consumed int) {
	h := &p.ends[end]
	for !h.over {
		if h.left == 0 {
			n := p.readRecordHeader(end, data[consumed:])
			if n == 0 {
				break
			}
			h.at += uint64(n)
			consumed += n
			p.checkEffort(end)
			continue
		}
		payload := data[consumed:min(len(data), consumed+h.left)]
		if len(payload) == 0 {
			break
		}
		n := p.readPayload(end, payload)
		if n == 0 {
			break
		}
		consumed += n
		p.checkEffort(end)
	}
	if h.over {
		h.at += uint64(len(data) - consumed)
		return len(data)
	}
	return consumed
}

// checkEffort bounds the bytes that may come before the facts do: records without
// content, messages that do not matter.
func (p *Parser) checkEffort(end End) {
	const overhead = 4 // room for records of one and two bytes
	switch at := p.ends[end].at; {
	case end == Client && p.application.State == policy.Unknown && at > overhead*uint64(p.helloLimit()),
		end == Server && p.facts.Certificate.State == policy.Unknown && at > overhead*uint64(p.certificateLimit()):
		p.lose(end, policy.Limit)
	}
}

func (p *Parser) helloLimit() int {
	if p.limits.Hello > 0 {
		return p.limits.Hello
	}
	return defaultHello
}

func (p *Parser) certificateLimit() int {
	if p.limits.Certificate > 0 {
		return p.limits.Certificate
	}
	return defaultCertificate
}

// Gap says that n bytes of an end will never be seen; 0 where nobody knows how many.
// Bytes that Skip spoke of may be left out so.
func (p *Parser) Gap(end End, n uint64) {
	h := &p.ends[end]
	if n > 0 && n <= p.Skip(end) {
		h.at += n
		h.left -= int(n)
		if h.skip > 0 {
			h.skipped(int(n))
		}
		return
	}
	h.at += n
	p.lose(end, policy.NotSeen)
}

// Skip is the number of bytes, from what was consumed on, that the parser does not
// need to see: they may be given to Gap instead of to Read.
func (p *Parser) Skip(end End) uint64 {
	h := &p.ends[end]
	switch {
	case h.over || h.left == 0 || h.kind == recordSSLv2:
		return 0
	case h.kind == recordHandshake && !h.protected:
		return uint64(min(h.skip, h.left))
	case h.kind == recordAlert && !h.protected && h.size == alertLength:
		return 0
	}
	return uint64(h.left)
}

// Wants says whether more bytes of the end can still yield something.
func (p *Parser) Wants(end End) bool { return !p.ends[end].over && !p.ends[end].finished }

// Limit says that the caller's bound of an end's bytes is reached.
func (p *Parser) Limit(end End) { p.lose(end, policy.Limit) }

// Close says that the end has sent its FIN, or was reset.
func (p *Parser) Close(end End) {
	h := &p.ends[end]
	if h.left > 0 || h.filled > 0 || end == Client {
		p.lose(end, policy.Malformed)
		return
	}
	p.refuse()
}

// refuse: the server says no more. What it has not sent does not exist.
func (p *Parser) refuse() {
	if p.facts.Version.State == policy.Unknown {
		p.facts.Version = policy.Missing[string]()
	}
	p.noCertificate(policy.Missing[policy.CertificateFacts]())
	p.ends[Server].over = true
}

// lose ends the reading of an end: what is not known of it never will be.
func (p *Parser) lose(end End, cause policy.Cause) {
	h := &p.ends[end]
	if h.over {
		return
	}
	h.over, h.body = true, nil
	lost := false
	if end == Client && p.application.State == policy.Unknown {
		lost = true
		p.application = policy.Lost[policy.Application](cause)
		p.facts.ServerName = policy.Lost[string](cause)
		p.facts.ECH = policy.Lost[bool](cause)
	}
	if end == Server && p.facts.Version.State == policy.Unknown {
		lost = true
		p.facts.Version = policy.Lost[string](cause)
	}
	if end == Server && p.facts.Certificate.State == policy.Unknown {
		lost = true
		p.facts.Certificate = policy.Lost[policy.CertificateFacts](cause)
	}
	if lost {
		p.messages = append(p.messages, Message{Kind: Lost, From: end, Begin: h.begin, After: h.at, Cause: cause})
	}
}

func (p *Parser) found(kind Kind, end End, begin uint64) {
	p.messages = append(p.messages, Message{Kind: kind, From: end, Begin: begin, After: p.ends[end].at})
}
