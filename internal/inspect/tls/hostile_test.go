package tls

import (
	"bytes"
	"slices"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// TestClient are a client's bytes, and what they say of the name.
func TestClient(t *testing.T) {
	hello := clientHello("example.com")
	known, malformed, limit := policy.Is("example.com"), policy.Lost[string](policy.Malformed), policy.Lost[string](policy.Limit)
	open := policy.Fact[string]{}
	tests := []struct {
		name string
		data []byte
		want policy.Fact[string]
	}{
		{"one record", record(recordHandshake, hello...), known},
		{"records of one byte", records(hello, 1), known},
		{"records without content between", bytes.Join([][]byte{record(22), records(hello[:9], 9), record(22), record(22), records(hello[9:], 100)}, nil), known},
		{"a warning before", append(record(recordAlert, 1, 112), record(recordHandshake, hello...)...), known},
		{"a warning between", bytes.Join([][]byte{records(hello[:9], 9), record(recordAlert, 1, 112), records(hello[9:], 100)}, nil), known},
		{"half of it", record(recordHandshake, hello...)[:20], open},
		{"a version that nobody speaks", append([]byte{22, 9, 9}, record(recordHandshake, hello...)[3:]...), known},
		{"another version of the record", append([]byte{22, 0x10, 0}, record(recordHandshake, hello...)[3:]...), malformed},
		{"data first", record(recordApplicationData, 1, 2, 3), malformed},
		{"ChangeCipherSpec first", record(recordChangeCipherSpec, 1), malformed},
		{"ChangeCipherSpec between", bytes.Join([][]byte{records(hello[:9], 9), record(recordChangeCipherSpec, 1), records(hello[9:], 100)}, nil), malformed},
		{"data between", bytes.Join([][]byte{records(hello[:9], 9), record(recordApplicationData, 1), records(hello[9:], 100)}, nil), malformed},
		{"a heartbeat first", record(recordHeartbeat, 1, 0, 0), malformed},
		{"another message first", record(recordHandshake, message(16, 1, 2, 3)...), malformed},
		{"an empty hello", record(recordHandshake, message(1)...), malformed},
		{"a hello of 16 MB", record(recordHandshake, 1, 0xff, 0xff, 0xff, 3, 3), limit},
		{"a hello of 40 kB", records(clientHello("example.com", extension(21, make([]byte, 40000)...)), 16000), limit},
		{"a hello of 30 kB", records(clientHello("example.com", extension(21, make([]byte, 30000)...)), 16000), known},
		{"a record of 20 kB", append([]byte{22, 3, 1, 0x50, 0}, hello...), malformed},
		{"records without content, without end", bytes.Repeat(record(22), 60000), limit},
		{"warnings without end", bytes.Repeat(record(recordAlert, 1, 0), 60000), limit},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), malformed},
		{"a hello after the hello, the same", append(record(recordHandshake, hello...), record(recordHandshake, hello...)...), known},
		{"a hello after the hello, of another name", append(record(recordHandshake, hello...), record(recordHandshake, clientHello("example.org")...)...), malformed},
		{"two hellos in a record, the second of another name", record(recordHandshake, append(slices.Clone(hello), clientHello("example.org")...)...), malformed},
		{"a hello after the hello, without end", append(record(recordHandshake, hello...), record(recordHandshake, 1, 0, 0, 9, 0)...), known},
		{"early data", bytes.Join([][]byte{record(recordHandshake, hello...), record(recordChangeCipherSpec, 1), record(recordApplicationData, make([]byte, 100)...)}, nil), known},
		{"in SSL 2.0's form", sslv2Hello(), policy.Missing[string]()},
		{"in SSL 2.0's form, lengths that do not fit", append([]byte{0x80, 60}, sslv2Hello()[2:]...), malformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			turns := []turn{{Client, test.data}}
			var p Parser
			got := read(&p, turns, 0, 0)
			if got.Facts.ServerName != test.want {
				t.Errorf("server name %v, not %v", got.Facts.ServerName, test.want)
			}
			if test.want.State == policy.Unobtainable && got.Messages[len(got.Messages)-1].Kind != Lost {
				t.Errorf("messages %v", got.Messages)
			}
			if len(test.data) > 50000 {
				return
			}
			if again := read(new(Parser), turns, 1, 0); again.Facts.ServerName != got.Facts.ServerName || again.Application != got.Application {
				t.Errorf("byte by byte: %+v, not %+v", again.Facts, got.Facts)
			}
		})
	}
}

