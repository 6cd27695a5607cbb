package hello

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func vector(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return append(u16(len(b)), b...)
}

func extension(kind int, data ...[]byte) []byte {
	var b []byte
	for _, d := range data {
		b = append(b, d...)
	}
	return append(u16(kind), vector(b)...)
}

func serverName(kind byte, name string) []byte {
	return append([]byte{kind}, vector([]byte(name))...)
}

// clientHello has two suites and the extensions.
func clientHello(extensions ...[]byte) []byte {
	b := append(u16(TLS12), make([]byte, 32)...)
	b = append(b, 0)
	b = append(b, vector(u16(0x1a1a), u16(0x1301), u16(0xc02b))...)
	b = append(b, 1, 0)
	if extensions != nil {
		b = append(b, vector(extensions...)...)
	}
	return b
}

func TestServerName(t *testing.T) {
	malformed := policy.Lost[string](policy.Malformed)
	tests := []struct {
		name       string
		extensions [][]byte
		want       policy.Fact[string]
		ok         bool
	}{
		{"no extensions", nil, policy.Missing[string](), true},
		{"no server name", [][]byte{extension(23)}, policy.Missing[string](), true},
		{"plain", [][]byte{extension(0, vector(serverName(0, "example.com")))}, policy.Is("example.com"), true},
		{"capitals and a final dot", [][]byte{extension(0, vector(serverName(0, "Example.COM.")))}, policy.Is("example.com"), true},
		{"underscore", [][]byte{extension(0, vector(serverName(0, "_dns.example.com")))}, policy.Is("_dns.example.com"), true},
		{"address", [][]byte{extension(0, vector(serverName(0, "192.0.2.1")))}, policy.Is("192.0.2.1"), true},
		{"UTF-8", [][]byte{extension(0, vector(serverName(0, "bücher.example")))}, policy.Is("bücher.example"), true},
		{"Latin-1", [][]byte{extension(0, vector(serverName(0, "b\xfccher.example")))}, malformed, false},
		{"another kind of name", [][]byte{extension(0, vector(serverName(1, "x")))}, policy.Missing[string](), true},
		{"another kind before", [][]byte{extension(0, vector(serverName(1, "x"), serverName(0, "example.com")))}, policy.Is("example.com"), true},
		{"two names", [][]byte{extension(0, vector(serverName(0, "example.com"), serverName(0, "example.org")))}, malformed, false},
		{"twice", [][]byte{extension(0, vector(serverName(0, "example.com"))), extension(0, vector(serverName(0, "example.org")))}, policy.Is("example.com"), false},
		{"empty extension", [][]byte{extension(0)}, malformed, false},
		{"empty list", [][]byte{extension(0, vector())}, malformed, false},
		{"empty name", [][]byte{extension(0, vector(serverName(0, "")))}, malformed, false},
		{"dot", [][]byte{extension(0, vector(serverName(0, ".")))}, malformed, false},
		{"NUL", [][]byte{extension(0, vector(serverName(0, "example.com\x00.example.org")))}, malformed, false},
		{"space", [][]byte{extension(0, vector(serverName(0, "example.com ")))}, malformed, false},
		{"long", [][]byte{extension(0, vector(serverName(0, strings.Repeat("a.", 600))))}, malformed, false},
		{"bytes after the list", [][]byte{extension(0, vector(serverName(0, "example.com")), []byte{0})}, malformed, false},
		{"length beyond the end", [][]byte{extension(0, u16(20), serverName(0, "example.com"))}, malformed, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, err := ReadClient(clientHello(test.extensions...))
			if h.ServerName != test.want || (err == nil) != test.ok {
				t.Errorf("%v, %v", h.ServerName, err)
			}
		})
	}
}

func TestECH(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want policy.Fact[bool]
		ok   bool
	}{
		{"outer, or for show", []byte{0, 0, 1, 0, 1, 5, 0, 0, 0, 0}, policy.Is(true), true},
		{"inner", []byte{1}, policy.Is(false), true},
		{"empty", nil, policy.Lost[bool](policy.Malformed), false},
		{"neither", []byte{2}, policy.Lost[bool](policy.Malformed), false},
	}
	for _, test := range tests {
		h, err := ReadClient(clientHello(extension(0xfe0d, test.data)))
		if h.ECH != test.want || (err == nil) != test.ok {
			t.Errorf("%s: %v, %v", test.name, h.ECH, err)
		}
	}
}

