package datapath

import (
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// TestReadTo: no event comes of a time up to which all were said to be handed over.
func TestReadTo(t *testing.T) {
	d := open(t)
	swap(t, d, load(t, "mode: detect\nrules: []"))
	if to := d.ReadTo(); to.After(time.Unix(0, 0)) {
		t.Errorf("before anybody reads all is read to %v", to)
	}
	const connections = 2000
	last := make(chan time.Time, 1)
	ended := make(chan error)
	told := 0
	go func() {
		ended <- d.Read(func(events []Event) {
			if told%5 == 0 {
				time.Sleep(3 * readInterval) // while more come
			}
			to := d.ReadTo()
			for i := range events {
				if events[i].Time.Before(to) {
					t.Errorf("all was read to %v, and then comes what happened %v before", to, to.Sub(events[i].Time))
				}
			}
			if told += len(events); told == connections {
				last <- events[len(events)-1].Time
			}
		})
	}()
	for i := range connections {
		run(t, d.objects.Ingress, frame(packet.Tuple{
			Source: address("10.0.0.1"), Destination: address("192.0.2.1"), Protocol: packet.UDP,
			SourcePort: uint16(1024 + i), DestinationPort: 9,
		}))
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	select {
	case at := <-last:
		for until := time.Now().Add(5 * time.Second); !d.ReadTo().After(at); time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("all was read, but no further than to %v; the last was of %v", d.ReadTo(), at)
			}
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("not all of %d events came", connections)
	}
	if err := d.StopReading(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if to := d.ReadTo(); to.Before(time.Now().Add(time.Hour)) {
		t.Errorf("when nobody reads any more all is read to %v", to)
	}
}
