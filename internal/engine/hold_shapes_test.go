package engine

import (
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// shape is a way to send a stream. When it calls undecided, what it has sent so far
// tells nobody what to do.
type shape struct {
	name string
	send func(p *peer, data, other []byte, undecided func())
	// fails: what is allowed does not come through either, since nobody can say what
	// its receiver makes of it.
	fails bool
	// silent: the connection is not cut, though nothing comes of it.
	silent bool
	// opens: it sends its SYN itself.
	opens bool
}

var shapes = []shape{
	{name: "whole", send: func(p *peer, data, _ []byte, _ func()) { p.say(0, data) }},
	{name: "cut in two", send: func(p *peer, data, _ []byte, undecided func()) {
		half := len(data) / 2
		p.say(0, data[:half])
		undecided()
		p.say(half, data[half:])
	}},
	{name: "one byte a segment", send: func(p *peer, data, _ []byte, undecided func()) {
		for i := range data {
			if i == len(data)/2 {
				undecided()
			}
			p.say(i, data[i:i+1])
		}
	}},
	{name: "out of order", send: func(p *peer, data, _ []byte, undecided func()) {
		third := len(data) / 3
		p.say(2*third, data[2*third:])
		p.say(third, data[third:2*third])
		undecided()
		p.say(0, data[:third])
	}},
	{name: "twice", send: func(p *peer, data, _ []byte, undecided func()) {
		half := len(data) / 2
		p.say(0, data[:half])
		p.say(0, data[:half])
		undecided()
		p.say(half, data[half:])
		p.say(half, data[half:])
	}},
	{name: "overlapping", send: func(p *peer, data, _ []byte, undecided func()) {
		third := len(data) / 3
		p.say(0, data[:2*third])
		undecided()
		p.say(third, data[third:])
	}},
	// A receiver may take either.
	{name: "with two contents", fails: true, send: func(p *peer, data, other []byte, undecided func()) {
		from := 1
		for from < len(data)-1 && data[from] == other[min(from, len(other)-1)] {
			from++
		}
		p.say(1, data[1:from+1])
		p.say(1, append(append([]byte(nil), other[1:min(from, len(other)-1)]...), data[from]^1))
		undecided()
		p.say(0, data)
	}},
	{name: "data in the SYN", opens: true, send: func(p *peer, data, _ []byte, undecided func()) {
		p.segment(packet.SYN, p.begin, data[:min(len(data), mss)])
		p.mu.Lock()
		p.sent = min(len(data), mss)
		p.mu.Unlock()
		if len(data) > mss {
			p.say(mss, data[mss:]) // before it is answered, which no stack does
			undecided()
			p.segment(packet.SYN, p.begin, nil) // without an answer (RFC 7413 section 4.2.1)
		}
	}},
	{name: "IP fragments", fails: true, silent: true, send: func(p *peer, data, _ []byte, _ func()) {
		segment := tcpSegment(p.tuple, packet.ACK|packet.PSH, p.begin+1, p.expects(), data[:min(len(data), mss)])
		for _, ip := range fragments(p.tuple, segment, 32) {
			p.wire.send(ip)
		}
	}},
	{name: "RST beside the window", send: func(p *peer, data, _ []byte, undecided func()) {
		half := len(data) / 2
		p.say(0, data[:half])
		p.segment(packet.RST, p.begin+1<<30, nil)
		undecided()
		p.say(half, data[half:])
	}},
	{name: "RST not at the next number", send: func(p *peer, data, _ []byte, undecided func()) {
		half := len(data) / 2
		p.say(0, data[:half])
		p.segment(packet.RST, p.begin+1+uint32(half)+10, nil)
		undecided()
		p.say(half, data[half:])
	}},
	{name: "SYN beside the window", send: func(p *peer, data, _ []byte, undecided func()) {
		half := len(data) / 2
		p.say(0, data[:half])
		p.segment(packet.SYN, p.begin+1<<30, nil)
		undecided()
		p.say(half, data[half:])
	}},
	// Of what is blocked, when it is: as if nobody had taken the RST.
	{name: "again behind a SYN", send: func(p *peer, data, _ []byte, _ func()) {
		p.say(0, data)
		time.Sleep(pause)
		for _, seq := range []uint32{p.begin + 1<<30, p.begin - 1} {
			p.segment(packet.SYN, seq, nil)
			p.say(0, data)
		}
	}},
	// Every receiver drops the first.
	{name: "wrong checksum", send: func(p *peer, data, other []byte, undecided func()) {
		segment := tcpSegment(p.tuple, packet.ACK|packet.PSH, p.begin+1, p.expects(), other[:min(len(other), mss)])
		segment[16] ^= 0x55
		p.wire.send(ipPacket(p.tuple, segment))
		undecided()
		p.say(0, data)
	}},
	{name: "bytes before the stream", send: func(p *peer, data, other []byte, undecided func()) {
		p.segment(packet.ACK|packet.PSH, p.begin+1-uint32(min(20, len(other))), other[:min(20, len(other))])
		undecided()
		p.say(0, data)
	}},
}