// TestCut: no part of a hello is a hello, but the part before the extensions.
func TestCut(t *testing.T) {
	whole := clientHello(
		extension(0, vector(serverName(0, "example.com"))), extension(10, vector(u16(29))), extension(11, []byte{1, 0}),
		extension(13, vector(u16(0x403))), extension(16, vector([]byte("\x02h2"))), extension(43, []byte{2, 3, 4}),
		extension(51, vector(u16(29), vector(make([]byte, 32)))), extension(0xfe0d, []byte{1}), extension(35), extension(42),
	)
	if _, err := ReadClient(whole); err != nil {
		t.Fatal(err)
	}
	before := len(clientHello())
	for n := range whole {
		if _, err := ReadClient(whole[:n]); (err == nil) != (n == before) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	long := append(append(u16(TLS12), make([]byte, 32)...), 33)
	long = append(append(append(long, make([]byte, 33)...), vector(u16(0x1301))...), 1, 0)
	if _, err := ReadClient(long); err == nil {
		t.Error("a session id of 33 bytes")
	}
	if _, err := ReadClient(append(whole, 0)); err == nil {
		t.Error("a byte too many")
	}
	server := append(append(u16(TLS12), make([]byte, 32)...), 0, 0x13, 1, 0)
	server = append(server, vector(extension(43, u16(TLS13)), extension(51, u16(29), vector(make([]byte, 32))))...)
	for n := range server {
		if _, err := ReadServer(server[:n]); (err == nil) != (n == 38) {
			t.Errorf("%d bytes of a ServerHello: %v", n, err)
		}
	}
	if h, err := ReadServer(server); err != nil || h.Version != TLS13 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestJA4(t *testing.T) {
	signatures := extension(13, vector(u16(0x0a0a), u16(0x0403), u16(0x0804)))
	tests := []struct {
		name       string
		extensions [][]byte
		want       string
	}{
		// The sums are those of the texts by sha256sum.
		{"none", nil, "t12i020000_" + sumOf("1301,c02b") + "_000000000000"},
		{"name only", [][]byte{extension(0, vector(serverName(0, "a")))}, "t12d020100_" + sumOf("1301,c02b") + "_000000000000"},
		{"GREASE counts nowhere", [][]byte{extension(0x2a2a), extension(23), signatures}, "t12i020200_" + sumOf("1301,c02b") + "_" + sumOf("000d,0017_0403,0804")},
		{"no signatures", [][]byte{extension(23), extension(5)}, "t12i020200_" + sumOf("1301,c02b") + "_" + sumOf("0005,0017")},
		{"highest version", [][]byte{extension(43, []byte{6}, u16(0x7a7a), u16(TLS12), u16(TLS13))}, "t13i020100_" + sumOf("1301,c02b") + "_" + sumOf("002b")},
		{"unknown version", [][]byte{extension(43, []byte{2}, u16(0x7f12))}, "t00i020100_" + sumOf("1301,c02b") + "_" + sumOf("002b")},
	}
	for _, test := range tests {
		h, err := ReadClient(clientHello(test.extensions...))
		if err != nil {
			t.Fatal(err)
		}
		if got := h.JA4(OverTCP); got != test.want {
			t.Errorf("%s: %s, not %s", test.name, got, test.want)
		}
	}
	for alpn, want := range map[string]string{ // FoxIO's own examples
		"h2": "h2", "http/1.1": "h1", "": "00", "x": "xx", "\xab": "ab", "\xab\xcd": "ad", "0\xab": "3b", "01\xab\xcd": "3d", "0\xab\xcd1": "01",
	} {
		h := &Client{ALPN: []string{alpn}}
		if got := h.ja4ALPN(); got != want {
			t.Errorf("ALPN %q: %s, not %s", alpn, got, want)
		}
	}
}

func sumOf(text string) string { return string(appendSum(nil, []byte(text))) }

func TestExampleOfJA4(t *testing.T) {
	h := &Client{
		Version: TLS12, Versions: []uint16{0x3a3a, TLS13, TLS12}, ALPN: []string{"h2", "http/1.1"},
		Ciphers:             []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Extensions:          []uint16{0x1b, 0, 0x33, 0x10, 0x4469, 0x17, 0x2d, 0xd, 5, 0x23, 0x12, 0x2b, 0xff01, 0xb, 0xa, 0x15},
		SignatureAlgorithms: []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
	}
	if got := h.JA4(OverTCP); got != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for number, want := range map[uint16]string{
		0x0005: "TLS_RSA_WITH_RC4_128_SHA", 0x1301: "TLS_AES_128_GCM_SHA256", 0xc0ae: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
		0xcca8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0x00ff: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", 0xfefe: "0xFEFE",
	} {
		if got := CipherName(number); got != want {
			t.Errorf("%#x is %s, not %s", number, got, want)
		}
	}
	for number, want := range map[uint16]string{SSL20: "ssl2", SSL30: "ssl3", TLS10: "1.0", TLS12: "1.2", TLS13: "1.3", 0x7f1c: "1.3", 0x0305: "0x0305"} {
		if got := CriterionVersion(number); got != want {
			t.Errorf("%#x is %s, not %s", number, got, want)
		}
	}
}

// TestManyExtensions: the time is not quadratic, nor is any of them lost.
func TestManyExtensions(t *testing.T) {
	var all [][]byte
	for i := range 8000 {
		all = append(all, extension(1000+i))
	}
	h, err := ReadClient(clientHello(all...))
	if err != nil || len(h.Extensions) != 8000 {
		t.Errorf("%d extensions, %v", len(h.Extensions), err)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(clientHello(extension(0, vector(serverName(0, "example.com"))), extension(16, vector([]byte("\x02h2")))))
	f.Add(append(append(u16(TLS12), make([]byte, 32)...), 0, 0x13, 1, 0))
	f.Fuzz(func(t *testing.T, body []byte) {
		if h, err := ReadClient(body); err == nil {
			if h.ServerName.State == policy.Unobtainable || h.ECH.State == policy.Unobtainable {
				t.Fatalf("no error: %+v", h)
			}
			if n := len(h.JA4(OverTCP)); n != 36 {
				t.Fatalf("JA4 of %d characters", n)
			}
			h.JA3()
			h.Offered()
		}
		if h, err := ReadServer(body); err == nil {
			h.JA3S()
			CipherName(h.Cipher)
		}
		_, _ = ReadDraftRetry(body)
		_, _ = ReadSSLv2(body)
	})
}
