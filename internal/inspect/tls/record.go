package tls

import (
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

// readRecordHeader reads the header of the next record, and returns its length; 0
// if it is not all there, or makes no sense.
func (p *Parser) readRecordHeader(end End, data []byte) int {
	h := &p.ends[end]
	if len(data) == 0 {
		return 0
	}
	h.begin = h.at
	if h.at == 0 && end == Client && data[0]&0x80 != 0 {
		return p.readSSLv2Header(data)
	}
	if len(data) < recordHeader {
		return 0
	}
	kind, length := data[0], int(data[3])<<8|int(data[4])
	switch {
	case h.at == 0 && end == Server && data[0]&0x80 != 0 && data[2] == 4 && p.handshake.Client != nil && p.handshake.Client.SSLv2:
		p.readSSLv2Answer()
		return 0
	case kind < recordChangeCipherSpec || kind > 26 || length > longestRecord || data[1] >= 0x10:
		p.lose(end, policy.Malformed)
		return 0
	}
	h.kind, h.size, h.left = kind, length, length
	p.recordBegins(end, kind, length)
	if h.over {
		return 0
	}
	return recordHeader
}

// readSSLv2Header: two bytes of length, and a message that is not cut into records.
func (p *Parser) readSSLv2Header(data []byte) int {
	h := &p.ends[Client]
	switch Detect(data) {
	case More:
		return 0
	case No:
		p.lose(Client, policy.Malformed)
		return 0
	}
	h.kind, h.left = recordSSLv2, int(data[0]&0x7f)<<8|int(data[1])
	if h.left > p.helloLimit() {
		p.lose(Client, policy.Limit)
		return 0
	}
	return 2
}

// readSSLv2Answer: the server speaks SSL 2.0, which is not read any further.
func (p *Parser) readSSLv2Answer() {
	p.facts.Version = policy.Is(hello.CriterionVersion(hello.SSL20))
	p.lose(Server, policy.Malformed)
}

// recordBegins draws from a record's type and length what can be drawn.
func (p *Parser) recordBegins(end End, kind uint8, length int) {
	h := &p.ends[end]
	opened := p.application.State != policy.Unknown
	if end == Server {
		opened = p.facts.Version.State != policy.Unknown || p.handshake.Retried
	}
	switch kind {
	case recordHandshake:
		if h.protected {
			p.protectedHandshake(end)
		}
	case recordAlert:
	case recordChangeCipherSpec:
		// In the middle of a message no other record may stand (RFC 8446 5.1); what
		// servers make of it differs.
		if !opened || h.filled > 0 {
			p.lose(end, policy.Malformed)
			return
		}
		p.changeCipherSpec(end)
	default:
		if !opened || h.filled > 0 {
			p.lose(end, policy.Malformed)
			return
		}
		if kind == recordApplicationData {
			p.protectedRecord(end, length)
		}
	}
}

// changeCipherSpec: protection begins, or so it looks. In TLS 1.3 the record has no
// meaning, and a second ClientHello may come after it.
func (p *Parser) changeCipherSpec(end End) {
	h := &p.ends[end]
	if end == Client && p.handshake.Retried {
		return
	}
	if end == Server && p.handshake.Server == nil {
		return // after a HelloRetryRequest
	}
	if end == Server && !h.protected && !p.helloDone {
		p.handshake.Resumed = true
		p.noCertificate(policy.Lost[policy.CertificateFacts](policy.NotSeen))
	}
	h.protected = true
}

// protectedHandshake is a handshake record inside the protection of TLS 1.2 and
// below: the first is Finished.
func (p *Parser) protectedHandshake(end End) {
	h := &p.ends[end]
	h.hidden = true
	if p.handshake.Established {
		p.handshake.Renegotiated = true
	}
	if p.handshake.Server != nil && !hello.IsTLS13(p.handshake.Server.Version) {
		h.finished = true
		p.establish(end)
	}
}

// shortestFinished is a Finished of TLS 1.3 in its record (RFC 8446 4.4.4), less the
// tag: an alert is shorter, with the longest tag too.
const shortestFinished = messageHeader + 32 + 1

// protectedRecord is a record of TLS 1.3, or data.
func (p *Parser) protectedRecord(end End, length int) {
	if p.handshake.Server == nil || !hello.IsTLS13(p.handshake.Server.Version) {
		return
	}
	if end == Server {
		p.ends[Server].finished = true
		return
	}
	if p.ends[Server].finished && length >= shortestFinished && !p.handshake.Established {
		p.ends[Client].finished = true
		p.establish(end)
	}
}

func (p *Parser) establish(end End) {
	if p.ends[Client].finished && p.ends[Server].finished && !p.handshake.Established {
		p.handshake.Established = true
		h := &p.ends[end]
		p.messages = append(p.messages, Message{
			Kind: Established, From: end, Begin: h.begin, After: h.begin + recordHeader + uint64(h.left),
		})
	}
}

// readPayload reads of the record at hand; 0 if it needs more.
func (p *Parser) readPayload(end End, payload []byte) int {
	h := &p.ends[end]
	switch {
	case h.kind == recordSSLv2:
		if len(payload) < h.left {
			return 0
		}
		h.pass(len(payload))
		client, err := hello.ReadSSLv2(payload)
		p.clientHello(client, err, h.begin)
		return len(payload)
	case h.kind == recordHandshake && !h.protected:
		return p.readHandshake(end, payload)
	case h.kind == recordAlert && !h.protected && h.size == alertLength:
		if len(payload) < alertLength {
			return 0
		}
		h.pass(alertLength)
		p.handshake.Alert = &AlertText{From: end, Fatal: payload[0] != 1, Description: payload[1]}
		p.found(Alert, end, h.begin)
		if end == Server && p.handshake.Alert.Fatal && p.handshake.Server == nil {
			p.refuse() // no client goes on from here
		}
		return alertLength
	}
	h.pass(len(payload))
	if end == Server && h.kind == recordChangeCipherSpec && h.left == 0 && p.retry > 0 && p.handshake.Server == nil {
		p.retry = h.at // servers send one with it, for the sake of middleboxes (RFC 8446 appendix D.4)
	}
	return len(payload)
}

// pass goes on by n bytes of the record's payload.
func (h *half) pass(n int) {
	h.at += uint64(n)
	h.left -= n
}
