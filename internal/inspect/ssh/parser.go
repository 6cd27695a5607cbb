package ssh

import (
	"encoding/binary"

	"github.com/weirnet/weir/internal/policy"
)

// Kind is what a message is.
type Kind uint8

// The kinds.
const (
	KindBanner Kind = iota
	KindKeyInit
	KindHostKey // the server's part of the key exchange, with its key
	KindNewKeys // what the end sends after it is encrypted
	KindBroken  // the end sends what is no SSH, or its bytes were lost
)

// Message is a message that told something, and where it lies in its end's
// stream, in bytes: what comes next begins at End.
type Message struct {
	From       End
	Kind       Kind
	Begin, End uint64
}

// Parser reads one connection. Its zero value is ready.
type Parser struct {
	handshake Handshake
	ends      [2]half
	messages  []Message
	offer     []byte // the KEXINIT that came first, while the other end's is out
}

type phase uint8

const (
	inLead    phase = iota // before the banner
	inLine                 // inside a line that is not the banner
	inPackets              // after the banner
	isDone                 // nothing more can be read
)

// half is what is known of the bytes that one end sends.
type half struct {
	offset  uint64 // of the first byte that was not consumed
	skip    uint64 // bytes from there on of a packet already told
	pending int    // bytes that were handed over last and not consumed
	packets int
	phase   phase
	afterCR bool // a line feed may follow, which belongs to the line
	full    bool // the caller holds no more than pending
	offered bool // its KEXINIT was read
}

// Handshake is what has become known so far.
func (p *Parser) Handshake() *Handshake { return &p.handshake }

// Held is about how many bytes the parser holds besides its own size.
func (p *Parser) Held() int { return cap(p.offer) }

// Facts are the handshake's.
func (p *Parser) Facts() policy.SSHFacts { return p.handshake.Facts() }

// Messages are those found since Reset. They are valid until the next call.
func (p *Parser) Messages() []Message { return p.messages }

// Reset forgets the messages, not what is known.
func (p *Parser) Reset() { p.messages = p.messages[:0] }

// Wants says whether more bytes of an end can tell anything.
func (p *Parser) Wants(end End) bool { return p.ends[end&1].phase != isDone }

// Skip is the number of bytes of an end, from the first that was not consumed,
// that tell nothing. Instead of handing them over the caller may call Gap with
// their number.
func (p *Parser) Skip(end End) uint64 { return p.ends[end&1].skip }

// Read takes bytes of an end, in order, from where the last call's consumed left
// off.
func (p *Parser) Read(end End, data []byte) (consumed int) {
	end &= 1
	h := &p.ends[end]
	for consumed < len(data) && h.phase != isDone {
		rest := data[consumed:]
		var n int
		switch {
		case h.skip > 0:
			n = int(min(h.skip, uint64(len(rest))))
			h.skip -= uint64(n)
		case h.afterCR:
			h.afterCR = false
			if rest[0] != '\n' {
				continue
			}
			n = 1
		case h.phase == inPackets:
			n = p.packet(end, rest)
		default:
			n = p.line(end, rest)
		}
		if n == 0 && h.phase != isDone {
			break
		}
		h.offset += uint64(n)
		consumed += n
	}
	if h.phase == isDone { // the rest tells nothing
		h.offset += uint64(len(data) - consumed)
		consumed = len(data)
	}
	if h.pending = len(data) - consumed; h.pending == 0 {
		h.full = false
	}
	return consumed
}

