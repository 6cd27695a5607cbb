package packet_test

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// TestFragmentsSeenAgain: a bridge's port and the bridge see the same fragments.
// None that was not at the first place may pass at the second over bytes that came.
func TestFragmentsSeenAgain(t *testing.T) {
	eight := []byte("12345678")
	second, third := fragment4(1, 16, true, eight), fragment4(1, 24, false, eight)
	type sighting struct {
		data []byte
		hook uint32
		at   time.Duration
		want packet.Outcome
	}
	for _, c := range []struct {
		name string
		seen []sighting
	}{
		{"one by one", []sighting{{first4(), 2, 0, 0}, {first4(), 4, 0, 0}, {second, 2, 0, 0}, {second, 4, 0, 0}, {third, 2, 0, 0}, {third, 4, 0, 0}}},
		{"all at one, then all at the other", []sighting{{first4(), 2, 0, 0}, {second, 2, 0, 0}, {third, 2, 0, 0}, {first4(), 4, 0, 0}, {second, 4, 0, 0}, {third, 4, 0, 0}}},
		{"by two ways", []sighting{{first4(), 2, 0, 0}, {second, 4, 0, 0}, {third, 2, 0, 0}}},
		{"over the header", []sighting{{first4(), 2, 0, 0}, {fragment4(1, 8, true, eight), 4, 0, packet.Malformed}}},
		{"the first's place, not as its first", []sighting{{first4(), 2, 0, 0}, {fragment4(1, 8, false, eight), 4, 0, packet.Malformed}}},
		{"over half of what came", []sighting{
			{first4(), 2, 0, 0}, {second, 2, 0, 0}, {fragment4(1, 16, false, append(eight, eight...)), 4, 0, packet.Malformed},
		}},
		{"twice at the first place", []sighting{{first4(), 2, 0, 0}, {second, 2, 0, 0}, {second, 4, 0, 0}, {second, 2, 0, packet.Malformed}}},
		{"another datagram, by another way", []sighting{
			{first4(), 2, 0, 0}, {second, 2, 0, 0}, {first4(), 4, time.Second, 0}, {second, 4, time.Second, 0}, {second, 4, time.Second, packet.Malformed},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fragments := packet.NewFragments(4)
			for i, s := range c.seen {
				var p packet.Packet
				outcome := p.Decode(&packet.Frame{Data: s.data, Link: packet.LinkRaw})
				if got := fragments.Follow(&p, outcome, s.hook, start.Add(s.at)); got != s.want {
					t.Errorf("sighting %d: %v, want %v", i, got, s.want)
				}
			}
		})
	}
}

// TestZoneOfInterface: its ids are around those of the frame; a VRF's zone is for
// frames without an id.
func TestZoneOfInterface(t *testing.T) {
	syn := ipv4(packet.TCP, tcp(packet.SYN, ""))
	for _, c := range []struct {
		name  string
		frame []byte
		of    packet.Zone
		zone  packet.Zone
	}{
		{"no tag", ethernet(0x0800, syn), packet.Zone{Outer: 5}, packet.Zone{Outer: 5}},
		{"priority tag", ethernet(0x8100, cat(0xe0, 0, 8, 0), syn), packet.Zone{Outer: 5}, packet.Zone{Outer: 5}},
		{"tag", ethernet(0x8100, cat(0, 7, 8, 0), syn), packet.Zone{Outer: 5}, packet.Zone{Outer: 5, Inner: 7}},
		{"tag, nested", ethernet(0x8100, cat(0, 7, 8, 0), syn), packet.Zone{Outer: 5, Inner: 6}, packet.Zone{Outer: 5, Inner: 7}},
		{"no tag, VRF", ethernet(0x0800, syn), packet.Zone{Outer: 9, Inner: 4095}, packet.Zone{Outer: 9, Inner: 4095}},
		{"tag, VRF", ethernet(0x8100, cat(0, 7, 8, 0), syn), packet.Zone{Outer: 9, Inner: 4095}, packet.Zone{Outer: 7}},
	} {
		p := decoded(t, packet.Frame{Data: c.frame, Link: packet.LinkEthernet, Zone: c.of})
		if p.Zone != c.zone {
			t.Errorf("%s: zone %v, want %v", c.name, p.Zone, c.zone)
		}
	}
}
