package engine

import (
	"sync"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// peer is an end of a TCP connection that does what a test says: nothing is sent again
// by itself, and nothing keeps it from sending what no stack would.
type peer struct {
	wire  *wire
	tuple packet.Tuple // it is the source
	begin uint32       // the number of its SYN

	mu   sync.Mutex
	next uint32 // what it acknowledges
	deaf bool   // it acknowledges nothing
	said []byte // what the other end sent, in order
	rest map[uint32][]byte
	// answers is called with what came in order, once for each answer that it gives:
	// how much of it is answered, and how.
	answers        func(said []byte) (consumed int, answer []byte)
	answered, sent int // of said, of its own stream
	reset, ended   bool
	acked          uint32
	synData        []byte
}

func newPeer(w *wire, tuple packet.Tuple, begin uint32) *peer {
	p := &peer{wire: w, tuple: tuple, begin: begin, acked: begin, rest: map[uint32][]byte{}}
	w.listen(tuple, p.take)
	return p
}

// set changes how it behaves, while it may be at work.
func (p *peer) set(change func(*peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// take is what its stack does: it acknowledges, and puts in order.
func (p *peer) take(k *packet.Packet, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.TCPFlags&packet.RST != 0 {
		p.reset = true
		return
	}
	if k.TCPFlags&packet.ACK != 0 && int32(k.Ack-p.acked) > 0 {
		p.acked = k.Ack
	}
	if k.TCPFlags&packet.SYN != 0 && p.next != 0 && k.TCPFlags&packet.ACK == 0 {
		p.transmit(packet.ACK, p.begin+1+uint32(p.sent), nil) // RFC 5961 section 4.2
		return
	}
	if k.TCPFlags&packet.SYN != 0 {
		p.next = k.Seq + 1
		if len(payload) > 0 {
			p.synData = payload
			p.said = append(p.said, payload...)
			p.next += uint32(len(payload))
		}
		if k.TCPFlags&packet.ACK == 0 {
			p.transmit(packet.SYN|packet.ACK, p.begin, nil)
			p.sent = 0
			p.reply()
			return
		}
		p.transmit(packet.ACK, p.begin+1, nil)
		return
	}
	if len(payload) == 0 && k.TCPFlags&packet.FIN == 0 {
		return
	}
	if old, ok := p.rest[k.Seq]; !ok || len(payload) > len(old) {
		p.rest[k.Seq] = payload
	}
	for again := true; again; {
		again = false
		for seq, b := range p.rest {
			over := int(int32(p.next - seq))
			if over < 0 {
				continue
			}
			delete(p.rest, seq)
			if over < len(b) {
				p.said = append(p.said, b[over:]...)
				p.next = seq + uint32(len(b))
			}
			again = true
		}
	}
	if k.TCPFlags&packet.FIN != 0 && p.next == k.Seq+uint32(len(payload)) {
		p.ended = true
		p.next++
	}
	if p.deaf {
		return
	}
	p.transmit(packet.ACK, p.begin+1+uint32(p.sent), nil)
	p.reply()
}

func (p *peer) reply() {
	for p.answers != nil && p.answered < len(p.said) {
		n, answer := p.answers(p.said[p.answered:])
		if n == 0 {
			return
		}
		p.answered += n
		for len(answer) > 0 {
			size := min(len(answer), mss)
			p.transmit(packet.ACK|packet.PSH, p.begin+1+uint32(p.sent), answer[:size])
			p.sent += size
			answer = answer[size:]
		}
	}
}

func (p *peer) transmit(flags uint8, seq uint32, payload []byte) {
	ack := p.next
	if flags&packet.ACK == 0 {
		ack = 0
	}
	p.wire.send(ipPacket(p.tuple, tcpSegment(p.tuple, flags, seq, ack, payload)))
}

// mss is the size of the largest segments.
const mss = 1300

// say sends a piece of its stream that begins at an offset.
func (p *peer) say(at int, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(payload) > 0 {
		n := min(len(payload), mss)
		p.transmit(packet.ACK|packet.PSH, p.begin+1+uint32(at), payload[:n])
		at, payload = at+n, payload[n:]
	}
	p.sent = max(p.sent, at)
}

// segment sends what it is told.
func (p *peer) segment(flags uint8, seq uint32, payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.transmit(flags, seq, payload)
}

// heard is what came in order, and whether it ended by an RST.
func (p *peer) heard() (said string, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.said), p.reset
}

// acknowledged is how much of its stream the other end has.
func (p *peer) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(int32(p.acked - p.begin - 1))
}

// reached is the furthest byte of the stream that came from a peer, whatever became
// of those before: the promise is about what a capture shows.
func (p *peer) reached(from *peer) (furthest int) {
	for _, s := range p.wire.sights(p.tuple) {
		at := int(int32(s.packet.Seq - from.begin - 1))
		if s.packet.TCPFlags&packet.SYN != 0 {
			at++
		}
		if len(s.payload) > 0 {
			furthest = max(furthest, at+len(s.payload))
		}
	}
	return furthest
}

var ports struct {
	sync.Mutex
	last uint16
}

func freshPort() uint16 {
	ports.Lock()
	defer ports.Unlock()
	ports.last++
	return 20000 + ports.last
}

// tuple is that of a new connection through the road.
func (r *road) tuple(version int, protocol uint8, port uint16) packet.Tuple {
	return packet.Tuple{
		Source: theClient[version], SourcePort: freshPort(), Destination: theServer[version], DestinationPort: port, Protocol: protocol,
	}
}

// peers are the two ends of a connection that is not open yet.
func (r *road) peers(tuple packet.Tuple) (client, server *peer) {
	return newPeer(r.client, tuple, 0xfffffff0), newPeer(r.server, tuple.Reversed(), 0x70000000)
}

// connect opens a connection.
func (r *road) connect(t testing.TB, version int, port uint16) (client, server *peer) {
	t.Helper()
	client, server = r.peers(r.tuple(version, packet.TCP, port))
	client.segment(packet.SYN, client.begin, nil)
	within(t, "a handshake", func() bool {
		client.mu.Lock()
		defer client.mu.Unlock()
		return client.acked == client.begin+1
	})
	return client, server
}

// within waits for what is to happen soon.
func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); !ok(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// expects is the number of the byte that it expects next.
func (p *peer) expects() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// opened says whether the other end has answered.
func (p *peer) opened() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next != 0
}
