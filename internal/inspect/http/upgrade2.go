package http

import (
	"encoding/base64"
	"encoding/binary"
)

// maxUpgradeSettings bounds the header HTTP2-Settings; there are seven settings.
const maxUpgradeSettings = 1024

// upgraded makes stream 1 of the request that asked for HTTP/2 (RFC 7540 section
// 3.2). The client has sent all of it in HTTP/1, and sends the preface next.
func (c *connection2) upgraded(p *Parser, x *exchange) {
	s := &stream2{exchange: x.number, method: x.method, declared: [2]int64{-1, -1}}
	s.ended[Client] = true
	c.streams[1] = s
	c.fromUpgrade = true
	c.last[Client] = 1
	if len(x.settings) > maxUpgradeSettings {
		return
	}
	settings, err := base64.RawURLEncoding.DecodeString(x.settings)
	for ; err == nil && len(settings) >= 6; settings = settings[6:] {
		// One that is not valid is so in the SETTINGS that follow, too.
		c.setting(p, Server, binary.BigEndian.Uint16(settings), binary.BigEndian.Uint32(settings[2:]))
	}
}
