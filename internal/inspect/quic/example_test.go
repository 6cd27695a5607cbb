package quic

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/weirnet/weir/internal/inspect/tls/hello"
)

// The client's first datagram of RFC 9001 appendix A.2.
func ExampleParser() {
	frame, _ := hex.DecodeString(strings.Join(strings.Fields(exampleFrame), ""))
	keys, _ := newKeySet(Version1, []byte("\x83\x94\xc8\xf0\x3e\x51\x57\x08"))
	s := &sealer{version: Version1, keys: keys, ids: [2][]byte{Server: keys.connectionID()}}
	datagram := s.initial(Client, frame, 1200)

	var p Parser
	if Detect(datagram) {
		p.Read(Client, datagram)
	}
	h := p.Handshake()
	fmt.Println(p.Facts().ServerName.Value, VersionName(h.Version), h.Client.ALPN, h.Client.JA4(hello.OverQUIC))
	// Output: example.com 1 [alpn] q13d0211an_62ed6f6ca7ad_4d634acda6c0
}
