package quic

import (
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// FuzzDatagrams gives the bytes as datagrams, and as the content of packets that can
// be read.
func FuzzDatagrams(f *testing.F) {
	flight := clientFlight(f, "www.example.net")
	s := newSealer(f, Version1, "12345678")
	f.Add(s.initial(Client, cryptoFrame(0, flight[:800]), 1200), cryptoFrame(800, flight[800:]))
	f.Add(s.long(Server, retry), cryptoFrame(0, flight))
	f.Add([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, []byte{frameAck, 1, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, datagram, frames []byte) {
		if len(frames) > 1400 || len(datagram) > 1<<16 {
			return
		}
		Detect(datagram)
		var p Parser
		p.Init(Limits{Pieces: 16})
		s := newSealer(t, Version1, "12345678")
		for i := range 3 {
			p.Read(Client, s.initial(Client, append(make([]byte, 0, 1500), frames...), 0))
			p.Read(End(i&1), datagram)
			p.Read(Server, s.initial(Server, frames, 0))
			if n := len(p.ends[Client].stream.spans); n > 16 {
				t.Fatalf("%d pieces", n)
			}
			if len(p.ends[Client].stream.data) > 32<<10 {
				t.Fatal("too much is kept")
			}
		}
		facts := p.Facts()
		if p.Application().State == policy.Known && facts.ServerName.State == policy.Unknown {
			t.Fatalf("facts %+v", facts)
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	flights := talk(b, nil)
	datagrams := newSealer(b, Version1, "12345678").wire(flights, 1000)
	size := 0
	for _, d := range datagrams {
		size += len(d.data)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var p Parser
	for b.Loop() {
		p.Init(Limits{})
		for _, d := range datagrams {
			p.Read(d.from, d.data)
		}
		if p.Facts().Version.State != policy.Known {
			b.Fatal("no handshake")
		}
	}
}

// BenchmarkAfterwards is a packet of an established connection.
func BenchmarkAfterwards(b *testing.B) {
	var p Parser
	read(&p, newSealer(b, Version1, "12345678").wire(talk(b, nil), 1000))
	packet := append([]byte{0x40}, make([]byte, 1199)...)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		p.Read(Client, packet)
	}
}