// TestConversation are both ends' bytes.
func TestConversation(t *testing.T) {
	hello := turn{Client, record(recordHandshake, clientHello("example.com")...)}
	server := func(data ...[]byte) turn { return turn{Server, bytes.Join(data, nil)} }
	client := func(data ...[]byte) turn { return turn{Client, bytes.Join(data, nil)} }
	handshake := func(messages ...[]byte) []byte { return records(bytes.Join(messages, nil), 1<<14) }
	changed := record(recordChangeCipherSpec, 1)
	finished := record(recordHandshake, make([]byte, 40)...)
	retry := handshake(serverHello(retryRandom, tls13))
	done := message(14)
	type want struct {
		name, version  policy.Fact[string]
		certificate    policy.State
		cause          policy.Cause // of the certificate
		established    bool
		resumed, again bool
	}
	name, tls12, unknown := policy.Is("example.com"), policy.Is("1.2"), policy.Fact[string]{}
	malformed := policy.Lost[string](policy.Malformed)
	tests := []struct {
		name  string
		turns []turn
		want  want
	}{
		{"no certificate, anonymous", []turn{hello, server(handshake(serverHello(nil), message(12, 1), done))}, want{name: name, version: tls12, certificate: policy.Absent}},
		{"a certificate that is none", []turn{hello, server(handshake(serverHello(nil), message(11, 0, 0, 4, 0, 0, 1, 5)))}, want{name: name, version: tls12, certificate: policy.Unobtainable, cause: policy.Malformed}},
		{"an empty chain", []turn{hello, server(handshake(serverHello(nil), message(11, 0, 0, 0)))}, want{name: name, version: tls12, certificate: policy.Absent}},
		{"a chain of 200 kB", []turn{hello, server(handshake(serverHello(nil), message(11, make([]byte, 200000)...), done))}, want{name: name, version: tls12, certificate: policy.Unobtainable, cause: policy.Limit}},
		{"a chain of 200 kB, and on to the end", []turn{hello, server(handshake(serverHello(nil), message(11, make([]byte, 200000)...), done)), client(changed, finished), server(changed, finished)}, want{name: name, version: tls12, certificate: policy.Unobtainable, cause: policy.Limit, established: true}},
		{"a ChangeCipherSpec inside the chain", []turn{hello, server(handshake(serverHello(nil), message(11, make([]byte, 50)...)[:30]), changed)}, want{name: name, version: tls12, certificate: policy.Unobtainable, cause: policy.Malformed}},
		{"resumed by session id", []turn{hello, server(handshake(serverHello(nil)), changed, finished), client(changed, finished)}, want{name: name, version: tls12, certificate: policy.Unobtainable, cause: policy.NotSeen, established: true, resumed: true}},
		{"not resumed", []turn{hello, server(handshake(serverHello(nil), done)), client(handshake(message(16, 1)), changed, finished), server(changed, finished)}, want{name: name, version: tls12, certificate: policy.Absent, established: true}},
		{"only one end finished", []turn{hello, server(handshake(serverHello(nil), done)), client(handshake(message(16, 1)), changed, finished)}, want{name: name, version: tls12, certificate: policy.Absent}},
		{"renegotiated", []turn{hello, server(handshake(serverHello(nil)), changed, finished), client(changed, finished, finished)}, want{name: name, version: tls12, certificate: policy.Unobtainable, cause: policy.NotSeen, established: true, resumed: true, again: true}},
		{"a message of the server first", []turn{hello, server(handshake(done))}, want{name: name, version: malformed, certificate: policy.Unobtainable, cause: policy.Malformed}},
		{"a HelloRequest first", []turn{hello, server(handshake(message(0), serverHello(nil)))}, want{name: name, version: tls12}},
		{"a greeting of the server first", []turn{server([]byte("220 mail.example.com\r\n")), hello}, want{name: name, version: malformed, certificate: policy.Unobtainable, cause: policy.Malformed}},
		{"a warning before the ServerHello", []turn{hello, server(record(recordAlert, 1, 112), handshake(serverHello(nil)))}, want{name: name, version: tls12}},
		{"a refusal", []turn{hello, server(record(recordAlert, 2, 40))}, want{name: name, version: policy.Missing[string](), certificate: policy.Absent}},
		{"an alert of three bytes", []turn{hello, server(record(recordAlert, 2, 2, 40))}, want{name: name}},
		{"SSL 3.0", []turn{hello, server(handshake(message(2, append(append([]byte{3, 0}, make([]byte, 32)...), 0, 0, 5, 0)...)))}, want{name: name, version: policy.Is("ssl3")}},
		{"SSL 2.0", []turn{client(sslv2Hello()), server([]byte{0x84, 0, 4, 0, 1, 0, 2})}, want{name: policy.Missing[string](), version: policy.Is("ssl2"), certificate: policy.Unobtainable, cause: policy.Malformed}},
		{"retry, the same name", []turn{hello, server(retry, changed), client(changed, hello.data), server(handshake(serverHello(nil, tls13)))}, want{name: name, version: policy.Is("1.3"), certificate: policy.Unobtainable, cause: policy.NotSeen}},
		{"retry, another name", []turn{hello, server(retry, changed), client(changed, handshake(clientHello("example.org")))}, want{name: malformed, version: unknown}},
		{"retry, another ECH", []turn{hello, server(retry), client(handshake(clientHello("example.com", extension(0xfe0d, 0, 1))))}, want{name: malformed, version: unknown}},
		{"retry, the second hello ahead, behind a ChangeCipherSpec", []turn{hello, client(changed, handshake(clientHello("example.org"))), server(retry)}, want{name: malformed, version: unknown}},
		{"retry after early data", []turn{hello, client(changed, record(recordApplicationData, 1, 2)), server(retry), client(handshake(clientHello("example.org")))}, want{name: malformed, version: unknown}},
		{"retry twice", []turn{hello, server(retry, retry)}, want{name: name, version: malformed, certificate: policy.Unobtainable, cause: policy.Malformed}},
		{"TLS 1.3, the client's alert", []turn{hello, server(handshake(serverHello(nil, tls13)), changed, record(recordApplicationData, make([]byte, 500)...)), client(changed, record(recordApplicationData, make([]byte, 19)...))}, want{name: name, version: policy.Is("1.3"), certificate: policy.Unobtainable, cause: policy.NotSeen}},
		{"TLS 1.3, the client's Finished", []turn{hello, server(handshake(serverHello(nil, tls13)), changed, record(recordApplicationData, make([]byte, 500)...)), client(changed, record(recordApplicationData, make([]byte, 53)...))}, want{name: name, version: policy.Is("1.3"), certificate: policy.Unobtainable, cause: policy.NotSeen, established: true}},
		{"TLS 1.3, a session goes on", []turn{hello, server(handshake(serverHello(nil, tls13, extension(41, 0, 0))))}, want{name: name, version: policy.Is("1.3"), certificate: policy.Unobtainable, cause: policy.NotSeen, resumed: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, piece := range []int{0, 1, 5, 1000} {
				o := read(new(Parser), test.turns, piece, 0)
				got := want{
					o.Facts.ServerName, o.Facts.Version, o.Facts.Certificate.State, o.Facts.Certificate.Cause,
					o.Handshake.Established, o.Handshake.Resumed, o.Handshake.Renegotiated,
				}
				if got != test.want {
					t.Errorf("in pieces of %d: %+v, not %+v", piece, got, test.want)
				}
			}
		})
	}
}

