package tls

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// conversation is a TCP connection of a capture. Segments are put in order, and
// those that never came end the stream.
type conversation struct {
	client, server netip.AddrPort
	next           [2]uint32
	known          [2]bool
	early          [2]map[uint32][]byte
	held           [2][]byte
	begun          [2]bool
	parser         Parser
}

func (c *conversation) segment(end End, seq uint32, flags uint8, data []byte) {
	if flags&packet.SYN != 0 {
		if !c.begun[end] {
			c.next[end], c.known[end] = seq+1, true
		}
		seq++
	}
	if len(data) == 0 {
		return
	}
	if !c.known[end] {
		c.next[end], c.known[end] = seq, true
	}
	if c.early[end] == nil {
		c.early[end] = map[uint32][]byte{}
	}
	if len(c.early[end][seq]) < len(data) {
		c.early[end][seq] = slices.Clone(data)
	}
	for again := true; again; {
		again = false
		for at, data := range c.early[end] {
			behind := int32(c.next[end] - at)
			if behind < 0 {
				continue
			}
			delete(c.early[end], at)
			if int(behind) < len(data) {
				c.give(end, data[behind:])
				c.next[end] += uint32(len(data)) - uint32(behind)
				again = true
			}
		}
	}
}

// give hands data to the parser. TLS may begin within a connection, after STARTTLS
// or behind a proxy: that is for others to know, and taken here from the bytes.
func (c *conversation) give(end End, data []byte) {
	if !c.begun[end] {
		isTLS := Detect(data) == Yes && (data[0] != recordAlert || end == Server)
		if end == Server {
			isTLS = len(data) > 1 && data[0] >= recordAlert && data[0] <= recordHandshake && data[1] == 3
		}
		if !isTLS {
			return
		}
		c.begun[end] = true
	}
	c.held[end] = append(c.held[end], data...)
	n := c.parser.Read(end, c.held[end])
	c.held[end] = append([]byte(nil), c.held[end][n:]...)
}

var conversations = map[string][]*conversation{}

// replay reads the TLS connections of a capture.
func replay(t *testing.T, path string) (all []*conversation) {
	t.Helper()
	if known, ok := conversations[path]; ok {
		return known
	}
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	byEnds := map[[2]netip.AddrPort]*conversation{}
	pieces := packet.NewFragments(1024)
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			break
		}
		if pieces.Follow(&p, p.Decode(&f.Frame), 0, f.Time) != packet.Decoded || p.Protocol != packet.TCP {
			continue
		}
		from, to := netip.AddrPortFrom(p.Source, p.SourcePort), netip.AddrPortFrom(p.Destination, p.DestinationPort)
		end := Client
		c := byEnds[[2]netip.AddrPort{from, to}]
		if c == nil {
			if c = byEnds[[2]netip.AddrPort{to, from}]; c != nil {
				end = Server
			}
		}
		payload := p.CapturedPayload(f.Data)
		opens := p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
		if c == nil || opens && c.known[Client] && c.next[Client] != p.Seq+1 {
			end = Client
			// A capture that begins within a connection may show the server first.
			if !opens && (p.TCPFlags&packet.SYN != 0 || len(payload) > 0 && Detect(payload) != Yes) {
				from, to, end = to, from, Server
			}
			c = &conversation{client: from, server: to}
			byEnds[[2]netip.AddrPort{from, to}] = c
			all = append(all, c)
		}
		c.segment(end, p.Seq, p.TCPFlags, payload)
	}
	all = slices.DeleteFunc(all, func(c *conversation) bool { return !c.begun[Client] && !c.begun[Server] })
	conversations[path] = all
	return all
}
