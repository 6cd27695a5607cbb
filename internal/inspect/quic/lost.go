package quic

import "github.com/weirnet/weir/internal/policy"

// lose ends the reading of an end: what is not known of it never will be.
func (p *Parser) lose(end End, cause policy.Cause) {
	h := &p.ends[end]
	if h.over {
		return
	}
	h.over, h.stream = true, stream{}
	lost := false
	if end == Client && p.application.State == policy.Unknown {
		lost = true
		p.application = policy.Lost[policy.Application](cause)
		p.facts.ServerName = policy.Lost[string](cause)
		p.facts.ECH = policy.Lost[bool](cause)
	}
	if end == Server && p.handshake.Server == nil {
		lost = true
		p.facts.Version = policy.Lost[string](cause)
		p.facts.Certificate = policy.Lost[policy.CertificateFacts](cause)
	}
	if lost {
		p.messages = append(p.messages, Message{Kind: Lost, From: end, Datagram: h.datagrams, Cause: cause})
	}
}

// giveUp takes back what the client said, for another packet may say otherwise.
func (p *Parser) giveUp(cause policy.Cause) {
	p.facts.ServerName, p.facts.ECH = policy.Lost[string](cause), policy.Lost[bool](cause)
	if p.application.State == policy.Unknown {
		p.application = policy.Lost[policy.Application](cause)
	}
	p.ends[Client].over, p.ends[Client].stream = true, stream{}
	p.messages = append(p.messages, Message{Kind: Lost, From: Client, Datagram: p.ends[Client].datagrams, Cause: cause})
}

func (p *Parser) found(kind Kind, end End) {
	p.messages = append(p.messages, Message{Kind: kind, From: end, Datagram: p.ends[end].datagrams})
}
