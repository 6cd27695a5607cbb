package http

import (
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// Each is a request that some server understands otherwise than another. All of it
// is refused, and of what would follow.
func TestMalformedRequests(t *testing.T) {
	const ok = "GET / HTTP/1.1\r\nHost: a.example\r\n"
	post := func(headers, body string) string {
		return "POST / HTTP/1.1\r\nHost: a.example\r\n" + headers + "\r\n" + body
	}
	for _, c := range []struct {
		name, text string
		want       Reason
	}{
		{"no version", "GET /\r\n", HTTP09},
		{"no version, LF", "GET /\n", HTTP09},
		{"a word", "GET\r\n", RequestLine},
		{"two spaces", "GET  / HTTP/1.1\r\n\r\n", Target},
		{"a space in the target", "GET /a b HTTP/1.1\r\n\r\n", Target},
		{"a space behind", "GET / HTTP/1.1 \r\n\r\n", Version},
		{"a tab", "GET\t/\tHTTP/1.1\r\n\r\n", Method},
		{"a space before", " GET / HTTP/1.1\r\n\r\n", Method},
		{"a method with a colon", "GET: / HTTP/1.1\r\n\r\n", Method},
		{"a method beyond ASCII", "G\xc3\x8bT / HTTP/1.1\r\n\r\n", Method},
		{"NUL in the method", "GET\x00 / HTTP/1.1\r\n\r\n", NUL},
		{"a control character in the target", "GET /\x01 HTTP/1.1\r\n\r\n", Target},
		{"DEL in the target", "GET /\x7f HTTP/1.1\r\n\r\n", Target},
		{"relative", "GET a HTTP/1.1\r\n\r\n", Target},
		{"asterisk", "GET * HTTP/1.1\r\n\r\n", Target},
		{"authority", "GET a.example:80 HTTP/1.1\r\n\r\n", Target},
		{"CONNECT to a path", "CONNECT / HTTP/1.1\r\n\r\n", Target},
		{"CONNECT without a port", "CONNECT a.example HTTP/1.1\r\n\r\n", Target},
		{"URL without a host", "GET http:///x HTTP/1.1\r\n\r\n", Target},
		{"HTTP/1.2", "GET / HTTP/1.2\r\n\r\n", Version},
		{"HTTP/2.0", "GET / HTTP/2.0\r\n\r\n", Version},
		{"http/1.1", "GET / http/1.1\r\n\r\n", Version},
		{"HTTP/01.1", "GET / HTTP/01.1\r\n\r\n", Version},
		{"HTTP/1.1x", "GET / HTTP/1.1x\r\n\r\n", Version},
		{"RTSP", "GET / RTSP/1.0\r\n\r\n", Version},
		{"CR in the first line", "GET /\r HTTP/1.1\r\n\r\n", BareCR},

		{"no colon", ok + "x\r\n\r\n", HeaderLine},
		{"space before the colon", ok + "X : 1\r\n\r\n", SpaceBeforeColon},
		{"tab before the colon", ok + "X\t: 1\r\n\r\n", SpaceBeforeColon},
		{"no name", ok + ": 1\r\n\r\n", HeaderName},
		{"a space in the name", ok + "X Y: 1\r\n\r\n", HeaderName},
		{"a name beyond ASCII", ok + "X\xff: 1\r\n\r\n", HeaderName},
		{"a name in brackets", ok + "[X]: 1\r\n\r\n", HeaderName},
		{"NUL in a name", ok + "X\x00: 1\r\n\r\n", NUL},
		{"NUL in a value", ok + "X: 1\x00\r\n\r\n", NUL},
		{"CR in a value", ok + "X: 1\rY: 2\r\n\r\n", BareCR},
		{"two CRs", ok + "X: 1\r\r\n\r\n", BareCR},
		{"BEL in a value", ok + "X: 1\x07\r\n\r\n", Control},
		{"folded", ok + "X: 1\r\n 2\r\n\r\n", Folding},
		{"folded first line", "GET / HTTP/1.1\r\n X: 1\r\n\r\n", Folding},
		{"CR LF and LF", ok + "X: 1\nY: 2\r\n\r\n", MixedLineEnds},
		{"LF, then CR LF", "GET / HTTP/1.1\nHost: a\n\r\n", MixedLineEnds},
		{"two hosts", ok + "host: b.example\r\n\r\n", DuplicateHeader},
		{"two types", ok + "Content-Type: a\r\nContent-Type: b\r\n\r\n", DuplicateHeader},

		{"length +5", post("Content-Length: +5\r\n", "hello"), ContentLength},
		{"length -5", post("Content-Length: -5\r\n", "hello"), ContentLength},
		{"length 0x5", post("Content-Length: 0x5\r\n", "hello"), ContentLength},
		{"length 5,5", post("Content-Length: 5,5\r\n", "hello"), ContentLength},
		{"length 5 5", post("Content-Length: 5 5\r\n", "hello"), ContentLength},
		{"length 5.0", post("Content-Length: 5.0\r\n", "hello"), ContentLength},
		{"length 5_0", post("Content-Length: 5_0\r\n", "hello"), ContentLength},
		{"length of nothing", post("Content-Length: \r\n", "hello"), ContentLength},
		{"length behind a tab", post("Content-Length:\t5\r\n", "hello"), ContentLength},
		{"length before a space", post("Content-Length: 5 \r\n", "hello"), ContentLength},
		{"length behind VT", post("Content-Length: \v5\r\n", "hello"), Control},
		{"a length of 64 bits and more", post("Content-Length: 18446744073709551621\r\n", "hello"), ContentLength},
		{"lengths that differ", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), DifferingLengths},
		{"lengths that differ by a zero", post("Content-Length: 5\r\nContent-Length: 05\r\n", "hello"), DifferingLengths},
		{"both", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), BothLengths},
		{"both, the other way round", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), BothLengths},
		{"length and identity", post("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello"), BothLengths},
		{"Chunked", post("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked in two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked, then another", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"), TransferEncoding},
		{"another, then chunked", post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked behind a tab", post("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked behind two spaces", post("Transfer-Encoding:  chunked\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked before a space", post("Transfer-Encoding: chunked \r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked before a comma", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked with a parameter", post("Transfer-Encoding: chunked;x\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), TransferEncoding},
		{"chunked behind VT", post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"), Control},
		{"chunked on a folded line", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), Folding},
		{"no coding", post("Transfer-Encoding:\r\n", ""), TransferEncoding},
		{"identity", post("Transfer-Encoding: identity\r\n", ""), TransferEncoding},
		{"HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding10},
		{"CONNECT with a body", "CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\n", ConnectBody},

		{"long", ok + "X: " + strings.Repeat("x", 12288) + "\r\n\r\n", TooManyHeaderBytes},
		{"long, without an end", "GET /" + strings.Repeat("x", 12288), TooManyHeaderBytes},
		{"cut", "GET / HT", Truncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			messages := converse(t, &Config{}, len(c.text) > 1000, client(c.text))
			if len(messages) != 1 {
				t.Fatal(briefs(messages))
			}
			m := messages[0]
			lost := policy.Lost[string](c.want.Cause())
			if m.Kind != Broken || m.Reason != c.want || m.Facts.Host != lost || m.Facts.Path != lost || m.Facts.Method != lost || m.Facts.Version != lost {
				t.Errorf("%s %+v\nwant %v", brief(&m), m.Facts, c.want)
			}
			if strings.HasPrefix(c.text, "GET ") && c.want != Truncated && c.want != TooManyHeaderBytes && Detect([]byte(c.text)) != Yes && c.want != RequestLine {
				// What begins as HTTP does must not be taken for something else.
				switch c.name {
				case "relative", "authority", "asterisk", "two spaces":
				default:
					t.Error("not detected")
				}
			}
		})
	}
}

// What is wrong within a body is told once the head was, which is right.
func TestMalformedBodies(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       Reason
		bytes      uint64
	}{
		{"no size", "\r\nhello\r\n", ChunkSize, 0},
		{"0x5", "0x5\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"+5", "+5\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"-5", "-5\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"a space before", " 5\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"a space behind", "5 \r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"a space before an extension", "5 ;x\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"a tab behind", "5\t\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"6_0", "6_0\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"more than 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"LF", "5\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"LF in an extension", "5;\nhello\r\n0\r\n\r\n", ChunkSize, 0},
		{"CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", ChunkExtension, 0},
		{"NUL in an extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", ChunkExtension, 0},
		{"a long extension", "5;" + strings.Repeat("a", 2000) + "\r\nhello\r\n0\r\n\r\n", ChunkLine, 0},
		{"too long a chunk", "5\r\nhello!\r\n0\r\n\r\n", ChunkEnd, 5},
		{"LF behind a chunk", "5\r\nhello\n0\r\n\r\n", ChunkEnd, 5},
		{"another character behind a chunk", "5\r\nhelloXX0\r\n\r\n", ChunkEnd, 5},
		{"a length as trailer", "0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer, 0},
		{"a coding as trailer", "0\r\ntransfer-encoding: chunked\r\n\r\n", ForbiddenTrailer, 0},
		{"a host as trailer", "0\r\nHost: b\r\n\r\n", ForbiddenTrailer, 0},
		{"a trailer without a colon", "0\r\nX\r\n\r\n", HeaderLine, 0},
		{"a folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n", Folding, 0},
		{"a trailer that ends with LF", "0\r\nX: 1\n\r\n", MixedLineEnds, 0},
		{"an end with LF", "0\r\n\n", MixedLineEnds, 0},
		{"many trailers", "0\r\n" + strings.Repeat("X: 1\r\n", 2100) + "\r\n", TooManyHeaderBytes, 0},
		{"no end", "5\r\nhello\r\n0\r\n", Truncated, 5},
		{"cut in a chunk", "5\r\nhel", Truncated, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + c.body
			messages := converse(t, &Config{}, len(text) > 1000, client(text))
			got := strings.Join(briefs(messages), "\n")
			why := " (" + c.want.String() + ")"
			if len(messages) < 2 || messages[0].Kind != Request || messages[0].Reason != None {
				t.Fatal(got)
			}
			if m := messages[1]; m.Kind != Ended || m.Reason != c.want || m.Body != c.bytes {
				t.Error(got, why)
			}
			broken := messages[2].Kind == Broken && messages[2].Reason == c.want && messages[2].Facts.Path == policy.Lost[string](c.want.Cause())
			if broken == (c.want == Truncated) {
				t.Error(got, why)
			}
		})
	}
}
