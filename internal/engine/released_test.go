package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestReleased: bytes that are sent again are compared with what was sent on, wherever
// their borders are; what passed by a window is nobody's business, and what is not kept
// does not pass.
func TestReleased(t *testing.T) {
	const first = 0xffffff00 // numbers wrap soon
	text := []byte("0123456789abcdefghij")
	r := &released{}
	r.add(first, text[:5], maxReleased)
	r.add(first+5, text[5:10], maxReleased)
	r.add(first+15, text[15:20], maxReleased) // five have passed by a window
	changed := func(at int) []byte {
		b := bytes.Clone(text)
		b[at] = '!'
		return b
	}
	for _, c := range []struct {
		name     string
		from, to int
		content  []byte
		want     resent
		known    int
	}{
		{"all", 0, 20, text, same, 20},
		{"over a border", 3, 8, text, same, 5},
		{"what passed", 10, 15, changed(12), same, 5},
		{"around what passed", 8, 17, changed(12), same, 9},
		{"changed", 0, 20, changed(3), another, 0},
		{"changed behind what passed", 12, 20, changed(19), another, 0},
	} {
		if is, known := r.compare(first+uint32(c.from), c.content[c.from:c.to]); is != c.want || known != c.known {
			t.Errorf("%s: %d, %d", c.name, is, known)
		}
	}
	if is, known := r.compare(first+18, []byte("ijklm")); is != fresh || known != 2 {
		t.Errorf("with more behind it: %d, %d", is, known)
	}
	r.acknowledge(first + 7)
	if is, known := r.compare(first+5, changed(6)[5:10]); is != fresh || known != 2 && known != 5 {
		t.Errorf("what the receiver has: %d, %d", is, known)
	}
	if is, _ := r.compare(first+5, changed(8)[5:10]); is != another {
		t.Errorf("what it has not: %d", is)
	}
	r.acknowledge(first + 20)
	if r.bytes != 0 || len(r.pieces) != 0 {
		t.Errorf("%+v is kept", r)
	}
}

// TestReleasedBounds: no more is kept than there may be, and what is not does not pass.
func TestReleasedBounds(t *testing.T) {
	r := &released{}
	random := rand.New(rand.NewPCG(1, 2))
	seq := uint32(1 << 31)
	for range 3 * maxReleasedPieces {
		n := 1 + random.IntN(3000)
		r.add(seq, make([]byte, n), maxReleased)
		seq += uint32(n)
		if random.IntN(2) == 0 {
			seq += 20_000 // passes by a window
		}
		all := 0
		for _, p := range r.pieces {
			all += len(p.bytes)
		}
		if all != r.bytes || all > maxReleased || len(r.pieces) > maxReleasedPieces {
			t.Fatalf("%d bytes in %d pieces; %d are counted", all, len(r.pieces), r.bytes)
		}
	}
	if is, _ := r.compare(r.pieces[0].from-1, []byte("x")); is != another {
		t.Error("what is not kept passes")
	}
	r.add(seq, make([]byte, 100), minReleased)
	if r.bytes > minReleased {
		t.Errorf("%d bytes are kept", r.bytes)
	}
}
