package telemetry

import (
	"net/netip"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/packet"
)

// What AppendLog writes, ReadLog reads back.
func TestReadLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		protocol := rapid.SampledFrom([]uint8{6, 17, 1, 58, 47}).Draw(t, "protocol")
		number := func(what string) uint16 { return rapid.Uint16().Draw(t, what) }
		c := &Connection{
			Kind: Kind(rapid.IntRange(1, 4).Draw(t, "kind")), Time: time.Unix(1_790_000_000, 5).UTC(), ID: rapid.Uint64().Draw(t, "id"),
			Direction: packet.Direction(rapid.IntRange(1, 3).Draw(t, "direction")), Count: 1,
			Tuple: packet.Tuple{
				Protocol: protocol, Source: netip.MustParseAddr(rapid.SampledFrom([]string{"192.0.2.1", "2001:db8::1"}).Draw(t, "source")),
				Destination: netip.MustParseAddr("203.0.113.7"),
			},
			Judgement: Judgement{Verdict: Verdict(rapid.IntRange(0, 3).Draw(t, "verdict")), Reason: Reason(rapid.IntRange(0, 10).Draw(t, "reason"))},
			FirstSeen: time.Unix(1_790_000_000, 0).UTC(), LastSeen: time.Unix(1_790_000_000, 5).UTC(),
		}
		switch {
		case c.Tuple.HasPorts():
			c.Tuple.SourcePort, c.Tuple.DestinationPort = number("port"), number("port")
		case c.Tuple.IsICMP():
			c.Tuple.ICMPType, c.Tuple.ICMPCode = uint8(number("type")), uint8(number("code"))
		}
		if rapid.Bool().Draw(t, "folded") {
			c.Count, c.Tuple.Source, c.Tuple.SourcePort = 7, netip.Addr{}, 0
		}
		records := plog.NewLogRecordSlice()
		AppendLog(records, c)
		l, ok := ReadLog(records.At(0))
		if !ok {
			t.Fatalf("not read: %v", records.At(0).Attributes().AsRaw())
		}
		if l.Event != c.Kind.EventName() || !l.Time.Equal(c.Time) || l.ID != c.ID || l.Direction != c.Direction || l.Tuple != c.Tuple ||
			l.Verdict != c.Judgement.Verdict.String() || l.Reason != c.Judgement.Reason.String() || l.Count != c.Count || l.Folded() != (c.Count > 1) {
			t.Fatalf("%+v of %+v", l, c)
		}
		if l.Folded() && (!l.FirstSeen.Equal(c.FirstSeen) || !l.LastSeen.Equal(c.LastSeen)) {
			t.Fatalf("seen %v to %v", l.FirstSeen, l.LastSeen)
		}
	})
}

func TestReadLogRefuses(t *testing.T) {
	good := map[string]any{"weir.direction": "outbound", "network.transport": "tcp", "source.address": "192.0.2.1", "destination.port": 443}
	for name, change := range map[string]map[string]any{
		"":             {},
		"address":      {"source.address": "example.com"},
		"zone":         {"source.address": "fe80::1%eth0"},
		"port":         {"destination.port": 65536},
		"port as text": {"destination.port": "443"},
		"negative":     {"destination.port": -1},
		"direction":    {"weir.direction": "up"},
		"transport":    {"network.transport": "300"},
		"id":           {"weir.connection.id": "x"},
		"time":         {"weir.first_seen": "yesterday"},
		"no direction": {"weir.direction": nil},
		"no transport": {"network.transport": nil},
	} {
		record := plog.NewLogRecord()
		record.SetEventName("weir.connection.start")
		all := map[string]any{}
		for _, m := range []map[string]any{good, change} {
			for k, v := range m {
				all[k] = v
				if v == nil {
					delete(all, k)
				}
			}
		}
		if err := record.Attributes().FromRaw(all); err != nil {
			t.Fatal(err)
		}
		if _, ok := ReadLog(record); ok != (name == "") {
			t.Errorf("%q is read: %t", name, ok)
		}
	}
	record := plog.NewLogRecord()
	AppendPolicyChange(plog.NewLogRecordSlice(), &PolicyChange{Change: PolicyLoaded})
	record.SetEventName(PolicyChangeEvent)
	if _, ok := ReadLog(record); ok {
		t.Error("a change of the policy is no connection")
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		kind    Kind
		proto   uint8
		packets uint64
		end     EndReason
		want    bool
	}{
		{ConnectionEnd, 6, 0, EndTimeout, true},
		{ConnectionEnd, 6, 1, EndRST, true},
		{ConnectionEnd, 6, 1, EndTimeout, false},
		{ConnectionEnd, 6, 2, EndRST, false},
		{ConnectionEnd, 17, 0, EndTimeout, false},
		{ConnectionStart, 6, 0, EndNone, false},
	} {
		records := plog.NewLogRecordSlice()
		AppendLog(records, &Connection{
			Kind: tt.kind, Direction: packet.Inbound, End: tt.end, Destination: Counts{Packets: tt.packets}, Count: 1,
			Tuple: packet.Tuple{Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("192.0.2.2"), Protocol: tt.proto},
		})
		if l, ok := ReadLog(records.At(0)); !ok || l.Refused() != tt.want {
			t.Errorf("%+v: %t", tt, l.Refused())
		}
	}
}

func TestReadLogNames(t *testing.T) {
	record := plog.NewLogRecord()
	record.SetEventName("weir.tls.handshake")
	for k, v := range map[string]string{"weir.direction": "outbound", "network.transport": "tcp", "weir.tls.server_name": "a.example", "server.address": "b.example"} {
		record.Attributes().PutStr(k, v)
	}
	if l, ok := ReadLog(record); !ok || l.Name != "a.example" {
		t.Errorf("%+v %t", l, ok)
	}
}
