package datapath

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTrackerWithoutEthernet is TestTrackerAgainstReference for the programs of
// devices whose packets have no Ethernet header.
func TestTrackerWithoutEthernet(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newTwins(t, open(t))
	if err := w.datapath.loadBare(); err != nil {
		t.Fatal(err)
	}
	w.bare = true
	steps, difference, n := w.find(t, rand.New(rand.NewPCG(seed, 0)), *generatedSequences/10)
	t.Logf("%d sequences, %d packets", n, w.sightings)
	if difference != "" {
		t.Logf("sequence %d: %s", n, difference)
		w.fail(t, steps)
	}
	if w.refused > 0 || w.sightings < n {
		t.Errorf("the kernel did not take %d frames, and %d", w.refused, w.sightings)
	}
}

// bared takes the Ethernet headers off, and leaves out frames with tags, which such
// devices do not know. BPF_PROG_TEST_RUN reads an ethertype all the same, at the
// place of the source address: so that it finds the right one there, 10.0.0.0/16
// becomes 8.0.0.0/16, and fd00::/32 fd00:0:86dd::/48.
func bared(steps []step) (kept []step) {
	for _, s := range steps {
		if s.kind != aPacket {
			kept = append(kept, s)
			continue
		}
		ip := append([]byte(nil), s.frame[14:]...)
		switch binary.BigEndian.Uint16(s.frame[12:]) {
		case 0x0800:
			if ip[12] == 127 {
				continue
			}
			for _, at := range []int{12, 16} {
				ip[at], ip[at+1] = 8, 0
			}
			ip[10], ip[11] = 0, 0
			binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:int(ip[0]&15)*4]))
		case 0x86dd:
			for _, at := range []int{8, 24} {
				ip[at+4], ip[at+5] = 0x86, 0xdd
			}
		default:
			continue
		}
		// It takes fourteen bytes of the packet for a header, and wants an IP header
		// behind them.
		s.frame = append(ip, make([]byte, max(0, 14+40-len(ip)))...)
		kept = append(kept, s)
	}
	return kept
}
