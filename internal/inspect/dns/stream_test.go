package dns_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weirnet/weir/internal/inspect/dns"
)

// TestStream: a pipelined stream cut at every place, and byte by byte.
func TestStream(t *testing.T) {
	var data []byte
	var want []told
	for _, c := range messages() {
		if c.protocol != dns.DNS || len(c.data) < 12 {
			continue
		}
		var m dns.Message
		m.Parse(c.data, len(c.data), dns.DNS)
		begin := uint64(len(data))
		data = append(data, stream(c.data)...)
		want = append(want, told{dns.Place{From: dns.Client, Begin: begin, End: uint64(len(data))}, fmt.Sprint(textOf(&m))})
	}
	for step := 1; step <= len(data); step++ {
		if got := feed(t, data, step); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("in steps of %d:\n%v; want\n%v", step, got, want)
		}
	}
	for cut := range data {
		var p dns.Parser
		n := p.Read(dns.Server, data[:cut])
		n += p.Read(dns.Server, data[n:])
		if n != len(data) || len(p.Messages()) != len(want) {
			t.Fatalf("cut at %d: %d bytes and %d messages", cut, n, len(p.Messages()))
		}
	}
}

// outcome is what a parser has told, in short.
func outcome(p *dns.Parser) (all []string) {
	for i := range p.Messages() {
		m := &p.Messages()[i]
		all = append(all, fmt.Sprintf("%d-%d %s %s", m.Begin, m.End, factsText(m.Facts(0)), m.Problem))
	}
	return all
}

func TestStreamLosses(t *testing.T) {
	message := join(head(query, 1), wire("a", "example"), []byte{0, 1, 0, 1})
	long := join(head(answer, 1, 2), wire("a", "example"), []byte{0, 1, 0, 1}, rr(16, make([]byte, 500)...), rr(1, 192, 0, 2, 1))
	one, two := stream(message), stream(long) // 29 and 557 bytes
	whole := "0-29 a.example A "
	for _, c := range []struct {
		name string
		run  func(p *dns.Parser)
		want []string
		dead bool
	}{
		{
			name: "limit",
			run: func(p *dns.Parser) {
				p.Read(0, two[:100])
				p.Limit(0)
				if n := p.Read(0, two[:100]); n != 100 || p.Skip(0) != uint64(len(two)-100) {
					panic(fmt.Sprint(n, p.Skip(0)))
				}
				p.Gap(0, p.Skip(0)) // not handed over
				p.Read(0, one)
			},
			want: []string{"0-557 a.example A is longer than the limit", "557-586 a.example A "},
		},
		{
			name: "the rest is handed over all the same",
			run: func(p *dns.Parser) {
				p.Read(0, two[:100])
				p.Limit(0)
				p.Read(0, two[:100])
				p.Read(0, join(two[100:], one))
			},
			want: []string{"0-557 a.example A is longer than the limit", "557-586 a.example A "},
		},
		{
			name: "gap inside a message",
			run: func(p *dns.Parser) {
				p.Read(0, two[:10])
				p.Gap(0, 100)
				p.Read(0, join(two[110:], one))
			},
			want: []string{"0-557 not_seen was not seen as a whole", "557-586 a.example A "},
		},
		{
			name: "gap to the end of a message",
			run: func(p *dns.Parser) {
				p.Read(0, join(one, two[:10]))
				p.Gap(0, uint64(len(two)-10))
				p.Read(0, one)
			},
			want: []string{whole, "29-586 not_seen was not seen as a whole", "586-615 a.example A "},
		},
		{
			name: "gap into the next message",
			run: func(p *dns.Parser) {
				p.Read(0, one[:10])
				p.Gap(0, 29)
				p.Read(0, one[10:]) // the middle of a message
				p.Read(0, one)
			},
			want: []string{"0-29 not_seen was not seen as a whole", "58-87 a.example A "},
		},
		{
			name: "gap of unknown length",
			run: func(p *dns.Parser) {
				p.Gap(0, 0)
				p.Read(0, two[50:])
				p.Read(0, one)
			},
			want: []string{"507-536 a.example A "},
		},
		{
			name: "length that none can have",
			run:  func(p *dns.Parser) { p.Read(0, join(one, []byte{0, 11}, one)); p.Read(0, one) },
			want: []string{whole, "29-0 malformed impossible length"}, dead: true,
		},
		{
			name: "end inside a message",
			run:  func(p *dns.Parser) { p.Read(0, one[:20]); p.Close(0) },
			want: []string{"0-0 malformed connection ended inside the message"}, dead: true,
		},
		{
			name: "end between messages",
			run:  func(p *dns.Parser) { p.Read(0, one); p.Close(0) },
			want: []string{whole}, dead: true,
		},
		{
			name: "both ends",
			run: func(p *dns.Parser) {
				p.Read(0, one[:20])
				p.Read(1, two)
				p.Read(0, one)
			},
			want: []string{"0-557 a.example A ", whole},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p dns.Parser
			c.run(&p)
			if got := outcome(&p); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if p.Wants(0) == c.dead {
				t.Errorf("wants more: %v", !c.dead)
			}
			p.Reset()
			if len(p.Messages()) != 0 {
				t.Error("messages after Reset")
			}
		})
	}
}