func TestGaps(t *testing.T) {
	hello := record(recordHandshake, clientHello("example.com")...)
	var p Parser
	p.Read(Client, hello[:30])
	p.Gap(Client, 10)
	if p.Application() != policy.Lost[policy.Application](policy.NotSeen) || p.Wants(Client) {
		t.Errorf("application %v after a gap", p.Application())
	}

	// What is skipped may be missing: a message that is not needed, and data.
	p.Init(Limits{})
	p.Read(Client, hello)
	answer := slices.Concat(serverHello(nil), message(22, make([]byte, 1000)...), message(14))
	data := records(answer, len(answer))
	at := len(data) - 1000 - len(message(14)) + 10
	if n := p.Read(Server, data[:at]); n != at {
		t.Fatalf("consumed %d of %d", n, at)
	}
	if n := p.Skip(Server); n != 990 {
		t.Fatalf("skip %d", n)
	}
	p.Gap(Server, 900)
	p.Read(Server, data[at+900:])
	if p.Facts().Certificate.State != policy.Absent || p.ends[Server].at != uint64(len(data)) {
		t.Errorf("facts %+v at %d", p.Facts(), p.ends[Server].at)
	}
	p.Gap(Server, 0)
	if p.Wants(Server) || p.Facts().Version != policy.Is("1.2") {
		t.Error("what was known is lost, or more is wanted")
	}

	p.Init(Limits{})
	p.Read(Client, hello[:30])
	p.Limit(Client)
	if p.Facts().ServerName != policy.Lost[string](policy.Limit) {
		t.Errorf("server name %v", p.Facts().ServerName)
	}
}

