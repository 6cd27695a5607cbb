package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// broken sends a segment with a wrong checksum: every receiver drops it.
func (p *peer) broken(flags uint8, seq uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	segment := tcpSegment(p.tuple, flags, seq, p.next, nil)
	segment[16] ^= 0x55
	p.wire.send(ipPacket(p.tuple, segment))
}

// at is the number of the byte at an offset of its stream.
func (p *peer) at(offset int) uint32 { return p.begin + 1 + uint32(offset) }

// asks has a client ask for what is allowed, and waits for the answer.
func asks(t *testing.T, client, server *peer) {
	t.Helper()
	server.mu.Lock()
	server.answers = answersEach
	server.mu.Unlock()
	again := time.Now()
	within(t, "an answer", func() bool {
		if time.Now().After(again) { // the device's queue may be full
			again = time.Now().Add(4 * pause)
			client.say(0, []byte(get("/ok")))
		}
		said, _ := client.heard()
		return said == answer
	})
}

// isReset waits for the end that a connection gets which is cut.
func isReset(t *testing.T, client, server *peer) {
	t.Helper()
	within(t, "an end", func() bool {
		_, one := client.heard()
		_, other := server.heard()
		return one && other
	})
}

// anew are what may make one connection look like another, or like one that is over,
// and like the same to whoever has it: the peers do not believe any of it, not even the
// RST that Weir sends, which may be lost. Then what is forbidden is said at an offset of
// the client's stream.
var anew = []struct {
	name string
	does func(t *testing.T, client, server *peer) (offset int)
}{
	{"after a block, a SYN of the client's", func(t *testing.T, client, server *peer) int {
		client.say(0, []byte(get("/no")))
		isReset(t, client, server)
		client.segment(packet.SYN, client.begin+1<<20, nil)
		return 0
	}},
	{"after a block, a SYN of the client's before its next byte", func(t *testing.T, client, server *peer) int {
		asks(t, client, server)
		client.say(len(get("/ok")), []byte(get("/no")))
		isReset(t, client, server)
		client.segment(packet.SYN, client.at(len(get("/ok")))-1, nil)
		return len(get("/ok"))
	}},
	{"after a block, a SYN of the server's", func(t *testing.T, client, server *peer) int {
		client.say(0, []byte(get("/no")))
		isReset(t, client, server)
		server.segment(packet.SYN, server.begin+1<<20, nil)
		return 0
	}},
	{"after a block, a SYN-ACK of the server's", func(t *testing.T, client, server *peer) int {
		client.say(0, []byte(get("/no")))
		isReset(t, client, server)
		client.segment(packet.SYN, client.begin+1<<20, nil)
		server.segment(packet.SYN|packet.ACK, server.begin+1<<20, nil)
		return 0
	}},
	{"an RST of the client's that nobody takes", func(_ *testing.T, client, _ *peer) int {
		client.broken(packet.RST|packet.ACK, client.at(0))
		return 0
	}},
	{"an RST of the server's that nobody takes", func(_ *testing.T, _, server *peer) int {
		server.broken(packet.RST|packet.ACK, server.at(0))
		return 0
	}},
	{"after an answer, an RST of the client's that nobody takes", func(t *testing.T, client, server *peer) int {
		asks(t, client, server)
		client.broken(packet.RST|packet.ACK, client.at(len(get("/ok"))))
		return len(get("/ok"))
	}},
	{"after an answer, an RST of the server's that nobody takes", func(t *testing.T, client, server *peer) int {
		asks(t, client, server)
		server.broken(packet.RST|packet.ACK, server.at(len(answer)))
		return len(get("/ok"))
	}},
	{"after an answer, FINs that nobody takes", func(t *testing.T, client, server *peer) int {
		asks(t, client, server)
		client.broken(packet.FIN|packet.ACK, client.at(len(get("/ok"))))
		server.mu.Lock()
		server.next++
		server.mu.Unlock()
		server.broken(packet.FIN|packet.ACK, server.at(len(answer)))
		client.mu.Lock()
		client.next++
		client.mu.Unlock()
		client.broken(packet.ACK, client.at(len(get("/ok"))+1))
		return len(get("/ok"))
	}},
	{"during a wait, an RST that nobody takes", func(_ *testing.T, client, _ *peer) int {
		client.say(0, []byte(get("/no")[:9]))
		time.Sleep(pause)
		client.broken(packet.RST|packet.ACK, client.at(9))
		return 0
	}},
	{"during a wait, a SYN of the server's", func(_ *testing.T, client, server *peer) int {
		client.say(0, []byte(get("/no")[:9]))
		server.segment(packet.SYN, server.begin+1<<20, nil)
		return 0
	}},
	{"an RST that nobody takes, and a SYN of the server's", func(_ *testing.T, client, server *peer) int {
		client.broken(packet.RST|packet.ACK, client.at(0))
		server.segment(packet.SYN, server.begin+1<<20, nil)
		return 0
	}},
	{"an RST that nobody takes, and a SYN of the client's", func(_ *testing.T, client, _ *peer) int {
		client.broken(packet.RST|packet.ACK, client.at(0))
		client.segment(packet.SYN, client.begin+1<<20, nil)
		return 0
	}},
	{"an RST that nobody takes, and a SYN before the next byte", func(_ *testing.T, client, _ *peer) int {
		client.broken(packet.RST|packet.ACK, client.at(0))
		client.segment(packet.SYN, client.begin, nil)
		return 0
	}},
	{"after an answer, an RST that nobody takes and a SYN before the next byte", func(t *testing.T, client, server *peer) int {
		asks(t, client, server)
		client.broken(packet.RST|packet.ACK, client.at(len(get("/ok"))))
		client.segment(packet.SYN, client.at(len(get("/ok")))-1, nil)
		return len(get("/ok"))
	}},
	{"a SYN of the server's and an answer to it", func(_ *testing.T, client, server *peer) int {
		server.segment(packet.SYN, server.begin+1<<20, nil)
		return 0
	}},
}