func TestDetect(t *testing.T) {
	message := join(head(query, 1), wire("a", "example"), []byte{0, 1, 0, 1})
	change := func(at int, b byte) []byte {
		c := append([]byte(nil), message...)
		c[at] = b
		return c
	}
	for _, c := range []struct {
		name          string
		data          []byte
		port          uint16
		match, stream dns.Match
	}{
		{"query", message, 0, dns.Yes, dns.Yes},
		{"query on its port", message, 53, dns.Yes, dns.Yes},
		{"answer", join(head(answer, 1, 1), wire("a"), []byte{0, 1, 0, 1}, rr(1, 1, 2, 3, 4)), 0, dns.Yes, dns.Yes},
		{"anything on the port", []byte("GET / HTTP/1.1\r\n\r\n"), 53, dns.Yes, dns.Yes},
		{"little on the port", []byte("GET / HTTP/"), 53, dns.No, dns.Yes},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), 80, dns.No, dns.No},
		{"TLS", []byte("\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03xxxxxxxxxxxxxxxx"), 443, dns.No, dns.No},
		{"opcode 15", change(2, 0x78), 0, dns.No, dns.No},
		{"reserved flag", change(3, 0x40), 0, dns.Yes, dns.Yes},
		{"code in a query", change(3, 5), 0, dns.Yes, dns.Yes},
		{"question that is not there", change(5, 2), 0, dns.No, dns.No},
		{"no question", change(5, 0), 0, dns.No, dns.No},
		{"two questions", join(head(query, 2), wire("a"), []byte{0, 1, 0, 1}, wire("b"), []byte{0, 1, 0, 1}), 0, dns.Yes, dns.Yes},
		{"nine questions", join(head(query, 9), bytes.Repeat([]byte{0, 0, 1, 0, 1}, 9)), 0, dns.No, dns.No},
		{"bytes behind the question", append(change(0, 1), 0), 0, dns.No, dns.No},
		{"NetBIOS", message, 137, dns.No, dns.Yes},
		{"class 77", change(len(message)-1, 77), 0, dns.No, dns.No},
		{"records without room", change(11, 9), 0, dns.No, dns.No},
		{"empty", nil, 0, dns.No, dns.No},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := dns.Detect(c.data, c.port); got != c.match {
				t.Errorf("a datagram: %v", got)
			}
			if got := dns.DetectStream(stream(c.data), c.port); got != c.stream {
				t.Errorf("a stream: %v", got)
			}
		})
	}
	long := join(head(query, 1, 0, 0, 1), wire("a", "example"), []byte{0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0})
	for n := range stream(long) {
		want := dns.More
		if n >= len(stream(message)) {
			want = dns.Yes
		}
		if got := dns.DetectStream(stream(long)[:n], 0); got != want {
			t.Errorf("%d bytes of a stream: %v", n, got)
		}
	}
}

func TestProtocolOf(t *testing.T) {
	for _, c := range []struct {
		source, destination uint16
		want                dns.Protocol
	}{
		{40000, 53, dns.DNS},
		{53, 40000, dns.DNS},
		{5353, 5353, dns.MDNS},
		{40000, 5353, dns.MDNS},
		{5353, 40000, dns.MDNS},
		{5353, 53, dns.DNS},
		{40000, 5355, dns.LLMNR},
		{5355, 40000, dns.LLMNR},
	} {
		if got := dns.ProtocolOf(c.source, c.destination); got != c.want {
			t.Errorf("%d to %d: %v", c.source, c.destination, got)
		}
	}
}
