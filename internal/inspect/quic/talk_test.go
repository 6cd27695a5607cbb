package quic

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// flight is what an end sends at once, of one level of protection.
type flight struct {
	from  End
	level tls.QUICEncryptionLevel
	data  []byte
}

var self = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}
})

// talk lets crypto/tls shake hands as for QUIC.
func talk(t testing.TB, change func(client, server *tls.Config)) (flights []flight) {
	t.Helper()
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "www.example.net", NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13}
	server := &tls.Config{Certificates: []tls.Certificate{self()}, NextProtos: client.NextProtos, MinVersion: tls.VersionTLS13}
	if change != nil {
		change(client, server)
	}
	server.NextProtos = client.NextProtos
	ends := [2]*tls.QUICConn{
		Client: tls.QUICClient(&tls.QUICConfig{TLSConfig: client}), Server: tls.QUICServer(&tls.QUICConfig{TLSConfig: server}),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, end := range ends {
		end.SetTransportParameters([]byte{4, 1, 1})
		if err := end.Start(ctx); err != nil {
			t.Fatal(err)
		}
		defer end.Close()
	}
	for busy := true; busy; {
		busy = false
		for from, end := range ends {
			for event := end.NextEvent(); event.Kind != tls.QUICNoEvent; event = end.NextEvent() {
				if event.Kind != tls.QUICWriteData {
					continue
				}
				busy = true
				flights = append(flights, flight{End(from), event.Level, append([]byte(nil), event.Data...)})
				if err := ends[1-from].HandleData(event.Level, event.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return flights
}

// sealer makes packets of one connection.
type sealer struct {
	version uint32
	keys    *keySet
	// ids are the connection ids that the ends have chosen; the client's packets bear
	// the first one until it knows the server's.
	ids   [2][]byte
	token []byte
	next  [2]int64
}

func newSealer(t testing.TB, version uint32, id string) *sealer {
	t.Helper()
	keys, err := newKeySet(version, []byte(id))
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{version: version, keys: keys, ids: [2][]byte{Client: []byte("cl"), Server: []byte(id)}}
}

func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, byte(v>>8)|0x40, byte(v))
	}
	return binary.BigEndian.AppendUint32(b, uint32(v)|1<<31)
}

func cryptoFrame(offset int, data []byte) []byte {
	b := appendVarint([]byte{frameCrypto}, uint64(offset))
	return append(appendVarint(b, uint64(len(data))), data...)
}

// long is a packet's header without length and number.
func (s *sealer) long(from End, kind packetType) []byte {
	bits := byte(kind)
	if s.version == Version2 {
		bits = (bits + 1) & 3
	}
	b := binary.BigEndian.AppendUint32([]byte{0xc0 | bits<<4}, s.version)
	for _, id := range [][]byte{s.ids[1-from], s.ids[from]} {
		b = append(append(b, byte(len(id))), id...)
	}
	return b
}

// initial is a packet of frames, padded to a whole datagram where size says so.
func (s *sealer) initial(from End, frames []byte, size int) []byte {
	b := s.long(from, initial)
	var token []byte
	if from == Client {
		token = s.token
	}
	b = append(appendVarint(b, uint64(len(token))), token...)
	const number, tag = 2, 16
	if missing := size - len(b) - 2 - number - tag - len(frames); missing > 0 {
		frames = append(frames[:len(frames):len(frames)], make([]byte, missing)...)
	}
	for len(frames) < 4 { // there must be enough to take a sample of
		frames = append(frames[:len(frames):len(frames)], framePadding)
	}
	b[0] |= number - 1
	length := number + len(frames) + tag
	b = append(b, byte(length>>8)|0x40, byte(length))
	sealed := s.keys.ends[from].seal(b, s.next[from], number, frames)
	s.next[from]++
	return sealed
}

// seal protects a packet.
func (k *keys) seal(header []byte, packetNumber int64, length int, payload []byte) []byte {
	at := len(header)
	for i := length - 1; i >= 0; i-- {
		header = append(header, byte(packetNumber>>(8*i)))
	}
	nonce := k.iv
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(packetNumber >> (8 * i))
	}
	packet := k.aead.Seal(append([]byte(nil), header...), nonce[:], payload, header)
	var mask [16]byte
	k.header.Encrypt(mask[:], packet[at+4:at+20])
	packet[0] ^= mask[0] & 0x0f
	for i := range length {
		packet[at+i] ^= mask[1+i]
	}
	return packet
}

// protected is a packet that nobody can read here.
func (s *sealer) protected(from End) []byte {
	b := append(s.long(from, handshakePacket), 0x40, 60)
	return append(b, make([]byte, 60)...)
}

// outcome is all that a parser says.
type outcome struct {
	Application policy.Fact[policy.Application]
	Facts       policy.TLSFacts
	Handshake   Handshake
	Messages    []Message
}

type datagram struct {
	from End
	data []byte
}

func read(p *Parser, datagrams []datagram) outcome {
	var o outcome
	for _, d := range datagrams {
		p.Read(d.from, d.data)
		o.Messages = append(o.Messages, p.Messages()...)
		p.Reset()
	}
	o.Application, o.Facts, o.Handshake = p.Application(), p.Facts(), *p.Handshake()
	return o
}

// wire puts flights into datagrams: Initial ones in pieces of so many bytes each.
func (s *sealer) wire(flights []flight, piece int) (all []datagram) {
	var sent [2]int
	for _, f := range flights {
		switch f.level {
		case tls.QUICEncryptionLevelInitial:
			for at := 0; at < len(f.data); at += piece {
				part := f.data[at:min(len(f.data), at+piece)]
				all = append(all, datagram{f.from, s.initial(f.from, cryptoFrame(sent[f.from]+at, part), 1200)})
			}
			sent[f.from] += len(f.data)
			if f.from == Server {
				s.ids[Server] = []byte("serverid")
			}
		case tls.QUICEncryptionLevelHandshake:
			all = append(all, datagram{f.from, s.protected(f.from)})
		}
	}
	return append(all, datagram{Client, append([]byte{0x40}, make([]byte, 40)...)})
}
