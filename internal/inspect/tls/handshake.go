package tls

import (
	"slices"

	"github.com/weirnet/weir/internal/inspect/tls/certificate"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

// readHandshake reads messages out of a handshake record's payload. A message that
// lies in it as a whole is read where it is, others are gathered.
func (p *Parser) readHandshake(end End, payload []byte) (consumed int) {
	h := &p.ends[end]
	for consumed < len(payload) && !h.over && !h.protected {
		rest := payload[consumed:]
		if h.filled < messageHeader {
			if h.filled == 0 {
				h.started = h.at
				if h.at == h.begin+recordHeader {
					h.started = h.begin
				}
			}
			n := copy(h.header[h.filled:], rest)
			h.filled += n
			h.pass(n)
			consumed += n
			if h.filled == messageHeader {
				p.messageBegins(end)
			}
			continue
		}
		if h.skip > 0 {
			n := min(h.skip, len(rest))
			h.pass(n)
			consumed += n
			h.skipped(n)
			continue
		}
		body, missing := rest, h.length()-len(h.body)
		n := min(missing, len(rest))
		h.pass(n)
		consumed += n
		if len(h.body) > 0 || n < missing {
			h.body = append(h.body, rest[:n]...)
			body = h.body
		} else {
			body = body[:n]
		}
		if n == missing {
			p.message(end, body)
			h.filled, h.body = 0, nil
		}
	}
	return consumed
}

// length is that of the message at hand.
func (h *half) length() int {
	return int(h.header[1])<<16 | int(h.header[2])<<8 | int(h.header[3])
}

// skipped counts bytes of a message that is not read.
func (h *half) skipped(n int) {
	if h.skip -= n; h.skip == 0 {
		h.filled = 0
	}
}

// messageBegins says what becomes of the message whose header is there.
func (p *Parser) messageBegins(end End) {
	h := &p.ends[end]
	limit := p.helloLimit()
	wanted := false
	switch kind := h.header[0]; {
	case end == Client && kind == hello.TypeClientHello:
		wanted = true
	case end == Client && p.application.State == policy.Unknown:
		p.lose(end, policy.Malformed) // nothing comes before it
		return
	case end == Server && p.handshake.Server == nil:
		wanted = kind == hello.TypeServerHello || kind == hello.TypeHelloRetryRequest
		if !wanted && h.header != [messageHeader]byte{} { // HelloRequest
			p.lose(end, policy.Malformed)
			return
		}
	case end == Server && kind == hello.TypeCertificate && p.facts.Certificate.State == policy.Unknown:
		wanted, limit = true, p.certificateLimit()
	case end == Server:
		p.serverMessage(kind)
	}
	switch {
	case !wanted:
		h.skip = h.length()
		if h.skip == 0 {
			h.filled = 0
		}
	case h.length() == 0:
		p.lose(end, policy.Malformed)
	case h.length() > limit && h.header[0] == hello.TypeCertificate:
		p.noCertificate(policy.Lost[policy.CertificateFacts](policy.Limit))
		p.messages = append(p.messages, Message{Kind: Lost, From: end, Begin: h.started, After: h.at, Cause: policy.Limit})
		h.skip = h.length()
	case h.length() > limit:
		p.lose(end, policy.Limit)
	}
}

// serverMessage notes what follows the ServerHello in TLS 1.2 and below.
func (p *Parser) serverMessage(kind uint8) {
	const serverKeyExchange = 12
	switch kind {
	case hello.TypeServerHelloDone:
		p.helloDone = true
		fallthrough
	case serverKeyExchange:
		// The key exchange needs none (anonymous, or a key that both know).
		p.noCertificate(policy.Missing[policy.CertificateFacts]())
	}
}

func (p *Parser) noCertificate(state policy.Fact[policy.CertificateFacts]) {
	if p.facts.Certificate.State == policy.Unknown {
		p.facts.Certificate = state
	}
}

// message reads the message at hand.
func (p *Parser) message(end End, body []byte) {
	h := &p.ends[end]
	p.kept += len(body)
	switch kind := h.header[0]; {
	case end == Client:
		client, err := hello.ReadClient(body)
		p.clientHello(client, err, h.started)
	case kind == hello.TypeServerHello:
		server, err := hello.ReadServer(body)
		p.serverHello(server, err)
	case kind == hello.TypeHelloRetryRequest:
		server, err := hello.ReadDraftRetry(body)
		p.serverHello(server, err)
	case kind == hello.TypeCertificate:
		p.certificates(body)
	}
}

func (p *Parser) clientHello(client *hello.Client, err error, begin uint64) {
	if p.handshake.Client != nil {
		p.secondHello(client, err, begin)
		return
	}
	p.handshake.Client = client
	if err != nil {
		p.lose(Client, policy.Malformed)
		return
	}
	p.facts.ServerName, p.facts.ECH = client.ServerName, client.ECH
	app := policy.AppTLS
	if slices.Contains(client.ALPN, "dot") {
		app |= policy.AppDNS
	}
	p.application = policy.Is(app)
	p.found(ClientHello, Client, begin)
}

// secondHello must say the same as the first (RFC 8446 section 4.1.2). Servers
// differ in which one they heed, so that one which does not settles nothing.
func (p *Parser) secondHello(client *hello.Client, err error, begin uint64) {
	if err != nil || client.ServerName != p.facts.ServerName || client.ECH != p.facts.ECH {
		p.distrust()
		return
	}
	p.found(ClientHello, Client, begin)
}

// distrust takes back what the first ClientHello said.
func (p *Parser) distrust() {
	p.facts.ServerName = policy.Lost[string](policy.Malformed)
	p.facts.ECH = policy.Lost[bool](policy.Malformed)
	h := &p.ends[Client]
	h.over = true
	p.messages = append(p.messages, Message{Kind: Lost, From: Client, Begin: h.begin, After: h.at, Cause: policy.Malformed})
}

func (p *Parser) serverHello(server *hello.Server, err error) {
	h := &p.ends[Server]
	if err != nil || server.Retry && p.handshake.Retried {
		p.lose(Server, policy.Malformed)
		return
	}
	if server.Retry {
		p.handshake.Retried = true
		p.retry = h.at
		// A client that sent a ChangeCipherSpec along with early data goes on in the
		// clear. If it already has sent what was taken for protected, that may be the
		// second hello.
		client := &p.ends[Client]
		client.protected = false
		if client.hidden {
			p.distrust()
		}
		p.found(HelloRetryRequest, Server, h.started)
		return
	}
	p.handshake.Server = server
	p.facts.Version = policy.Is(hello.CriterionVersion(server.Version))
	p.found(ServerHello, Server, h.started)
	if hello.IsTLS13(server.Version) {
		h.protected = true
		p.handshake.Resumed = server.PreSharedKey
		// It is hidden; who wants it must ask the server.
		p.noCertificate(policy.Lost[policy.CertificateFacts](policy.NotSeen))
	}
}

func (p *Parser) certificates(body []byte) {
	h := &p.ends[Server]
	chain, err := certificate.ReadChain(body)
	p.handshake.Chain = chain
	switch {
	case err != nil:
		p.facts.Certificate = policy.Lost[policy.CertificateFacts](policy.Malformed)
		p.messages = append(p.messages, Message{Kind: Lost, From: Server, Begin: h.started, After: h.at, Cause: policy.Malformed})
		return
	case len(chain) == 0:
		p.facts.Certificate = policy.Missing[policy.CertificateFacts]()
	default:
		p.facts.Certificate = policy.Is(chain.Facts())
	}
	p.found(Certificate, Server, h.started)
}
