package quic

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// clientFlight is the ClientHello of Go's client.
func clientFlight(t testing.TB, name string) []byte {
	t.Helper()
	return talk(t, func(client, _ *tls.Config) { client.ServerName = name })[0].data
}

func TestHostile(t *testing.T) {
	hello := clientFlight(t, "www.example.net")
	other := clientFlight(t, "other.example.net")
	known := policy.Is("www.example.net")
	lost := policy.Lost[string]
	whole := func(s *sealer, hello []byte) []datagram {
		return []datagram{{Client, s.initial(Client, cryptoFrame(0, hello[:700]), 1200)}, {Client, s.initial(Client, cryptoFrame(700, hello[700:]), 1200)}}
	}
	one := func(frames func(s *sealer) []byte) func(s *sealer) []datagram {
		return func(s *sealer) []datagram { return []datagram{{Client, s.initial(Client, frames(s), 1200)}} }
	}
	tests := []struct {
		name      string
		datagrams func(s *sealer) []datagram
		want      policy.Fact[string]
	}{
		{"whole", func(s *sealer) []datagram { return whole(s, hello) }, known},
		{"the second half is missing", func(s *sealer) []datagram { return whole(s, hello)[:1] }, policy.Fact[string]{}},
		{"sent twice", func(s *sealer) []datagram { return append(whole(s, hello), whole(s, hello)...) }, known},
		{"a changed byte", func(s *sealer) []datagram {
			d := whole(s, hello)
			d[0].data[100] ^= 1
			return d
		}, lost(policy.Malformed)},
		{"a changed byte in the second datagram, which comes again", func(s *sealer) []datagram {
			d := whole(s, hello)
			bad := slices.Clone(d[1].data)
			bad[100] ^= 1
			return []datagram{d[0], {Client, bad}, d[1]}
		}, known},
		{"unreadable datagrams without end", func(s *sealer) []datagram {
			d := whole(s, hello)[:1]
			bad := s.initial(Client, cryptoFrame(0, hello), 1200)
			bad[1100] ^= 1
			return append(d, slices.Repeat([]datagram{{Client, bad}}, 10)...)
		}, lost(policy.Malformed)},
		{"two names, overlapping", func(s *sealer) []datagram {
			return []datagram{
				{Client, s.initial(Client, cryptoFrame(0, hello[:700]), 1200)}, {Client, s.initial(Client, cryptoFrame(0, other[:700]), 1200)},
			}
		}, lost(policy.Malformed)},
		{"another name in the same place, after the first was whole", func(s *sealer) []datagram {
			return append(whole(s, hello), whole(s, other)...)
		}, lost(policy.Malformed)},
		{"datagrams without end", func(s *sealer) []datagram {
			return slices.Concat(slices.Repeat(whole(s, hello), 200))
		}, lost(policy.Limit)},
		{"another connection between the same ports, same name", func(s *sealer) []datagram {
			return append(whole(s, hello), whole(newSealer(t, Version1, "abcdefgh"), hello)...)
		}, known},
		{"another connection between the same ports, another name", func(s *sealer) []datagram {
			return append(whole(s, hello), whole(newSealer(t, Version1, "abcdefgh"), other)...)
		}, lost(policy.Malformed)},
		{"connections without end", func(s *sealer) (all []datagram) {
			for i := range 20 {
				all = append(all, whole(newSealer(t, Version1, "abcdefg"+string(rune('a'+i))), hello)...)
			}
			return all
		}, lost(policy.Limit)},
		{"a hello of 16 MB", one(func(*sealer) []byte { return cryptoFrame(0, []byte{1, 0xff, 0xff, 0xff}) }), lost(policy.Limit)},
		{"a piece far out", one(func(*sealer) []byte { return cryptoFrame(1<<20, []byte{1}) }), lost(policy.Limit)},
		{"a piece at the end of numbers", one(func(*sealer) []byte {
			return []byte{frameCrypto, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}
		}), lost(policy.Limit)},
		{"many pieces", one(func(*sealer) (b []byte) {
			for i := range 200 {
				b = append(b, cryptoFrame(3*i, hello[3*i:3*i+1])...)
			}
			return b
		}), lost(policy.Limit)},
		{"another message", one(func(*sealer) []byte { return cryptoFrame(0, []byte{2, 0, 0, 0}) }), lost(policy.Malformed)},
		{"a frame that does not belong there", one(func(*sealer) []byte { return append([]byte{8}, cryptoFrame(0, hello)...) }), lost(policy.Malformed)},
		{"a frame cut short", one(func(*sealer) []byte { return append(make([]byte, 1150), frameCrypto, 0, 60) }), lost(policy.Malformed)},
		{"acknowledged ranges without end", one(func(*sealer) []byte {
			return []byte{frameAck, 1, 1, 0xbf, 0xff, 0xff, 0xff, 1}
		}), lost(policy.Malformed)},
		{"a version that is not known", func(*sealer) []datagram {
			return []datagram{{Client, append([]byte{0xc0, 1, 2, 3, 4, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0}, make([]byte, 1200)...)}}
		}, lost(policy.Malformed)},
		{"a connection id of 21 bytes", func(*sealer) []datagram {
			return []datagram{{Client, append([]byte{0xc0, 0, 0, 0, 1, 21}, make([]byte, 1200)...)}}
		}, lost(policy.Malformed)},
		{"a packet longer than its datagram", func(s *sealer) []datagram {
			return []datagram{{Client, whole(s, hello)[0].data[:1100]}}
		}, lost(policy.Malformed)},
		{"a server before the client", func(s *sealer) []datagram {
			return append([]datagram{{Server, s.initial(Server, cryptoFrame(0, hello), 0)}}, whole(s, hello)...)
		}, known},
		{"hellos in one message's place", func(s *sealer) []datagram {
			return []datagram{
				{Client, s.initial(Client, cryptoFrame(0, hello[:700]), 1200)},
				{Client, s.initial(Client, append(cryptoFrame(700, hello[700:]), cryptoFrame(len(hello), other)...), 0)},
			}
		}, lost(policy.Malformed)},
		{"an id of 20 bytes", func(*sealer) []datagram { return whole(newSealer(t, Version1, "12345678901234567890"), hello) }, known},
		{"no id", func(*sealer) []datagram { return whole(newSealer(t, Version1, ""), hello) }, known},
		{"the fixed bit is not set", func(s *sealer) []datagram { // RFC 9287
			d := whole(s, hello)
			b := s.long(Client, initial)
			b[0] &^= 0x40
			b[0]++
			b = append(b, 0, 0x44, 0)
			payload := append(cryptoFrame(700, hello[700:]), make([]byte, 1024)...)[:1024-18]
			d[1].data = s.keys.ends[Client].seal(b, 9, 2, payload)
			return d
		}, known},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSealer(t, Version1, "12345678")
			datagrams := test.datagrams(s)
			if first := datagrams[0]; first.from == Client && !Detect(first.data) && test.name != "a connection id of 21 bytes" {
				t.Error("is not taken for QUIC")
			}
			got := read(new(Parser), datagrams)
			if got.Facts.ServerName != test.want {
				t.Errorf("server name %v, not %v", got.Facts.ServerName, test.want)
			}
			if test.want.State == policy.Unobtainable {
				if last := got.Messages[len(got.Messages)-1]; last.Kind != Lost || last.Cause != test.want.Cause {
					t.Errorf("messages %v", got.Messages)
				}
			}
		})
	}
}

