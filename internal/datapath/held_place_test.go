package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// TestOutOfPlace: what is held says nothing after its end, nor before its SYN is
// answered, whatever number the SYN has: whoever takes it has another connection.
func TestOutOfPlace(t *testing.T) {
	s := newStranger(t, needsFacts, nil)
	if wrong := outOfPlace(s); wrong != "" {
		t.Error(wrong)
	}
}

func outOfPlace(s *stranger) (wrong string) {
	t := s.t
	says := func(cause string) {
		s.segment(packet.ACK|packet.PSH, s.seq, s.ack, "abc")
		time.Sleep(soon)
		s.j.mu.Lock()
		defer s.j.mu.Unlock()
		if n := counter(t, s.d, cause); n != 1 || len(s.j.list) > 0 {
			wrong += fmt.Sprintf("%s: %d packets, %d are held. ", cause, n, len(s.j.list))
			s.j.list = nil
		}
	}
	reset := withChecksum(s.tuple, tcpSegment(s.tuple, packet.RST|packet.ACK, s.seq, s.ack, ""))
	reset[16] ^= 0x55 // the server does not take it
	s.send(s.headers.build(s.tuple, reset))
	says("held_over_dropped")
	s.segment(packet.SYN, s.seq+7, 0, "")
	says("held_unanswered_dropped")
	if got := s.gets(soon); got != "" {
		wrong += fmt.Sprintf("The server got %q. ", got)
	}
	return wrong
}