// TestAnew: whatever is said of the end of a connection that its ends still have, or of
// another on its tuple, what is forbidden does not come: at once, nor when the end was
// told.
func TestAnew(t *testing.T) {
	// On one port some requests are allowed; on the other one is blocked, and whatever is
	// the other way round is allowed without a look.
	r := newRoad(t, `
mode: prevent
rules:
  - {name: reads, action: allow, layer4: {tcp: 80}, layer7: {http: {paths: /ok}}}
  - {name: no, action: block, layer4: {tcp: 8080}, layer7: {http: {paths: /no}}}
  - {name: others, action: allow, layer4: {tcp: 8080}}
  - {name: back, action: allow, layer4: {tcp: {source_ports: 8080}}}
`, nil)
	type ready struct {
		name           string
		client, server *peer
		offset         int
	}
	readied := func() (all []ready) {
		for _, a := range anew {
			for _, port := range []uint16{80, 8080} {
				client, server := r.connect(t, 4, port)
				offset := a.does(t, client, server)
				all = append(all, ready{fmt.Sprintf("%s, port %d", a.name, port), client, server, offset})
			}
		}
		return all
	}
	early := readied()
	const told = 3500 * time.Millisecond // twice what Weir waits until it forgets
	began := time.Now()
	for _, step := range []struct {
		name string
		all  []ready
		wait time.Duration
	}{{"at once", readied(), 0}, {"later", early, told}} {
		time.Sleep(time.Until(began.Add(step.wait)))
		for range 3 {
			for _, c := range step.all {
				c.client.say(c.offset, []byte(get("/no")))
			}
			time.Sleep(pause)
		}
		for _, c := range step.all {
			for _, s := range c.server.wire.sights(c.server.tuple) {
				if strings.Contains(string(s.payload), "/no") {
					t.Errorf("%s, %s: %q came at %d", c.name, step.name, s.payload, int32(s.packet.Seq-c.client.at(0)))
					break
				}
			}
		}
	}
}
