package packet_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// assembled puts fragments together, given as offset and content; the last that has no
// "+" at its end is the datagram's end.
func assembled(t *testing.T, d *packet.Datagrams[string], id uint16, now time.Time, pieces ...string) (whole []string) {
	t.Helper()
	for _, piece := range pieces {
		var at int
		offset, content, _ := strings.Cut(piece, ":")
		fmt.Sscan(offset, &at)
		content, more := strings.CutSuffix(content, "+")
		data := []byte(content)
		if at == 0 {
			data = udp(content[8:])
			copy(data[8:], content[8:])
		}
		frame := fragment4(id, uint16(at), more, data)
		var p packet.Packet
		var of *string
		if p.Decode(&packet.Frame{Data: frame, Link: packet.LinkRaw}) == packet.Decoded && at == 0 {
			name := "first"
			of = &name
		}
		if all, first, ok := d.Add(&p, frame, of, now); ok {
			whole = append(whole, first+" "+string(all[8:]))
		}
	}
	return whole
}

func TestDatagrams(t *testing.T) {
	const first = "0:hhhhhhhhaaaaaaaa+"
	for _, test := range []struct {
		name   string
		pieces []string
		whole  string
		counts packet.DatagramCounts
	}{
		{"in order", []string{first, "16:bbbbbbbb+", "24:c"}, "[first aaaaaaaabbbbbbbbc]", packet.DatagramCounts{Whole: 1}},
		{"backwards", []string{"24:c", "16:bbbbbbbb+", first}, "[first aaaaaaaabbbbbbbbc]", packet.DatagramCounts{Whole: 1}},
		{"twice", []string{first, first, "16:bbbbbbbb+", "16:bbbbbbbb+", "24:c"}, "[first aaaaaaaabbbbbbbbc]", packet.DatagramCounts{Whole: 1}},
		{"overlap, the same", []string{first, "8:aaaaaaaabbbbbbbb+", "24:c"}, "[first aaaaaaaabbbbbbbbc]", packet.DatagramCounts{Whole: 1}},
		{"overlap, other content", []string{first, "16:bbbbbbbb+", "8:aaaaaaaaxbbbbbbb+", "24:c"}, "[]", packet.DatagramCounts{Differing: 1}},
		{"two ends", []string{first, "32:c", "24:d", "16:bbbbbbbb+"}, "[]", packet.DatagramCounts{Differing: 1}},
		{"behind the end", []string{"16:b", "24:cccccccc+", first}, "[]", packet.DatagramCounts{Differing: 1}},
		{"a part never comes", []string{first, "24:c"}, "[]", packet.DatagramCounts{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d packet.Datagrams[string]
			now := time.Unix(1000, 0)
			if whole := fmt.Sprint(assembled(t, &d, 1, now, test.pieces...)); whole != test.whole || d.Counts != test.counts {
				t.Errorf("%s, %+v", whole, d.Counts)
			}
			var given string
			d.GivenUp = func(of string, beginning []byte, length int) {
				given = fmt.Sprintf("%s %s of %d", of, beginning[8:], length)
			}
			d.Expire(now.Add(31 * time.Second))
			want := ""
			if test.name == "a part never comes" {
				want = "first aaaaaaaa of 25"
			}
			if given != want {
				t.Errorf("given up: %q", given)
			}
		})
	}
}

// Any order of any cuts gives the datagram; what is held stays within bounds.
func TestDatagramsHoweverCut(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		content := make([]byte, 8*(2+r.IntN(60))+r.IntN(8)+1)
		for i := range content {
			content[i] = byte(r.IntN(256))
		}
		binary.BigEndian.PutUint16(content[4:], uint16(len(content)))
		var frames [][]byte
		for at := 0; at < len(content); {
			n := 8 * (1 + r.IntN(10))
			n = min(n, len(content)-at)
			frames = append(frames, fragment4(uint16(seed), uint16(at), at+n < len(content), content[at:at+n]))
			at += n
		}
		if len(frames) == 1 {
			continue
		}
		r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		var d packet.Datagrams[int]
		done := false
		for _, frame := range frames {
			var p packet.Packet
			var of *int
			if p.Decode(&packet.Frame{Data: frame, Link: packet.LinkRaw}) == packet.Decoded {
				of = new(int)
			}
			whole, _, ok := d.Add(&p, frame, of, time.Unix(1000, 0))
			done = done || ok && string(whole) == string(content)
		}
		if !done {
			t.Fatalf("seed %d: %+v", seed, d.Counts)
		}
	}
	var d packet.Datagrams[int]
	for i := range 5000 { // each of its own, of which the first part never comes
		frame := fragment4(uint16(i), 60000, true, make([]byte, 800))
		var p packet.Packet
		p.Decode(&packet.Frame{Data: frame, Link: packet.LinkRaw})
		d.Add(&p, frame, nil, time.Unix(1000, 0))
	}
	if n, bytes := d.Held(); n > packet.MaxDatagrams || bytes > packet.MaxDatagramBytes || d.Counts.Incomplete < 4000 {
		t.Errorf("%d datagrams, %d bytes, %+v", n, bytes, d.Counts)
	}
}
