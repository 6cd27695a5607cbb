package inspector_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// FuzzConversation lets two connections be sent in any order, with pieces left out,
// repeated, changed and put elsewhere. Nothing may fail, more be held than the limits
// say, or anything be left.
func FuzzConversation(f *testing.F) {
	all := conversations(f)
	for i := range all {
		f.Add([]byte{byte(i), 1, 0, 250, 0, 0, 1, 250, 0, 0, 0, 250, 0, 0, 1, 250, 0, 0})
		f.Add([]byte{byte(i), 0, 4, 100, 7, 0, 1, 90, 0, 3, 6, 40, 0, 0, 3, 50, 0x10, 0, 0, 250, 0, 0, 1, 250, 1, 0})
	}
	rules, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(pages)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		const limit = 64 << 10
		w := inspector.New(inspector.Config{
			Report: everything, MaxBytes: 2000, MaxQueries: 4, Names: names.NewTable(names.Limits{}),
			Streams: stream.Limits{Bytes: limit, Connections: 2},
		})
		now := start
		if data[1]&1 != 0 {
			w.SetPolicy(inspector.Version{Tables: 1, Policy: rules}, now)
		}
		c := &all[int(data[0])%len(all)]
		var text [2]string
		for _, turn := range c.turns {
			text[turn.end] += turn.text
		}
		var connections [3]inspector.Connection
		var at [3][2]int
		for i := range connections {
			connections[i] = inspector.Connection{ID: uint64(i + 1), Direction: packet.Outbound, FirstSeen: now, Tuple: packet.Tuple{
				Source: hostA, SourcePort: uint16(40000 + i), Destination: hostB, DestinationPort: c.port, Protocol: packet.TCP,
			}}
			if data[1]&2 == 0 {
				w.Packet(&connections[i], &inspector.Packet{Time: now, Flags: packet.SYN, Seq: 0xffffff00})
				w.Packet(&connections[i], &inspector.Packet{Time: now, End: 1, Flags: packet.SYN | packet.ACK, Seq: 0xfffff000, Ack: 0xffffff01})
			}
		}
		starts := [2]uint32{0xffffff01, 0xfffff001}
		for ops := data[2:]; len(ops) >= 4; ops = ops[4:] {
			which, end := int(ops[0]>>5)%len(connections), int(ops[0]&1)
			place := &at[which][end]
			from := *place
			n := min(int(ops[1])*8, len(text[end])-from)
			if n < 0 {
				n = 0
			}
			switch ops[0] >> 1 & 3 {
			case 1: // again
				from = max(0, from-int(ops[2]))
				n = min(int(ops[1]), len(text[end])-from)
			case 2: // behind a hole
				from = min(len(text[end]), from+int(ops[2]))
				n = min(int(ops[1]), len(text[end])-from)
			}
			payload := []byte(text[end][from : from+n])
			if ops[3]&1 != 0 && n > 0 { // with other content
				payload[int(ops[2])%n] ^= ops[3]
			}
			flags := packet.ACK
			if ops[3]&6 == 6 {
				flags |= ops[2] & (packet.FIN | packet.RST | packet.URG)
			}
			missing := 0
			if ops[3]&24 == 24 {
				missing = int(ops[2])
			}
			now = now.Add(time.Duration(ops[2]) * time.Millisecond)
			w.Packet(&connections[which], &inspector.Packet{
				Time: now, End: end, Seq: starts[end] + uint32(from), Ack: starts[end^1] + uint32(at[which][end^1]),
				Flags: flags, Payload: payload, Missing: missing,
			})
			*place = max(*place, from+n)
			clear(payload)
			if n, queries, asked, bytes := w.Held(); n > 2 || queries > 4 || asked > 4 || bytes > limit {
				t.Fatalf("%d connections, %d queries, %d bytes", n, queries, bytes)
			}
			for e := range w.Exchanges() {
				if x := &w.Exchanges()[e]; x.Protocol == "" || x.HTTP == nil && x.TLS == nil && x.DNS == nil && x.SSH == nil {
					t.Fatalf("%+v", x)
				}
			}
			w.Reset()
			if ops[3] == 0xff {
				w.Expire(now.Add(time.Hour))
				w.SetPolicy(inspector.Version{Tables: 2, Policy: rules}, now)
			}
		}
		w.Finish(now)
		if n, queries, asked, bytes := w.Held(); n+queries+asked+bytes != 0 {
			t.Fatalf("%d connections, %d and %d queries, %d bytes are left", n, queries, asked, bytes)
		}
		total := map[string]uint64{}
		w.Counters(func(c inspector.Counter, n uint64) { total[c.String()] = n })
		if lost := total["malformed"] + total["limit"] + total["overload"] + total["not_seen"]; lost > total["opened"] {
			t.Fatalf("%v", total)
		}
	})
}
