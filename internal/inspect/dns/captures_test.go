package dns_test

import (
	"net/netip"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/packet"
)

// seen is a message of a capture, as text.
type seen struct {
	frame    int
	tuple    packet.Tuple
	protocol dns.Protocol
	answer   bool
	id       uint16
	flags    uint16
	opcode   string
	rcode    string
	names    []string
	types    []string
	answers  []record
	problem  dns.Problem
	edns     bool
}

type record struct {
	name, kind, data string
	ttl              uint32
}

func textOf(m *dns.Message) seen {
	s := seen{
		protocol: m.Protocol, answer: m.IsAnswer(), id: m.ID, flags: m.Flags(), opcode: dns.OpcodeName(m.Opcode),
		rcode: dns.RCodeName(m.RCode), problem: m.Problem, edns: m.EDNS.Present,
	}
	for _, q := range m.Questions {
		s.names = append(s.names, q.Name.String())
		s.types = append(s.types, dns.TypeName(q.Type))
	}
	for i := range m.Answers {
		r := &m.Answers[i]
		if data := r.Data(); r.Type == dns.TypeTXT { // Suricata has a record for each string
			for len(data) > 0 && int(data[0]) < len(data) {
				s.answers = append(s.answers, record{r.Name.String(), "TXT", string(data[1 : 1+data[0]]), r.TTL})
				data = data[1+data[0]:]
			}
			continue
		}
		s.answers = append(s.answers, record{r.Name.String(), dns.TypeName(r.Type), string(r.AppendText(nil)), r.TTL})
	}
	return s
}

// flow puts the bytes of one direction of a connection in order.
type flow struct {
	parser  *dns.Parser
	end     dns.End
	started bool
	next    uint32
	later   map[uint32][]byte
	held    []byte
	is      dns.Match
}

// readCapture reads the DNS messages of a capture: those of ports of DNS, and what
// is detected.
func readCapture(t testing.TB, path string) (all []seen) {
	t.Helper()
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	flows := map[packet.Tuple]*flow{}
	var p packet.Packet
	var m dns.Message
	for number := 1; ; number++ {
		f, err := r.Next()
		if err != nil {
			return all
		}
		f.FromFile = true
		outcome := p.Decode(&f.Frame)
		if outcome != packet.Decoded || p.IsFragment && p.FragmentOffset > 0 {
			continue
		}
		payload := p.CapturedPayload(f.Data)
		port := p.DestinationPort
		if !isServer(port) {
			port = p.SourcePort
		}
		switch p.Protocol {
		case packet.UDP:
			if len(payload) == 0 || dns.Detect(payload, port) != dns.Yes {
				continue
			}
			m.Parse(payload, p.PayloadLength, dns.ProtocolOf(p.SourcePort, p.DestinationPort))
			s := textOf(&m)
			s.frame, s.tuple = number, p.Tuple
			all = append(all, s)
		case packet.TCP:
			one := flows[p.Tuple]
			if one == nil {
				one = &flow{later: map[uint32][]byte{}}
				if other := flows[p.Tuple.Reversed()]; other != nil {
					one.parser, one.end, one.is = other.parser, 1-other.end, other.is
				} else {
					one.parser, one.is = &dns.Parser{}, dns.More
				}
				flows[p.Tuple] = one
			}
			one.segment(&p, payload)
			if one.is == dns.More {
				one.is = dns.DetectStream(one.held, port)
			}
			if one.is != dns.Yes {
				continue
			}
			one.held = one.held[one.parser.Read(one.end, one.held):]
			for i := range one.parser.Messages() {
				s := textOf(&one.parser.Messages()[i])
				s.frame, s.tuple = number, p.Tuple
				all = append(all, s)
			}
			one.parser.Reset()
		}
	}
}

// segment appends what is in order.
func (f *flow) segment(p *packet.Packet, payload []byte) {
	seq := p.Seq
	if p.TCPFlags&packet.SYN != 0 {
		f.started, f.next = true, seq+1
		return
	}
	if !f.started {
		f.started, f.next = true, seq
	}
	if len(payload) > 0 && int32(seq-f.next) >= 0 {
		f.later[seq] = append([]byte(nil), payload...)
	}
	for data, ok := f.later[f.next]; ok; data, ok = f.later[f.next] {
		delete(f.later, f.next)
		f.held = append(f.held, data...)
		f.next += uint32(len(data))
	}
}

func isServer(port uint16) bool {
	return port == dns.Port || port == dns.PortMDNS || port == dns.PortLLMNR
}

func sameEnds(t packet.Tuple, source, destination string, sourcePort, destinationPort int) bool {
	same := func(a netip.Addr, s string) bool {
		want, err := netip.ParseAddr(s)
		return s == "" || err == nil && a == want
	}
	return same(t.Source, source) && same(t.Destination, destination) &&
		(sourcePort == 0 || sourcePort == int(t.SourcePort)) &&
		(destinationPort == 0 || destinationPort == int(t.DestinationPort))
}
