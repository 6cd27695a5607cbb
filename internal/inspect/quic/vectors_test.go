package quic

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The client's CRYPTO frame of RFC 9001 and RFC 9369, appendix A.2.
const exampleFrame = `
060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868
04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578
616d706c652e636f6dff01000100000a00080006001d00170018001000070005
04616c706e000500050100000000003300260024001d00209370b2c9caa47fba
baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400
0d0010000e0403050306030203080408050806002d00020101001c0002400100
3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000
75300901100f088394c8f03e51570806048000ffff`

// TestVectors are appendix A of RFC 9001 and RFC 9369.
func TestVectors(t *testing.T) {
	tests := []struct {
		name         string
		version      uint32
		clientHeader string // before protection
		clientStart  string // protected
		clientEnd    string
		serverPacket string
	}{
		{
			name: "RFC 9001", version: Version1,
			clientHeader: "c300000001088394c8f03e5157080000449e00000002",
			clientStart:  "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b",
			clientEnd:    "e221af44860018ab0856972e194cd934",
			serverPacket: `cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a
				5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3
				dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
				022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4
				2158407dd074ee`,
		},
		{
			name: "RFC 9369", version: Version2,
			clientHeader: "d36b3343cf088394c8f03e5157080000449e00000002",
			clientStart:  "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071",
			clientEnd:    "6f4c4938ae79324dc402894b44faf8afbab35282ab659d13c93f70412e85cb199a37ddec600545473cfb5a05e08d0b209973b2172b4d21fb69745a262ccde96ba18b2faa745b6fe189cf772a9f84cbfc",
			serverPacket: `dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698
				baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17
				f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2
				c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca8
				4bed8521e2e140`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set, err := newKeySet(test.version, unhex(t, "8394c8f03e515708"))
			if err != nil {
				t.Fatal(err)
			}
			payload := make([]byte, 1162)
			copy(payload, unhex(t, exampleFrame))
			header := unhex(t, test.clientHeader)
			packet := set.ends[Client].seal(header[:len(header)-4], 2, 4, payload)
			if !bytes.HasPrefix(packet, unhex(t, test.clientStart)) || !bytes.HasSuffix(packet, unhex(t, test.clientEnd)) {
				t.Fatalf("packet is %x…%x", packet[:40], packet[len(packet)-16:])
			}
			got := read(new(Parser), []datagram{{Client, packet}, {Server, unhex(t, test.serverPacket)}})
			if got.Facts.ServerName != policy.Is("example.com") || got.Facts.Version != policy.Is("1.3") {
				t.Errorf("facts %+v", got.Facts)
			}
			if got.Handshake.Server == nil || got.Handshake.Server.Cipher != 0x1301 || got.Handshake.Version != test.version {
				t.Errorf("handshake %+v", got.Handshake)
			}
		})
	}
}

// TestPacketNumbers is RFC 9000 appendix A.3, and the edges.
func TestPacketNumbers(t *testing.T) {
	tests := []struct {
		truncated int64
		length    int
		largest   int64
		want      int64
	}{
		{0x9b32, 2, 0xa82f30ea, 0xa82f9b32},
		{0, 1, -1, 0},
		{255, 1, -1, 255},
		{0, 1, 254, 256},
		{0, 1, 255, 256},
		{255, 1, 256, 255},
		{1, 4, 1<<32 - 1, 1<<32 + 1},
	}
	for _, test := range tests {
		if got := fullNumber(test.truncated, test.length, test.largest); got != test.want {
			t.Errorf("%#x of %d bytes after %#x: %#x, not %#x", test.truncated, test.length, test.largest, got, test.want)
		}
	}
}
