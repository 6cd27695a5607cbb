package quic

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

func kinds(messages []Message) (all []Kind) {
	for _, m := range messages {
		all = append(all, m.Kind)
	}
	return all
}

func checkHandshake(t *testing.T, got outcome, name string, want ...Kind) {
	t.Helper()
	if diff := cmp.Diff(want, kinds(got.Messages)); diff != "" {
		t.Errorf("messages: %s", diff)
	}
	if got.Application != policy.Is(policy.AppQUIC) || got.Facts.ServerName != policy.Is(name) || got.Facts.ECH != policy.Is(false) {
		t.Errorf("application %v, server name %v, ECH %v", got.Application, got.Facts.ServerName, got.Facts.ECH)
	}
	if got.Facts.Version != policy.Is("1.3") || got.Facts.Certificate.Cause != policy.NotSeen {
		t.Errorf("version %v, certificate %v", got.Facts.Version, got.Facts.Certificate)
	}
}

func TestHandshakes(t *testing.T) {
	usual := []Kind{ClientHello, ServerHello, Established}
	tests := []struct {
		name   string
		change func(client, server *tls.Config)
		kinds  []Kind
	}{
		{"a key share of 1.2 kB", nil, usual},
		{"small", func(client, _ *tls.Config) { client.CurvePreferences = []tls.CurveID{tls.X25519} }, usual},
		{"HelloRetryRequest", func(client, server *tls.Config) {
			client.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.CurveP384}
			server.CurvePreferences = []tls.CurveID{tls.CurveP384}
		}, []Kind{ClientHello, HelloRetryRequest, ClientHello, ServerHello, Established}},
	}
	for _, test := range tests {
		for _, version := range []uint32{Version1, Version2, 0xff00001d, 0xff00001b, 0xff000022} {
			for _, piece := range []int{1000, 400, 37} {
				t.Run(fmt.Sprintf("%s, %s, pieces of %d", test.name, VersionName(version), piece), func(t *testing.T) {
					s := newSealer(t, version, "\x83\x94\xc8\xf0\x3e\x51\x57\x08")
					var p Parser
					got := read(&p, s.wire(talk(t, test.change), piece))
					checkHandshake(t, got, "www.example.net", test.kinds...)
					h := got.Handshake
					if h.Version != version || h.Client.ALPN[0] != "h3" || !h.Established {
						t.Errorf("handshake %+v", h)
					}
					if name := hello.CipherName(h.Server.Cipher); name[:8] != "TLS_AES_" && name[:8] != "TLS_CHAC" {
						t.Errorf("cipher %s", name)
					}
					if ja4 := h.Client.JA4(hello.OverQUIC); ja4[:4] != "q13d" || ja4[8:10] != "h3" {
						t.Errorf("JA4 %s", ja4)
					}
					if p.Wants(Client) || p.Wants(Server) {
						t.Error("wants more")
					}
				})
			}
		}
	}
}

// TestAnyOrder: pieces in any order, overlapping, several in a packet, several
// packets in a datagram, with other frames between.
func TestAnyOrder(t *testing.T) {
	flights := talk(t, nil)
	client := flights[0].data
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := newSealer(t, Version1, "12345678")
		var frames [][]byte
		for at := 0; at < len(client); {
			n := 1 + random.IntN(300)
			frames = append(frames, cryptoFrame(at, client[at:min(len(client), at+n)]))
			at += 1 + random.IntN(n)
		}
		random.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		var datagrams []datagram
		for len(frames) > 0 {
			var d []byte
			for range 1 + random.IntN(2) {
				payload := []byte{framePing, framePadding, frameAck, 5, 0, 1, 0, 1, 1, frameAckECN, 5, 0, 0, 0, 1, 2, 3}
				for range min(len(frames), 1+random.IntN(3)) {
					payload, frames = append(payload, frames[0]...), frames[1:]
				}
				d = append(d, s.initial(Client, payload, 0)...)
			}
			datagrams = append(datagrams, datagram{Client, d})
		}
		got := read(new(Parser), datagrams)
		if got.Facts.ServerName != policy.Is("www.example.net") {
			t.Fatalf("server name %v", got.Facts.ServerName)
		}
	}
}

func TestRetry(t *testing.T) {
	flights := talk(t, nil)
	first, second := newSealer(t, Version1, "firstfirst"), newSealer(t, Version1, "chosen by the server")
	second.token = []byte("token")
	datagrams := first.wire(flights[:1], 1000)
	datagrams = datagrams[:len(datagrams)-1]
	retry := append(first.long(Server, retry), make([]byte, 40)...)
	datagrams = append(datagrams, datagram{Server, retry})
	datagrams = append(datagrams, second.wire(flights, 1000)...)
	got := read(new(Parser), datagrams)
	checkHandshake(t, got, "www.example.net", ClientHello, Retry, ClientHello, ServerHello, Established)
}

// TestCompatibleVersion: the server goes on in version 2 (RFC 9368), whose keys are
// made of the first connection id.
func TestCompatibleVersion(t *testing.T) {
	flights := talk(t, nil)
	one, two := newSealer(t, Version1, "abcdefgh"), newSealer(t, Version2, "abcdefgh")
	datagrams := one.wire(flights[:1], 900)
	datagrams = append(datagrams[:len(datagrams)-1], two.wire(flights[1:], 900)...)
	got := read(new(Parser), datagrams)
	checkHandshake(t, got, "www.example.net", ClientHello, ServerHello, Established)
	if got.Handshake.Version != Version2 {
		t.Errorf("version %#x", got.Handshake.Version)
	}
}

func TestVersionNegotiation(t *testing.T) {
	flights := talk(t, nil)
	first, second := newSealer(t, 0xff00001d, "abcdefgh"), newSealer(t, Version1, "ijklmnop")
	datagrams := first.wire(flights[:1], 1000)
	offer := []byte{0x80, 0, 0, 0, 0, 2, 'c', 'l', 8}
	offer = append(append(offer, "abcdefgh"...), 0, 0, 0, 1, 0x6b, 0x33, 0x43, 0xcf)
	datagrams = append(datagrams[:len(datagrams)-1], datagram{Server, offer})
	datagrams = append(datagrams, second.wire(flights, 1000)...)
	got := read(new(Parser), datagrams)
	checkHandshake(t, got, "www.example.net", ClientHello, VersionNegotiation, ClientHello, ServerHello, Established)
	if !slices.Equal(got.Handshake.Versions, []uint32{Version1, Version2}) {
		t.Errorf("versions %x", got.Handshake.Versions)
	}
}

func TestResumption(t *testing.T) {
	// crypto/tls gives sessions to QUIC by events: what counts here is the extension.
	p := new(Parser)
	p.Init(Limits{})
	p.serverHello(&hello.Server{Version: hello.TLS13, PreSharedKey: true}, nil)
	if !p.Handshake().Resumed {
		t.Error("not resumed")
	}
}
