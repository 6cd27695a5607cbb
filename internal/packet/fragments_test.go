package packet_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

func first4() []byte { return fragment4(1, 0, true, udp("12345678")) }

func follow(c *packet.Fragments, p *packet.Packet, data []byte, now time.Time) packet.Outcome {
	return c.Follow(p, p.Decode(&packet.Frame{Data: data, Link: packet.LinkRaw}), 0, now)
}

// TestFragments: sequences of fragments, and what the last becomes.
func TestFragments(t *testing.T) {
	eight := []byte("12345678")
	first6 := ipv6(44, fragmentHeader(60, 1, 0, true), extension(packet.UDP), udp("12345678"))
	later6 := func(next uint8) []byte { return ipv6(44, fragmentHeader(next, 1, 24, false), eight) }
	for _, c := range []struct {
		name     string
		before   [][]byte
		last     []byte
		lastAt   time.Duration
		outcome  packet.Outcome
		why      packet.Reason
		tuple    packet.Tuple
		followed uint64
	}{
		{name: "in order", before: [][]byte{first4(), fragment4(1, 16, true, eight)}, last: fragment4(1, 24, false, []byte("x")), tuple: between(4, packet.UDP), followed: 2},
		{name: "out of order", before: [][]byte{first4(), fragment4(1, 24, false, eight)}, last: fragment4(1, 16, true, eight), tuple: between(4, packet.UDP), followed: 2},
		{name: "no first", last: fragment4(1, 16, false, eight), outcome: packet.LaterFragment},
		{name: "before the first", before: [][]byte{fragment4(1, 24, false, eight), first4()}, last: fragment4(1, 16, true, eight), tuple: between(4, packet.UDP), followed: 1},
		{name: "another identification", before: [][]byte{first4()}, last: fragment4(2, 16, false, eight), outcome: packet.LaterFragment},
		{name: "another protocol", before: [][]byte{first4()}, last: fragment4Of(packet.TCP, 1, 16, false, eight), outcome: packet.LaterFragment},
		{name: "just in time", before: [][]byte{first4()}, last: fragment4(1, 16, false, eight), lastAt: 30 * time.Second, tuple: between(4, packet.UDP), followed: 1},
		{name: "too late", before: [][]byte{first4()}, last: fragment4(1, 16, false, eight), lastAt: 31 * time.Second, outcome: packet.LaterFragment},
		{name: "overlaps the header", before: [][]byte{first4()}, last: fragment4(1, 8, false, eight), outcome: packet.Malformed, why: packet.Overlap},
		{name: "overlaps a later one", before: [][]byte{first4(), fragment4(1, 24, true, eight)}, last: fragment4(1, 16, true, append(eight, eight...)), outcome: packet.Malformed, why: packet.Overlap, followed: 1},
		{name: "twice", before: [][]byte{first4(), fragment4(1, 16, true, eight)}, last: fragment4(1, 16, true, eight), outcome: packet.Malformed, why: packet.Overlap, followed: 1},
		{name: "identification used again", before: [][]byte{first4(), fragment4(1, 16, false, eight), first4()}, last: fragment4(1, 16, false, eight), tuple: between(4, packet.UDP), followed: 2},
		{name: "tcp flags to be overwritten", before: [][]byte{fragment4Of(packet.TCP, 1, 0, true, tcp(packet.ACK, "1234"))}, last: fragment4Of(packet.TCP, 1, 8, false, eight), outcome: packet.Malformed, why: packet.Overlap},
		{name: "ipv6", before: [][]byte{first6}, last: later6(60), tuple: between(6, packet.UDP), followed: 1},
		{name: "ipv6, another next header", before: [][]byte{first6}, last: later6(packet.TCP), lastAt: time.Minute, tuple: between(6, packet.UDP), followed: 1},
		{name: "ipv6, too late", before: [][]byte{first6}, last: later6(60), lastAt: 61 * time.Second, outcome: packet.LaterFragment},
		{name: "atomic ones are not remembered", before: [][]byte{ipv6(44, fragmentHeader(packet.UDP, 1, 0, false), udp("12345678"))}, last: later6(packet.UDP), outcome: packet.LaterFragment},
	} {
		t.Run(c.name, func(t *testing.T) {
			fragments := packet.NewFragments(4)
			var p packet.Packet
			for _, data := range c.before {
				follow(fragments, &p, data, start)
			}
			outcome := follow(fragments, &p, c.last, start.Add(c.lastAt))
			if outcome != c.outcome || p.Reason != c.why {
				t.Fatalf("%v, %v; want %v, %v", outcome, p.Reason, c.outcome, c.why)
			}
			if outcome == packet.Decoded && p.Tuple != c.tuple {
				t.Errorf("tuple %+v", p.Tuple)
			}
			if fragments.Counts.Followed != c.followed {
				t.Errorf("%+v", fragments.Counts)
			}
		})
	}
}

// TestFragmentsOfReplies: what else the first fragment says holds for the later.
func TestFragmentsOfReplies(t *testing.T) {
	fragments := packet.NewFragments(4)
	var p packet.Packet
	follow(fragments, &p, fragment4Of(packet.ICMP, 1, 0, true, cat(0, 0, 0, 0, 0, 7, 0, 1)), start)
	if follow(fragments, &p, fragment4Of(packet.ICMP, 1, 8, false, cat(1)), start) != packet.Decoded || !p.IsReply || p.ICMPType != 8 || p.ICMPID != 7 {
		t.Errorf("%+v, reply %t", p.Tuple, p.IsReply)
	}
	follow(fragments, &p, fragment4Of(packet.ICMP, 2, 0, true, join(cat(3, 1, 0, 0, 0, 0, 0, 0), ipv4(packet.UDP, udp("1234")))), start)
	if follow(fragments, &p, fragment4Of(packet.ICMP, 2, 40, false, cat(1)), start) != packet.Decoded || !p.IsError || !p.HasQuote || p.Quoted != between(4, packet.UDP) {
		t.Errorf("%+v quotes %+v", p.Tuple, p.Quoted)
	}
}

// TestFragmentsAreBounded: the oldest first fragments make room.
func TestFragmentsAreBounded(t *testing.T) {
	fragments := packet.NewFragments(8)
	var p packet.Packet
	for id := range uint16(100) {
		follow(fragments, &p, fragment4(id, 0, true, udp("12345678")), start)
	}
	known := 0
	for id := range uint16(100) {
		if follow(fragments, &p, fragment4(id, 16, false, []byte("x")), start) == packet.Decoded {
			known++
		}
	}
	want := packet.FragmentCounts{First: 100, Followed: 8, Orphaned: 92, Evicted: 92}
	if known != 8 || fragments.Counts != want {
		t.Errorf("%d known, %+v", known, fragments.Counts)
	}
	// What is over is forgotten without complaint.
	for id := range uint16(8) {
		follow(fragments, &p, fragment4(id, 0, true, udp("12345678")), start.Add(time.Minute))
	}
	if fragments.Counts.Evicted != 92 {
		t.Errorf("%+v", fragments.Counts)
	}
	// Nor do pieces pile up within a datagram.
	follow(fragments, &p, first4(), start)
	for i := range uint16(10) {
		follow(fragments, &p, fragment4(1, 32+16*i, true, []byte("12345678")), start)
	}
	if p.Reason != packet.Scattered || fragments.Counts.Scattered != 3 {
		t.Errorf("%v, %+v", p.Reason, fragments.Counts)
	}
}
