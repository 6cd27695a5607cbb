package quic

import (
	"slices"

	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

func (p *Parser) clientHello(client *hello.Client, err error) {
	switch {
	case p.handshake.Client != nil:
		// After a Retry or a HelloRetryRequest it must be the same, and of another
		// connection between the same ports it is all that can be allowed.
		if err != nil || client.ServerName != p.facts.ServerName || client.ECH != p.facts.ECH {
			p.giveUp(policy.Malformed)
			return
		}
	case err != nil:
		p.handshake.Client = client
		p.lose(Client, policy.Malformed)
		return
	default:
		p.handshake.Client = client
		p.facts.ServerName, p.facts.ECH = client.ServerName, client.ECH
		// QUIC has no other version (RFC 9001 section 4.2), and what is said in that of the
		// certificate is hidden: who wants it must ask the server.
		p.facts.Version = policy.Is(hello.CriterionVersion(hello.TLS13))
		p.facts.Certificate = policy.Lost[policy.CertificateFacts](policy.NotSeen)
		app := policy.AppQUIC
		if slices.Contains(client.ALPN, "doq") {
			app |= policy.AppDNS
		}
		p.application = policy.Is(app)
	}
	p.found(ClientHello, Client)
}

func (p *Parser) serverHello(server *hello.Server, err error) {
	switch {
	case err != nil || server.Retry && p.attempt.retried || !hello.IsTLS13(server.Version):
		p.lose(Server, policy.Malformed)
	case server.Retry:
		p.handshake.Retried, p.attempt.retried = true, true
		p.found(HelloRetryRequest, Server)
	default:
		p.handshake.Server, p.handshake.Resumed = server, server.PreSharedKey
		p.attempt.answered = true
		p.ends[Client].stream, p.ends[Server].stream = stream{}, stream{}
		p.found(ServerHello, Server)
	}
}
