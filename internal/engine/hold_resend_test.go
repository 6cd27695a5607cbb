package engine

import (
	"fmt"
	"strings"
	"testing"
)

// TestSentAgain: whatever was let go and lost further on comes again when it is sent
// again, with as much as a sender may have under way.
func TestSentAgain(t *testing.T) {
	const all = 1 << 20
	chunked := func(size int) string {
		chunk := fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat("b", size))
		return "POST /ok HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, all/len(chunk))
	}
	for name, text := range map[string]string{
		"of known length":   fmt.Sprintf("POST /ok HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", 10*all) + strings.Repeat("b", all),
		"in chunks of 1000": chunked(1000), "in chunks of 4 KiB": chunked(4 << 10), "in chunks of 32 KiB": chunked(32 << 10),
		"in chunks of 256 KiB": chunked(256 << 10),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoad(t, getsOnly, nil)
			client, server := r.connect(t, 4, 80)
			server.set(func(p *peer) { p.deaf = true })
			came := func() map[uint32]int {
				times := map[uint32]int{}
				for _, s := range server.wire.sights(server.tuple) {
					if len(s.payload) > 0 {
						times[s.packet.Seq]++
					}
				}
				return times
			}
			const batch = 64 * mss
			segments := (len(text) + mss - 1) / mss
			for at := 0; at < len(text); at += batch {
				client.say(at, []byte(text[at:min(at+batch, len(text))]))
				within(t, "what is allowed", func() bool { return len(came()) >= min((at+batch)/mss, segments) })
			}
			for at := 0; at < len(text); at += batch {
				client.say(at, []byte(text[at:min(at+batch, len(text))]))
				within(t, fmt.Sprintf("what is sent again, from %d on", at), func() bool {
					twice := 0
					for _, n := range came() {
						if n > 1 {
							twice++
						}
					}
					return twice >= min((at+batch)/mss, segments)
				})
			}
		})
	}
}
