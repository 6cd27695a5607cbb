package quic

import (
	"bytes"
	"slices"

	"github.com/weirnet/weir/internal/policy"
)

// half is the state of one direction.
type half struct {
	datagrams uint64
	stream    stream
	largest   int64 // packet number
	tried     int   // Initial packets
	failed    int   // of them, before one could be read
	over      bool
}

// attempt is what belongs to one set of keys: a connection, or one go at it.
type attempt struct {
	answered bool // the ServerHello was read: the server knows no other ClientHello
	retried  bool // so was a HelloRetryRequest
}

// maxFailed is the number of Initial packets that may be unreadable between others.
const maxFailed = 8

// Parser reads the connection of one pair of addresses and ports. Its zero value has
// the default limits.
type Parser struct {
	limits      Limits
	ready       bool
	ends        [2]half
	keys        *keySet
	made        int    // sets of keys
	serverID    []byte // the connection id that the server chose
	fromServer  bool   // its Handshake packets were seen
	attempt     attempt
	plain       []byte
	header      []byte
	messages    []Message
	handshake   Handshake
	facts       policy.TLSFacts
	application policy.Fact[policy.Application]
}

// Init makes the parser ready for a new connection; its storage is used again.
func (p *Parser) Init(limits Limits) {
	limits.setDefaults()
	*p = Parser{limits: limits, ready: true, messages: p.messages[:0], plain: p.plain[:0], header: p.header[:0]}
	p.ends[Client].largest, p.ends[Server].largest = -1, -1
}

// Messages are what was found since Reset; valid until the next call.
func (p *Parser) Messages() []Message { return p.messages }

// Reset empties Messages.
func (p *Parser) Reset() { p.messages = p.messages[:0] }

// Handshake is what is known so far.
func (p *Parser) Handshake() *Handshake { return &p.handshake }

// Held is about how many bytes the parser holds besides its own size.
func (p *Parser) Held() int {
	const keys = 2048 // of both ends: ciphers with their tables
	n := cap(p.plain) + cap(p.header)
	if p.keys != nil {
		n += keys
	}
	for i := range p.ends {
		n += cap(p.ends[i].stream.data)
	}
	return n
}

// Facts are what rules ask of TLS.
func (p *Parser) Facts() policy.TLSFacts { return p.facts }

// Application is QUIC once the ClientHello is complete, and DNS besides where it
// offers that (ALPN "doq", RFC 9250).
func (p *Parser) Application() policy.Fact[policy.Application] { return p.application }

// Wants says whether more datagrams of the end can still yield something. A client
// may open another connection between the same ports at any time: its Initial
// packets should be shown even when nothing is wanted any more, and are checked to
// ask for the same name.
func (p *Parser) Wants(end End) bool {
	return !p.ends[end].over && !p.handshake.Established
}

// Limit says that the caller's bound of an end's bytes, or of time, is reached.
func (p *Parser) Limit(end End) { p.lose(end, policy.Limit) }

// Gap says that datagrams of an end were not seen. They may be sent again, if they
// were lost for the other end too: the caller knows how long that may take.
func (p *Parser) Gap(end End) { p.lose(end, policy.NotSeen) }

// Read takes a datagram that an end has sent.
func (p *Parser) Read(end End, datagram []byte) {
	if !p.ready {
		p.Init(p.limits)
	}
	h := &p.ends[end]
	// A datagram holds several packets, of several kinds (RFC 9000 section 12.2).
	for first, rest := true, datagram; len(rest) > 0 && !h.over; first = false {
		if rest[0]&0x80 == 0 {
			p.short(end, rest[0])
			break
		}
		packet, ok := readLong(rest)
		if !ok || packet.kind == unknownVersion {
			if first && end == Client && p.application.State == policy.Unknown {
				p.lose(end, policy.Malformed)
			}
			break
		}
		p.packet(end, &packet, rest)
		if packet.end == 0 {
			break
		}
		rest = rest[packet.end:]
	}
	h.datagrams++
}