func TestClose(t *testing.T) {
	hello := record(recordHandshake, clientHello("example.com")...)
	var p Parser
	p.Read(Client, hello[:30])
	p.Close(Client)
	if p.Facts().ServerName != policy.Lost[string](policy.Malformed) {
		t.Errorf("server name %v of half a hello", p.Facts().ServerName)
	}
	p.Init(Limits{})
	p.Read(Client, hello)
	p.Close(Client)
	p.Close(Server)
	if f := p.Facts(); f.ServerName != policy.Is("example.com") || f.Version != policy.Missing[string]() || f.Certificate.State != policy.Absent {
		t.Errorf("facts %+v of a server that did not answer", f)
	}
	p.Init(Limits{})
	p.Read(Client, hello)
	p.Read(Server, record(recordHandshake, serverHello(nil)...)[:20])
	p.Close(Server)
	if f := p.Facts(); f.Version != policy.Lost[string](policy.Malformed) {
		t.Errorf("facts %+v of half an answer", f)
	}
}

func TestDNSOverTLS(t *testing.T) {
	o := read(new(Parser), []turn{{Client, record(recordHandshake, clientHello("dns.example", extension(16, vector(append([]byte{3}, "dot"...)...)...))...)}}, 0, 0)
	if o.Application != policy.Is(policy.AppTLS|policy.AppDNS) {
		t.Errorf("application %v", o.Application)
	}
}

func TestDetect(t *testing.T) {
	hello := record(recordHandshake, clientHello("example.com")...)
	tests := []struct {
		name string
		data []byte
		want Match
		from int // bytes from which on it is sure
	}{
		{"TLS", hello, Yes, 2},
		{"a record version that nobody speaks", []byte{22, 0x0f, 0xff, 0, 0}, Yes, 2},
		{"not a version", []byte{22, 0x10, 0}, No, 2},
		{"a warning", record(recordAlert, 1, 0), Yes, 5},
		{"not a warning", []byte{21, 3, 1, 1, 2}, No, 4},
		{"SSL 2.0's form", sslv2Hello(), Yes, MaxDetect},
		{"almost SSL 2.0's form", append([]byte{0x80, 99}, sslv2Hello()[2:]...), No, MaxDetect},
		{"HTTP", []byte("GET / HTTP/1.1"), No, 1},
		{"SSH", []byte("SSH-2.0-x"), No, 1},
		{"DNS", []byte("\x00\x1d\x12\x34\x01\x00\x00\x01"), No, 1},
		{"data", record(recordApplicationData, 1), No, 1},
	}
	for _, test := range tests {
		for n := range test.data {
			want := test.want
			if n < test.from {
				want = More
			}
			if got := Detect(test.data[:n]); got != want {
				t.Errorf("%s, %d bytes: %d, not %d", test.name, n, got, want)
			}
		}
		if got := Detect(test.data); got != test.want {
			t.Errorf("%s: %d", test.name, got)
		}
	}
}
