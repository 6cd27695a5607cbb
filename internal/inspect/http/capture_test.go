package http

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// conversation is a TCP connection of a capture.
type conversation struct {
	client, server netip.AddrPort
	segments       []segment
	started        bool // its SYN is there
	ended          bool
}

type segment struct {
	end  End
	seq  uint32
	syn  bool
	data []byte
}

// conversations reads the TCP connections of a capture, in the order of their first
// packets, as far as that needs no more than ports and flags.
func conversations(t *testing.T, path string) (all []*conversation) {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	open := map[[2]netip.AddrPort]*conversation{}
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			return all
		}
		if p.Decode(&f.Frame) != packet.Decoded || p.Protocol != packet.TCP {
			continue
		}
		from, to := netip.AddrPortFrom(p.Source, p.SourcePort), netip.AddrPortFrom(p.Destination, p.DestinationPort)
		c, end := open[[2]netip.AddrPort{from, to}], Client
		if c == nil {
			if c = open[[2]netip.AddrPort{to, from}]; c != nil {
				end = Server
			}
		}
		syn := p.TCPFlags&packet.SYN != 0
		data := slices.Clone(p.CapturedPayload(f.Data))
		if opens := syn && p.TCPFlags&packet.ACK == 0; c == nil || opens && (c.ended || end == Client && len(c.segments) > 1 && c.segments[0].seq != p.Seq) {
			if c == nil && len(data) == 0 && !syn {
				continue
			}
			delete(open, [2]netip.AddrPort{to, from})
			c, end = &conversation{client: from, server: to, started: syn}, Client
			if syn && !opens {
				c.client, c.server, end = to, from, Server
			}
			open[[2]netip.AddrPort{c.client, c.server}] = c
			all = append(all, c)
		}
		c.ended = c.ended || p.TCPFlags&(packet.FIN|packet.RST) != 0
		if syn || len(data) > 0 {
			c.segments = append(c.segments, segment{end, p.Seq, syn, data})
		}
	}
}

// turn exchanges the ends where the first bytes say that the server was seen first.
func (c *conversation) turn() {
	for _, s := range c.segments {
		if len(s.data) == 0 {
			continue
		}
		if !c.started && (s.end == Client) == strings.HasPrefix(string(s.data), "HTTP/1.") {
			c.client, c.server = c.server, c.client
			for i := range c.segments {
				c.segments[i].end = c.segments[i].end.Other()
			}
		}
		return
	}
}

// unwrap leaves out the handshake of SOCKS, which ends where the client speaks HTTP.
func (c *conversation) unwrap() {
	socks := false
	for i, s := range c.segments {
		switch {
		case s.end != Client || len(s.data) == 0:
		case socks && Detect(s.data) == Yes:
			c.segments = c.segments[i:]
			return
		case !socks && s.data[0] != 4 && s.data[0] != 5:
			return
		default:
			socks = true
		}
	}
}

// messages puts the segments in order, and reads them. What is missing at the end
// is a gap. It is nil for what is not HTTP.
func (c *conversation) messages(config *Config) []Message {
	c.turn()
	c.unwrap()
	var d driver
	d.p.Init(config)
	var next [2]uint32
	var begun [2]bool
	var early [2][]segment
	detected := More
	var first []byte
	deliver := func(s segment) {
		if s.end == Client && detected == More {
			first = append(first, s.data...)
			if detected = Detect(first); detected == No {
				return
			}
		}
		d.say(s.end, s.data)
	}
	// take is the part of a segment that is next, if any is.
	take := func(s segment) bool {
		skip := int32(next[s.end] - s.seq)
		if skip < 0 {
			return false
		}
		if int(skip) < len(s.data) {
			s.data = s.data[skip:]
			next[s.end] += uint32(len(s.data))
			deliver(s)
		}
		return true
	}
	for _, s := range c.segments {
		if s.syn {
			if !begun[s.end] || d.p.sides[s.end].at == 0 {
				begun[s.end], next[s.end] = true, s.seq+1
			}
			s.seq++
		}
		if !begun[s.end] {
			begun[s.end], next[s.end] = true, s.seq
		}
		if detected == No {
			return nil
		}
		if !take(s) {
			early[s.end] = append(early[s.end], s)
			continue
		}
		early[s.end] = slices.DeleteFunc(early[s.end], take)
	}
	for _, end := range []End{Client, Server} {
		// What comes at the capture's end is not in the order that it was sent in.
		for len(early[end]) > 0 {
			hole := slices.MinFunc(early[end], func(a, b segment) int { return int(int32(a.seq - b.seq)) })
			d.p.Gap(end, uint64(hole.seq-next[end]))
			d.kept[end] = nil
			next[end] = hole.seq
			early[end] = slices.DeleteFunc(early[end], take)
		}
	}
	if detected == No {
		return nil
	}
	d.close()
	return append(d.messages, innerMessages(config, d.messages, c)...)
}

// innerMessages are those within a tunnel that CONNECT made, if it has no gaps.
func innerMessages(config *Config, outer []Message, c *conversation) (all []Message) {
	for i := range outer {
		m := &outer[i]
		if m.Kind != Switched || m.Inner != InnerAny || m.Stream != 0 {
			continue
		}
		in := &conversation{client: c.client, server: c.server, started: true}
		var read [2]uint64
		for _, s := range c.segments {
			from := read[s.end]
			read[s.end] += uint64(len(s.data))
			if start := m.InnerStart[s.end]; read[s.end] > start {
				s.data = s.data[max(from, start)-from:]
				in.segments = append(in.segments, segment{end: s.end, seq: uint32(read[s.end]) - uint32(len(s.data)), data: s.data})
			}
		}
		for j := range in.segments { // numbered anew
			in.segments[j].seq -= uint32(m.InnerStart[in.segments[j].end])
		}
		all = append(all, in.messages(config)...)
	}
	return all
}

// seen is a request with its response, as tools tell them.
type seen struct {
	method, host, url, path, version, agent string
	status                                  int
	stream                                  uint32
	interim                                 []string
}

// exchanges joins messages.
func exchanges(messages []Message) (all []*seen) {
	by := map[uint64]*seen{}
	last := uint64(0)
	of := func(n uint64) *seen {
		if by[n] == nil || n == 0 {
			by[n] = &seen{}
			all = append(all, by[n])
		}
		return by[n]
	}
	for i := range messages {
		m := &messages[i]
		switch m.Kind {
		case Request:
			if m.Exchange <= last {
				clear(by) // a tunnel
			}
			last = m.Exchange
			x := of(m.Exchange)
			x.method, x.host, x.path, x.url, x.version, x.agent, x.stream = m.Method, m.Host, m.Path, m.Path, m.Version, m.UserAgent, m.Stream
			if m.HasQuery {
				x.url += "?" + m.Query
			}
		case Response:
			x := of(m.Exchange)
			if x.status != 0 {
				x.interim = append(x.interim, strconv.Itoa(x.status))
			}
			x.status = int(m.Status)
			if x.version == "" {
				x.version = m.Version
			}
		case Broken:
			if m.End == Client {
				all = append(all, &seen{version: "broken: " + m.Reason.String()})
			}
		}
	}
	return all
}
