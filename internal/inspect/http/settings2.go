package http

import (
	"encoding/base64"
	"encoding/binary"
)

// setting takes a setting that binds what the end `of` sends.
func (c *connection2) setting(p *Parser, of End, id uint16, value uint32) Reason {
	t := &c.sides[of]
	switch id {
	case 1: // SETTINGS_HEADER_TABLE_SIZE
		most := uint32(p.limits.TableBytes)
		t.beyond = t.beyond || value > most
		t.table = max(t.table, min(value, most))
		t.decoder.SetAllowedMaxDynamicTableSize(t.table)
	case 2: // SETTINGS_ENABLE_PUSH
		if value > 1 {
			return FrameValue
		}
	case 4: // SETTINGS_INITIAL_WINDOW_SIZE
		if value > maxStream {
			return FrameValue
		}
	case 5: // SETTINGS_MAX_FRAME_SIZE
		if value < minMaxFrame || value > maxMaxFrame {
			return FrameValue
		}
		// When the sender learns of it is not known, so the greatest counts.
		t.largest = max(t.largest, value)
	}
	return None
}

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
