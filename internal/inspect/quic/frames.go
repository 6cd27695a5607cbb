package quic

import (
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

// Frames that Initial packets may hold (RFC 9000 section 12.4).
const (
	framePadding         = 0x00
	framePing            = 0x01
	frameAck             = 0x02
	frameAckECN          = 0x03
	frameCrypto          = 0x06
	frameConnectionClose = 0x1c
)

// frames reads the frames of an Initial packet.
func (p *Parser) frames(end End, payload []byte) {
	r := reader{data: payload}
	for r.at < len(r.data) && !p.ends[end].over {
		var kind uint64
		ok := r.varint(&kind)
		switch {
		case !ok:
		case kind == framePadding || kind == framePing:
		case kind == frameAck || kind == frameAckECN:
			ok = r.ack(kind == frameAckECN)
		case kind == frameCrypto:
			var offset, length uint64
			var piece []byte
			if ok = r.varint(&offset) && r.varint(&length) && r.bytes(length, &piece); ok {
				p.crypto(end, offset, piece)
			}
		case kind == frameConnectionClose:
			p.closed(end)
			return
		default:
			ok = false
		}
		if !ok {
			p.lose(end, policy.Malformed)
			return
		}
	}
}

func (r *reader) ack(ecn bool) bool {
	var largest, delay, ranges, first, ignored uint64
	if !r.varint(&largest) || !r.varint(&delay) || !r.varint(&ranges) || !r.varint(&first) {
		return false
	}
	numbers := ranges
	if ranges > uint64(len(r.data)) { // each takes two bytes at least
		return false
	}
	numbers *= 2
	if ecn {
		numbers += 3
	}
	for range numbers {
		if !r.varint(&ignored) {
			return false
		}
	}
	return true
}

// closed: the end gives up before the handshake is done. What the server has not
// sent does not exist then.
func (p *Parser) closed(end End) {
	p.found(Closed, end)
	if end != Server || p.handshake.Server != nil {
		return
	}
	p.facts.Version, p.facts.Certificate = policy.Missing[string](), policy.Missing[policy.CertificateFacts]()
	p.ends[Server].over = true
}

// crypto takes a piece of the end's handshake, and reads the messages that are
// whole.
func (p *Parser) crypto(end End, offset uint64, piece []byte) {
	h := &p.ends[end]
	if cause := h.stream.add(offset, piece, p.limits.Hello, p.limits.Pieces); cause != 0 {
		p.unreadable(end, cause)
		return
	}
	for !h.over {
		kind, body, cause, ok := h.stream.next(p.limits.Hello)
		if cause != 0 {
			p.unreadable(end, cause)
			return
		}
		if !ok {
			return
		}
		switch {
		case end == Client && kind == hello.TypeClientHello:
			p.clientHello(hello.ReadClient(body))
		case end == Server && kind == hello.TypeServerHello && !p.attempt.answered:
			p.serverHello(hello.ReadServer(body))
		default:
			p.unreadable(end, policy.Malformed)
		}
	}
}

// unreadable: of the client, it may be a second hello that differs from the first.
func (p *Parser) unreadable(end End, cause policy.Cause) {
	if end == Client && p.application.State == policy.Known {
		p.giveUp(cause)
		return
	}
	p.lose(end, cause)
}