func (p *Parser) packet(end End, packet *longPacket, data []byte) {
	switch packet.kind {
	case initial:
		p.initial(end, packet, data[:packet.end])
	case handshakePacket:
		p.fromServer = p.fromServer || end == Server && p.handshake.Server != nil
	case retry:
		if end == Server && p.handshake.Server == nil {
			p.found(Retry, end)
		}
	case negotiation:
		if end != Server || p.handshake.Server != nil || p.handshake.Versions != nil {
			return
		}
		for v := range slices.Chunk(packet.versions[:min(len(packet.versions), 4*64)], 4) {
			p.handshake.Versions = append(p.handshake.Versions, uint32(v[0])<<24|uint32(v[1])<<16|uint32(v[2])<<8|uint32(v[3]))
		}
		p.found(VersionNegotiation, end)
	}
}

// short is a packet with a short header: one of the keys that the handshake made.
func (p *Parser) short(end End, first byte) {
	const fixed = 0x40 // without it, it may be what pads the datagram
	if end == Client && p.fromServer && first&fixed != 0 && !p.handshake.Established {
		p.handshake.Established = true
		p.found(Established, end)
	}
}

// initial reads an Initial packet.
func (p *Parser) initial(end End, packet *longPacket, data []byte) {
	h := &p.ends[end]
	if end == Server && (p.keys == nil || p.attempt.answered) {
		return // what it answers was not seen; or nothing more is to come
	}
	known := p.keys != nil && (bytes.Equal(packet.destination, p.keys.connectionID()) || p.serverID != nil && bytes.Equal(packet.destination, p.serverID))
	// Until the server has answered, what is sent again may say something else: the
	// first may have been meant for this place only, and never get to the server.
	if end == Client && p.attempt.answered && known && packet.version == p.keys.version {
		return
	}
	if h.tried++; h.tried > p.limits.Packets {
		p.unreadable(end, policy.Limit)
		return
	}
	payload, ok := p.open(end, packet, data)
	switch {
	case ok:
		if end == Server && p.serverID == nil {
			p.serverID = slices.Clone(packet.source)
		}
		p.handshake.Version = packet.version
		p.frames(end, payload)
	case h.over:
	case end == Client && p.handshake.Client != nil:
		// No server can read it either.
	default:
		// The very first one settles it: keys that are not the standard's are those of
		// two who have agreed on them.
		if h.failed++; h.failed > maxFailed || len(h.stream.spans) == 0 && end == Client {
			p.lose(end, policy.Malformed)
		}
	}
}

// open tries the keys there are, and for the client's packets those of their own
// connection id: after a Retry, or of another connection.
func (p *Parser) open(end End, packet *longPacket, data []byte) (payload []byte, ok bool) {
	if p.keys != nil && packet.version == p.keys.version {
		if payload, ok = p.openWith(p.keys, end, packet, data, p.ends[end].largest); ok {
			return payload, true
		}
	}
	ids := make([][]byte, 0, 2)
	if p.keys != nil && packet.version != p.keys.version {
		ids = append(ids, p.keys.connectionID()) // RFC 9369 section 4.1
	}
	if end == Client && (p.keys == nil || !bytes.Equal(packet.destination, p.keys.connectionID())) {
		ids = append(ids, packet.destination)
	}
	for _, id := range ids {
		if p.made++; p.made > p.limits.Keys {
			p.giveUp(policy.Limit)
			return nil, false
		}
		made, err := newKeySet(packet.version, id)
		if err != nil {
			return nil, false
		}
		largest := p.ends[end].largest
		other := p.keys == nil || !bytes.Equal(id, p.keys.connectionID())
		if other {
			largest = -1
		}
		if payload, ok = p.openWith(made, end, packet, data, largest); !ok {
			continue
		}
		if other {
			// The handshake begins anew.
			p.ends[Client].stream, p.ends[Server].stream = stream{}, stream{}
			p.ends[Server].largest, p.attempt = -1, attempt{}
		}
		p.keys = made
		return payload, true
	}
	return nil, false
}

func (p *Parser) openWith(k *keySet, end End, packet *longPacket, data []byte, largest int64) (payload []byte, ok bool) {
	var number int64
	payload, p.header, number, ok = k.ends[end].open(p.plain, p.header, data, packet.number, largest)
	if ok {
		p.plain = payload
		p.ends[end].largest = max(largest, number)
	}
	return payload, ok
}
