package dns_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/inspect/dns"
)

func typical() []byte {
	return join(head(answer, 1, 3, 0, 1), wire("www", "example", "com"), []byte{0, 1, 0, 1},
		rr(5, join([]byte{4, 'e', 'd', 'g', 'e', 0xc0, 16})...), rr(1, 192, 0, 2, 1), rr(1, 192, 0, 2, 2),
		[]byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0})
}

func BenchmarkMessage(b *testing.B) {
	data := typical()
	var m dns.Message
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		m.Parse(data, len(data), dns.DNS)
	}
}

func BenchmarkText(b *testing.B) {
	data := typical()
	var m dns.Message
	m.Parse(data, len(data), dns.DNS)
	buffer := make([]byte, 0, 1024)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		buffer = m.Questions[0].Name.AppendText(buffer[:0])
		for i := range m.Answers {
			buffer = m.Answers[i].AppendText(buffer)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	var data []byte
	for range 64 {
		data = append(data, stream(typical())...)
	}
	var p dns.Parser
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		p.Read(dns.Server, data)
		p.Reset()
	}
}

// BenchmarkHostile: as many names as a message can have, each of as many labels.
func BenchmarkHostile(b *testing.B) {
	labels := make([]string, 127)
	for i := range labels {
		labels[i] = "a"
	}
	data := join(head(answer, 1), wire(labels...), []byte{0, 1, 0, 1})
	n := (65535 - len(data)) / 12
	data[6], data[7] = byte(n>>8), byte(n)
	for range n {
		data = append(data, rr(1)...)
	}
	var m dns.Message
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		m.Parse(data, len(data), dns.DNS)
	}
}

func BenchmarkTable(b *testing.B) {
	table := dns.NewTable(4096, time.Second)
	there := tuple("192.0.2.1:4000", "192.0.2.53:53")
	q, a := ask(1, query, "a", 1, 0), ask(1, answer, "a", 1, 0)
	b.ReportAllocs()
	for b.Loop() {
		table.Ask(there, q, 0, start)
		table.Answer(there.Reversed(), a)
	}
}
