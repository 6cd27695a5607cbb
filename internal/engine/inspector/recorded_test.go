package inspector_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/packet"
)

// recorded are the TCP connections of a capture whose beginning is there, as what the
// ends said in turn.
func recorded(t *testing.T, path string) (all []conversation) {
	r, err := capture.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type half struct {
		of  int
		end int
	}
	budget := stream.NewBudget(stream.Limits{})
	known := map[packet.Tuple]half{}
	var streams []*stream.Conversation
	var p packet.Packet
	for {
		f, err := r.Next()
		if err != nil {
			return all
		}
		if p.Decode(&f.Frame) != packet.Decoded || p.Protocol != packet.TCP || p.HasOddFlags || p.IsFragment {
			continue
		}
		h, ok := known[p.Tuple]
		if p.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN && !ok {
			h, ok = half{len(all), 0}, true
			known[p.Tuple], known[p.Tuple.Reversed()] = h, half{len(all), 1}
			all = append(all, conversation{name: filepath.Base(path), port: p.DestinationPort})
			streams = append(streams, &stream.Conversation{})
			streams[h.of].Open(budget, p.Source)
		}
		if !ok {
			continue
		}
		streams[h.of].Segment(h.end, p.Seq, p.Ack, p.TCPFlags, p.CapturedPayload(f.Data))
		for end := range 2 {
			s := streams[h.of].Stream(end)
			for data := s.Next(); data != nil; data = s.Next() {
				c := &all[h.of]
				if n := len(c.turns); n > 0 && c.turns[n-1].end == end {
					c.turns[n-1].text += string(data)
				} else {
					c.turns = append(c.turns, turn{end, string(data)})
				}
				s.Consume(len(data))
			}
			s.Hold()
		}
	}
}

// The same of recorded connections: some 500, in 2 s.
func TestRecordedHoweverCut(t *testing.T) {
	n := 0
	for _, folder := range [][]string{{"suricata", "l7", "pcap"}, {"arkime", "pcap"}, {"s2n-tls", "pcap"}} {
		files, err := filepath.Glob(filepath.Join(corpora.Path(t, folder...), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, c := range recorded(t, file) {
				if n++; testing.Short() && n%8 != 0 {
					continue
				}
				want := c.told(t, pages, nil)
				for seed := range uint64(3) {
					if got := c.told(t, pages, rand.New(rand.NewPCG(seed, 3))); got != want {
						t.Errorf("%s to %d, seed %d:\n%s\nuncut:\n%s", c.name, c.port, seed, got, want)
						break
					}
				}
			}
		}
	}
	t.Log(n, "connections")
}
