package tls

import (
	gotls "crypto/tls"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// FuzzParser: whatever the pieces, the outcome is the same, and what is kept is
// bounded.
func FuzzParser(f *testing.F) {
	hello := record(recordHandshake, clientHello("example.com")...)
	f.Add(hello, record(recordHandshake, serverHello(nil)...), uint8(3))
	f.Add(hello, record(recordHandshake, serverHello(retryRandom, tls13)...), uint8(1))
	f.Add(sslv2Hello(), record(recordAlert, 2, 40), uint8(7))
	for _, version := range []uint16{gotls.VersionTLS12, gotls.VersionTLS13} {
		test := handshakeCase{client: versions(version, version)}
		client, server := test.configs()
		var streams [2][]byte
		for _, turn := range talk(f, client, server) {
			streams[turn.from] = append(streams[turn.from], turn.data...)
		}
		f.Add(streams[Client], streams[Server], uint8(50))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, piece uint8) {
		Detect(client)
		turns := []turn{{Client, client}, {Server, server}, {Client, server}}
		var p Parser
		p.Init(Limits{Hello: 4096, Certificate: 8192})
		whole := read(&p, turns, 0, 0)
		var q Parser
		q.Init(Limits{Hello: 4096, Certificate: 8192})
		cut := read(&q, turns, 1+int(piece), 0)
		for end := range q.ends {
			if cap(q.ends[end].body) > 3*8192 {
				t.Fatalf("keeps %d bytes", cap(q.ends[end].body))
			}
		}
		if whole.Application != cut.Application || whole.Facts.ServerName != cut.Facts.ServerName || whole.Facts.Version != cut.Facts.Version ||
			whole.Facts.ECH != cut.Facts.ECH || whole.Facts.Certificate.State != cut.Facts.Certificate.State || len(whole.Messages) != len(cut.Messages) {
			t.Fatalf("%+v in one, %+v in pieces of %d", whole, cut, 1+int(piece))
		}
		if whole.Application.State == policy.Known && whole.Facts.ECH.State == policy.Unknown {
			t.Fatalf("facts %+v", whole.Facts)
		}
	})
}

func conversationOf(b *testing.B, version uint16) (turns []turn, size int) {
	test := handshakeCase{client: versions(version, version)}
	client, server := test.configs()
	turns = talk(b, client, server)
	for _, turn := range turns {
		size += len(turn.data)
	}
	return turns, size
}

func BenchmarkHandshake(b *testing.B) {
	for _, version := range []uint16{gotls.VersionTLS12, gotls.VersionTLS13} {
		b.Run(gotls.VersionName(version), func(b *testing.B) {
			turns, size := conversationOf(b, version)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var p Parser
			for b.Loop() {
				p.Init(Limits{})
				for _, turn := range turns {
					p.Read(turn.from, turn.data)
				}
			}
			if !p.Handshake().Established {
				b.Fatal("not established")
			}
		})
	}
}

// BenchmarkBytewise is a hello that comes one byte at a time, in records of one byte.
func BenchmarkBytewise(b *testing.B) {
	data := records(clientHello("example.com", extension(21, make([]byte, 1500)...)), 1)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var p Parser
	for b.Loop() {
		p.Init(Limits{})
		from := 0
		for n := range data {
			from += p.Read(Client, data[from:n+1])
		}
		if p.Facts().ServerName.State != policy.Known {
			b.Fatal("no hello")
		}
	}
}

// BenchmarkData is what an established connection costs, where it is still shown.
func BenchmarkData(b *testing.B) {
	turns, _ := conversationOf(b, gotls.VersionTLS13)
	var p Parser
	read(&p, turns, 0, 0)
	var data []byte
	for range 4 {
		data = append(data, record(recordApplicationData, make([]byte, 1<<14)...)...)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		p.Read(Server, data)
	}
}
