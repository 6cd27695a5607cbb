package dns_test

import (
	"fmt"
	"testing"

	"github.com/weirnet/weir/internal/inspect/dns"
)

// FuzzMessage: whatever the bytes, the parser is bounded and agrees with another.
func FuzzMessage(f *testing.F) {
	for _, c := range messages() {
		f.Add(c.data, uint8(0))
		f.Add(c.data, uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, protocol uint8) {
		var m dns.Message
		m.Parse(data, len(data), dns.Protocol(protocol%3))
		checkMessage(t, data, &m)
		if m.Protocol != dns.MDNS {
			checkOracle(t, data, &m)
		}
		// A part of it says nothing else than the whole.
		var part dns.Message
		half := len(data) / 2
		if part.Parse(data[:half], len(data), m.Protocol); part.Problem == dns.Short && half < len(data) {
			t.Fatal("a message that is cut is not short")
		}
		checkMessage(t, data[:half], &part)
		for i, q := range part.Questions {
			if q.Name.String() != m.Questions[i].Name.String() {
				t.Fatalf("question %d of the part is %v, of the whole %v", i, q.Name, m.Questions[i].Name)
			}
		}
		dns.Detect(data, 1053)
		dns.DetectStream(data, 1053)
	})
}

// FuzzParser: however a stream is cut, what comes out is the same.
func FuzzParser(f *testing.F) {
	for _, c := range messages() {
		f.Add(append(stream(c.data), stream(c.data)...), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole := feed(t, data, max(1, len(data)))
		parts := feed(t, data, int(step)%64+1)
		if fmt.Sprint(whole) != fmt.Sprint(parts) {
			t.Fatalf("%v\nin steps of %d: %v", whole, step, parts)
		}
	})
}

// FuzzCalls: whatever is lost, and whatever the caller cannot hold, the parser goes
// on from a place that it has not passed.
func FuzzCalls(f *testing.F) {
	for _, c := range messages() {
		f.Add(append(stream(c.data), stream(c.data)...), []byte{40, 0, 9, 1, 7, 2, 30, 3})
	}
	f.Fuzz(func(t *testing.T, data, calls []byte) {
		var p dns.Parser
		at, end, last := 0, 0, uint64(0)
		for i := 0; i+1 < len(calls); i += 2 {
			n := int(calls[i])
			switch calls[i+1] % 5 {
			case 0, 1:
				end = min(end+n, len(data))
			case 2:
				p.Limit(dns.Client)
			case 3:
				p.Gap(dns.Client, uint64(n))
				at = end
			case 4:
				p.Gap(dns.Client, p.Skip(dns.Client))
				at = end
			}
			at += p.Read(dns.Client, data[at:end])
			for i := range p.Messages() {
				m := &p.Messages()[i]
				if m.Begin < last || m.End != 0 && m.End <= m.Begin {
					t.Fatalf("%+v, after %d", m.Place, last)
				}
				last = m.Begin
				m.Facts(0)
			}
			p.Reset()
			if at > end {
				t.Fatalf("%d bytes consumed of %d", at, end)
			}
		}
		p.Close(dns.Client)
	})
}

// told is a message of a stream, as text.
type told struct {
	place   dns.Place
	message string
}

// feed hands over the stream in steps.
func feed(t testing.TB, data []byte, step int) (all []told) {
	t.Helper()
	var p dns.Parser
	at, end := 0, 0
	for {
		consumed := p.Read(dns.Client, data[at:end])
		if consumed < 0 || consumed > end-at {
			t.Fatalf("%d of %d bytes consumed", consumed, end-at)
		}
		for i := range p.Messages() {
			m := &p.Messages()[i]
			if uint64(at) > m.Begin || m.End > uint64(end) {
				t.Fatalf("%+v lies outside of %d to %d", m.Place, at, end)
			}
			all = append(all, told{m.Place, fmt.Sprint(textOf(m))})
		}
		p.Reset()
		at += consumed
		if end == len(data) {
			break
		}
		end = min(end+step, len(data))
	}
	p.Close(dns.Client)
	for i := range p.Messages() {
		all = append(all, told{p.Messages()[i].Place, p.Messages()[i].Problem.String()})
	}
	if p.Wants(dns.Client) {
		t.Fatal("wants more after the end")
	}
	return all
}
