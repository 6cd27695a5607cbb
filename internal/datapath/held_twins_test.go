package datapath

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// setReading has the programs believe that somebody reads what is held.
func (w *twins) setReading(t testing.TB) {
	t.Helper()
	if !w.hold.On || time.Since(w.beaten) < heartbeat {
		return
	}
	w.datapath.hold.state.OpenUntil = uint64(w.hold.OpenUntil)
	if err := w.datapath.beat(w.datapath.hold, 0, true); err != nil {
		t.Fatal(err)
	}
	w.beaten = time.Now()
}

// comeBack tells the programs that a packet is not away any more: those of
// BPF_PROG_TEST_RUN reach no device.
func (r *trial) comeBack(t testing.TB, p *packet.Packet) {
	t.Helper()
	key, _ := flowKey(p.Tuple)
	looks := r.datapath.objects.Looks
	raw, err := looks.LookupBytes(key)
	if err != nil {
		t.Fatal(err)
	}
	if raw == nil {
		return // it was answered, and not held: the counters tell
	}
	const away = 36 // in struct look
	copy(raw[away:], []byte{0, 0, 0, 0})
	if err := looks.Put(key, raw); err != nil {
		t.Fatal(err)
	}
}