// TestNextConnection: another connection between the same ports is followed to its
// end, and held against the first.
func TestNextConnection(t *testing.T) {
	flights := talk(t, nil)
	datagrams := newSealer(t, Version1, "12345678").wire(flights, 500)
	datagrams = append(datagrams, newSealer(t, Version2, "abcdefgh").wire(flights, 500)...)
	p := new(Parser)
	got := read(p, datagrams)
	if !slices.Equal(kinds(got.Messages), []Kind{ClientHello, ServerHello, Established, ClientHello, ServerHello}) {
		t.Errorf("messages %v", got.Messages)
	}
	third := newSealer(t, Version1, "ijklmnop").wire([]flight{{Client, tls.QUICEncryptionLevelInitial, clientFlight(t, "other.example.net")}}, 500)
	if got = read(p, third); got.Facts.ServerName != policy.Lost[string](policy.Malformed) {
		t.Errorf("server name %v", got.Facts.ServerName)
	}
}

// TestPadded: what comes after the last packet of a datagram may be no packet.
func TestPadded(t *testing.T) {
	datagrams := newSealer(t, Version1, "12345678").wire(talk(t, nil), 1000)
	for i := range datagrams {
		datagrams[i].data = append(datagrams[i].data, make([]byte, 20)...)
	}
	datagrams = datagrams[:len(datagrams)-1] // the one with a short header
	if got := read(new(Parser), datagrams); got.Handshake.Established || got.Facts.Version != policy.Is("1.3") {
		t.Errorf("%+v", got)
	}
}

func TestRefused(t *testing.T) {
	hello := clientFlight(t, "www.example.net")
	s := newSealer(t, Version1, "12345678")
	got := read(new(Parser), []datagram{
		{Client, s.initial(Client, cryptoFrame(0, hello[:900]), 1200)},
		{Client, s.initial(Client, cryptoFrame(900, hello[900:]), 1200)},
		{Server, s.initial(Server, []byte{frameConnectionClose, 0x41, 0x78, 6, 0}, 0)},
	})
	if got.Facts.Version != policy.Missing[string]() || got.Facts.Certificate.State != policy.Absent {
		t.Errorf("facts %+v", got.Facts)
	}
	if !slices.Equal(kinds(got.Messages), []Kind{ClientHello, Closed}) {
		t.Errorf("messages %v", got.Messages)
	}
}

func TestDetect(t *testing.T) {
	long := func(head ...byte) []byte { return append(head, make([]byte, 1200)...) }
	tests := []struct {
		name     string
		datagram []byte
		want     bool
	}{
		{"empty", nil, false},
		{"DNS", []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x00\x00\x01\x00\x01"), false},
		{"DTLS", long(0x16, 0xfe, 0xfd, 0, 0, 0, 0), false},
		{"STUN", long(0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42), false},
		{"RTP", long(0x80, 0x60, 0x12, 0x34, 0, 0, 0, 1, 1, 2, 3, 4), false},
		{"version 1", []byte{0xc0, 0, 0, 0, 1, 8, 1}, true},
		{"version 1, greased bit", []byte{0x80, 0, 0, 0, 1, 8, 1}, true},
		{"version 2", []byte{0xd0, 0x6b, 0x33, 0x43, 0xcf, 8, 1}, true},
		{"version 1, too long an id", []byte{0xc0, 0, 0, 0, 1, 21, 1}, false},
		{"short header", long(0x40, 0, 0, 0, 1, 8), false},
		{"Q046", long(0xc3, 'Q', '0', '4', '6', 8, 1, 2, 3, 4, 5, 6, 7, 8, 0), true},
		{"unknown version, small", []byte{0xc3, 'Q', '0', '4', '6', 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0}, false},
		{"version negotiation", long(0xc3, 0, 0, 0, 0, 0, 0), false},
	}
	for _, test := range tests {
		if got := Detect(test.datagram); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}
