package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// broken sends a segment with a wrong checksum: every receiver drops it.
func (p *peer) broken(flags uint8, seq uint32, payload ...byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	segment := tcpSegment(p.tuple, flags, seq, p.next, payload)
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

// TestAnotherBeginning: a client cannot have its stream read from elsewhere than where
// the server does, so that what is forbidden looks like a part of what is allowed.
func TestAnotherBeginning(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	// To the server all of it comes before the stream's first byte.
	before := []byte("POST /ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\n")
	for name, opens := range map[string]func(client *peer, first uint32){
		"a SYN that nobody takes, and data": func(client *peer, first uint32) {
			client.broken(packet.SYN, first)
			client.broken(packet.ACK, first+1, before...)
			client.segment(packet.SYN, client.begin, nil)
		},
		"a SYN with data that nobody takes": func(client *peer, first uint32) {
			client.broken(packet.SYN, first, before...)
			client.segment(packet.SYN, client.begin, nil)
		},
		"a SYN that nobody takes, data, and one more": func(client *peer, first uint32) {
			client.broken(packet.SYN, first)
			client.broken(packet.ACK, first+1, before...)
			client.segment(packet.SYN, client.begin, nil)
			client.broken(packet.SYN, client.begin+1<<20)
		},
		"a SYN with data that nobody takes, and one more": func(client *peer, first uint32) {
			client.broken(packet.SYN, first, before...)
			client.segment(packet.SYN, client.begin, nil)
			client.broken(packet.SYN, client.begin+1<<20)
		},
		"another SYN that nobody takes, and one with data": func(client *peer, first uint32) {
			client.broken(packet.SYN, client.begin+1<<20)
			client.segment(packet.SYN, client.begin, nil)
			client.broken(packet.SYN, first, before...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := r.peers(r.tuple(4, packet.TCP, 80))
			first := client.begin - uint32(len(before))
			server.mu.Lock() // it answers when all has come
			opens(client, first)
			time.Sleep(pause)
			server.mu.Unlock()
			time.Sleep(pause)
			for range 2 {
				client.say(-len(before), before)
				time.Sleep(pause)
				client.say(0, []byte(get("/no")))
				time.Sleep(pause)
			}
			for _, s := range server.wire.sights(server.tuple) {
				if strings.Contains(string(s.payload), "/no") {
					t.Fatalf("%q came", s.payload)
				}
			}
		})
	}
}

// TestAnotherBeginningOfTheServer: nor can a server, by an answer that the client does
// not take: it comes behind the true one, or before, or is lost on its way.
func TestAnotherBeginningOfTheServer(t *testing.T) {
	r := newRoad(t, "mode: prevent\nrules: [{name: judged, action: allow, layer7: {ssh: {software: OpenSSH_9*}}}]\n", nil)
	const banner, before, forbidden = "SSH-2.0-client\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-dropbear_202\r\n"
	for name, answers := range map[string]func(server *peer, other func(sent func(flags uint8, seq uint32, payload ...byte))){
		"behind": func(server *peer, other func(func(uint8, uint32, ...byte))) {
			server.segment(packet.SYN|packet.ACK, server.begin, nil)
			other(server.broken)
		},
		"before": func(server *peer, other func(func(uint8, uint32, ...byte))) {
			other(server.broken)
			server.segment(packet.SYN|packet.ACK, server.begin, nil)
		},
		"lost": func(server *peer, other func(func(uint8, uint32, ...byte))) {
			other(func(flags uint8, seq uint32, payload ...byte) { server.segment(flags, seq, payload) })
			time.Sleep(pause)
			server.segment(packet.SYN|packet.ACK, server.begin, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := r.peers(r.tuple(4, packet.TCP, 22))
			// The server answers by hand, and the client goes on when all has come.
			r.server.listen(server.tuple, nil)
			r.client.listen(client.tuple, nil)
			client.segment(packet.SYN, client.begin, nil)
			time.Sleep(pause)
			server.next = client.begin + 1
			answers(server, func(send func(uint8, uint32, ...byte)) {
				send(packet.SYN|packet.ACK, server.begin-uint32(len(before)), []byte(before)...)
			})
			time.Sleep(pause)
			client.mu.Lock()
			client.next = server.begin + 1
			client.transmit(packet.ACK, client.begin+1, nil)
			client.mu.Unlock()
			r.server.listen(server.tuple, server.take)
			r.client.listen(client.tuple, client.take)
			client.say(0, []byte(banner))
			for range 2 {
				time.Sleep(pause)
				server.say(-len(before), []byte(before))
				time.Sleep(pause)
				server.say(0, []byte(forbidden))
			}
			time.Sleep(pause)
			for _, s := range client.wire.sights(client.tuple) {
				if strings.Contains(string(s.payload), "dropbear") {
					t.Fatalf("%q came", s.payload)
				}
			}
		})
	}
}

// TestPortUsedAgain: a port is used again right after its connection was blocked, reset,
// or asked for in vain, as clients do: what is allowed comes.
func TestPortUsedAgain(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	for name, before := range map[string]func(client, server *peer){
		"after a block": func(client, server *peer) {
			client.say(0, []byte(get("/no")))
			isReset(t, client, server)
		},
		"after an answer and an RST": func(client, server *peer) {
			asks(t, client, server)
			client.segment(packet.RST|packet.ACK, client.at(len(get("/ok"))), nil)
		},
		"of a connection that is open": func(client, server *peer) { asks(t, client, server) },
		"after SYNs with other numbers": func(client, server *peer) {
			server.mu.Lock()
			for i := range uint32(3) {
				client.segment(packet.SYN, client.begin+i<<20, nil)
			}
			time.Sleep(pause)
			server.mu.Unlock()
		},
	} {
		for _, turned := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the other way round: %v", name, turned), func(t *testing.T) {
				tuple := r.tuple(4, packet.TCP, 80)
				client, server := r.peers(tuple)
				if !strings.HasPrefix(name, "after SYNs") {
					client.segment(packet.SYN, client.begin, nil)
					within(t, "a handshake", func() bool { return client.opened() && client.acknowledged() == 0 })
				}
				before(client, server)
				time.Sleep(pause)
				// Both ends have forgotten.
				if turned {
					server, client = newPeer(r.client, tuple, 0x1234), newPeer(r.server, tuple.Reversed(), 0x70000abc)
				} else {
					client, server = newPeer(r.client, tuple, 0x1234), newPeer(r.server, tuple.Reversed(), 0x70000abc)
				}
				client.segment(packet.SYN, client.begin, nil)
				within(t, "a handshake", func() bool { return client.opened() && client.acknowledged() == 0 })
				asks(t, client, server)
				client.say(len(get("/ok")), []byte(get("/no")))
				isReset(t, client, server)
				if said, _ := server.heard(); said != get("/ok") {
					t.Errorf("%q came", said)
				}
			})
		}
	}
}

// TestSimultaneousOpen: ends that ask each other for a connection have one (RFC 9293
// section 3.5), and it is judged as that of the first.
func TestSimultaneousOpen(t *testing.T) {
	r := newRoad(t, getsOnly, nil)
	client, server := r.peers(r.tuple(4, packet.TCP, 80))
	client.mu.Lock()
	server.mu.Lock()
	client.transmit(packet.SYN, client.begin, nil)
	time.Sleep(pause)
	server.transmit(packet.SYN, server.begin, nil)
	time.Sleep(pause)
	client.mu.Unlock()
	server.mu.Unlock()
	within(t, "a handshake", func() bool { return client.acknowledged() == 0 && server.acknowledged() == 0 })
	asks(t, client, server)
	client.say(len(get("/ok")), []byte(get("/no")))
	isReset(t, client, server)
	if said, _ := server.heard(); said != get("/ok") {
		t.Errorf("%q came", said)
	}
}
