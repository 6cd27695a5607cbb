package tls_test

import (
	"encoding/hex"
	"fmt"

	"github.com/weirnet/weir/internal/inspect/tls"
	"github.com/weirnet/weir/internal/inspect/tls/hello"
	"github.com/weirnet/weir/internal/policy"
)

func ExampleParser() {
	// A ClientHello in two segments.
	first, _ := hex.DecodeString("1603010059010000550303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0000061301c02b")
	second, _ := hex.DecodeString("c02f0100002600000010000e00000b4578616d706c652e434f4d00100005000302683200" +
		"2b00050403040303")

	var p tls.Parser
	held := first
	if tls.Detect(held) == tls.Yes {
		held = held[p.Read(tls.Client, held):]
	}
	fmt.Println(p.Facts().ServerName.State == policy.Known, p.Wants(tls.Client))

	held = append(held, second...)
	p.Read(tls.Client, held)
	for _, m := range p.Messages() {
		fmt.Println(m.Kind == tls.ClientHello, m.Begin, m.After)
	}
	client := p.Handshake().Client
	fmt.Println(p.Facts().ServerName.Value, client.ALPN, client.JA4(hello.OverTCP))
	// Output:
	// false true
	// true 0 94
	// example.com [h2] t13d0303h2_28fa9b2900ea_b9a491fefe05
}