// packet reads a packet, of which rest is the beginning (RFC 4253 section 6), and
// returns how many bytes of it there are; 0 while more are wanted.
func (p *Parser) packet(end End, rest []byte) int {
	const head = 6 // length, padding length, type
	h := &p.ends[end]
	if len(rest) < head {
		if h.full {
			p.broken(end, policy.Limit)
		}
		return 0
	}
	length, padding := binary.BigEndian.Uint32(rest), uint32(rest[4])
	// Before there are keys the blocks are of 8 bytes.
	if length > MaxPacket || length%8 != 4 || padding < 4 || padding+2 > length {
		p.broken(end, policy.Malformed)
		return 0
	}
	whole := int(length) + 4
	if len(rest) < whole && !h.full {
		return 0
	}
	if h.packets++; h.packets > MaxPackets {
		p.broken(end, policy.Limit)
		return 0
	}
	n := min(whole, len(rest))
	payload := rest[5:min(whole-int(padding), n)]
	h.skip = uint64(whole - n)
	h.full = h.full && n == whole
	p.read(end, payload, h.skip > 0, h.offset+uint64(whole))
	return n
}

// Numbers of messages (RFC 4250 section 4.1, RFC 4419, RFC 4462, RFC 4432).
const (
	typeKeyInit  = 20
	typeNewKeys  = 21
	typeReply30  = 30 // of RSA key transport
	typeReply31  = 31 // of most methods; the group, where the client asks for one
	typeReply33  = 33 // where the client asked for a group; with GSS-API, the host key
	prefixRSA    = "rsa"
	prefixGSS    = "gss-"
	prefixGroups = "diffie-hellman-group-exchange-"
)

// read understands a packet's payload; cut: there would be more of it.
func (p *Parser) read(end End, payload []byte, cut bool, after uint64) {
	h := &p.ends[end]
	kind := KindBroken
	switch number := payload[0]; {
	case number == typeKeyInit && !h.offered:
		h.offered = true
		p.keyInit(end, payload, cut)
		kind = KindKeyInit
	case number == typeNewKeys:
		p.newKeys(end)
		kind = KindNewKeys
	case end == Server && number >= typeReply30 && number <= typeReply33:
		if !p.reply(payload, cut) {
			return
		}
		kind = KindHostKey
	default:
		return // ignore, debug and the like
	}
	p.tell(end, kind, after)
}

// newKeys: from here on all is encrypted.
func (p *Parser) newKeys(end End) {
	h := &p.handshake
	if p.ends[end].phase = isDone; !p.ends[end].offered {
		h.lose(end, policy.Unobtainable, policy.Malformed)
	}
	switch {
	case end == Client:
	case h.Algorithms.State == policy.Known && hasPrefix(h.Algorithms.Value.KeyExchange, prefixGSS):
		settle(&h.HostKey, policy.Missing[string]()) // it is optional there
	default:
		settle(&h.HostKey, policy.Lost[string](policy.Malformed))
	}
}

// broken gives an end up.
func (p *Parser) broken(end End, cause policy.Cause) {
	h := &p.ends[end]
	h.phase, h.skip = isDone, 0
	p.handshake.lose(end, policy.Unobtainable, cause)
	p.tell(end, KindBroken, h.offset)
}

func (p *Parser) tell(end End, kind Kind, after uint64) {
	p.messages = append(p.messages, Message{From: end, Kind: kind, Begin: p.ends[end].offset, End: after})
}

// Limit says that the caller holds no more bytes of an end than it last handed
// over: the next Read tells what they hold.
func (p *Parser) Limit(end End) {
	h := &p.ends[end&1]
	h.full = h.pending > 0
}

// Gap says that the n bytes that follow those handed over will never be seen; 0:
// nobody knows how many. What was handed over and not consumed is given up.
func (p *Parser) Gap(end End, n uint64) {
	end &= 1
	h := &p.ends[end]
	switch {
	case h.phase == isDone:
	case n > 0 && h.pending == 0 && h.skip >= n:
		h.skip -= n
	default:
		p.broken(end, policy.NotSeen)
		h.offset += uint64(h.pending)
		h.pending = 0
	}
	h.offset += n
}

// Close says that an end has sent its last byte: what it has not told it never
// does.
func (p *Parser) Close(end End) {
	end &= 1
	h := &p.ends[end]
	if h.phase == isDone {
		return
	}
	if h.pending > 0 || h.skip > 0 {
		p.broken(end, policy.Malformed)
	}
	p.handshake.lose(end, policy.Absent, 0)
	h.phase = isDone
}
