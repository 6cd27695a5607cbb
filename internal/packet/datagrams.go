package packet

import (
	"bytes"
	"time"
)

// Bounds of Datagrams.
const (
	// MaxDatagrams wait for fragments at a time; the oldest gives way.
	MaxDatagrams = 1024
	// MaxDatagramBytes is what they hold together.
	MaxDatagramBytes = 4 << 20
	// maxHoles is the number of parts that are missing between others.
	maxHoles = 64
)

// DatagramCounts counts what became of fragmented datagrams.
type DatagramCounts struct {
	Whole      uint64
	Incomplete uint64 // given up for time, or for others
	Differing  uint64 // fragments of them overlap with other content, or say other ends
	Scattered  uint64 // too many parts missing
}

// Datagrams puts fragmented datagrams together for whoever reads their content. T is
// what is known of a datagram by its first fragment. It judges nothing: that a
// receiver takes no datagram whose fragments overlap is for Fragments to see to. Not
// for concurrent use.
type Datagrams[T any] struct {
	Counts DatagramCounts
	// GivenUp, where set, is called with a datagram of which a part never came, if its
	// beginning did; length is that of the whole, 0 where it is unknown.
	GivenUp func(of T, beginning []byte, length int)

	byKey  map[fragmentKey]*assembly[T]
	oldest *assembly[T]
	newest *assembly[T]
	bytes  int
}

type assembly[T any] struct {
	key          fragmentKey
	started      time.Time
	data         []byte
	came         []piece // in order, apart
	length       int     // 0: the last fragment is not there
	of           T
	known        bool // of is valid
	spoiled      bool
	older, newer *assembly[T]
}

// Add takes a fragment, and of for the first of a datagram. It returns the datagram's
// content behind the IP header and what was given with its first, once all is there;
// valid until the next call.
func (d *Datagrams[T]) Add(p *Packet, frame []byte, of *T, now time.Time) (whole []byte, first T, ok bool) {
	d.Expire(now)
	end := p.Payload + p.PayloadLength
	from := end - p.FragmentLength
	if from < 0 || end > len(frame) {
		return nil, first, false // it was not captured as a whole
	}
	key := fragmentKey{p.Source, p.Destination, p.Zone, p.FragmentID, p.Protocol, p.IPVersion}
	if p.IPVersion == 6 {
		key.protocol = 0
	}
	a := d.byKey[key]
	if a == nil {
		a = d.begin(key, now)
	}
	if of != nil {
		a.of, a.known = *of, true
	}
	d.put(a, p, frame[from:end])
	if a.spoiled || !a.known || a.length == 0 || len(a.came) != 1 || a.came[0].start != 0 || len(a.data) != a.length {
		for d.bytes > MaxDatagramBytes && d.oldest != nil {
			d.giveUp(d.oldest)
		}
		return nil, first, false
	}
	d.Counts.Whole++
	d.remove(a)
	return a.data, a.of, true
}

func (d *Datagrams[T]) put(a *assembly[T], p *Packet, data []byte) {
	at, end := p.FragmentOffset, p.FragmentOffset+len(data)
	spoil := func(counter *uint64) {
		*counter++
		d.bytes -= cap(a.data)
		a.spoiled, a.data, a.came = true, nil, nil
	}
	switch {
	case a.spoiled:
		return
	case !p.more && a.length != 0 && a.length != end, a.length != 0 && end > a.length, !p.more && len(a.data) > end:
		spoil(&d.Counts.Differing)
		return
	case !p.more:
		a.length = end
	}
	units := piece{uint16(at / fragmentUnit), uint16((end + fragmentUnit - 1) / fragmentUnit)}
	for _, c := range a.came {
		low, high := max(units.start, c.start), min(units.end, c.end)
		if low >= high {
			continue
		}
		from, to := int(low)*fragmentUnit, min(int(high)*fragmentUnit, end, len(a.data))
		if !bytes.Equal(a.data[from:to], data[from-at:to-at]) {
			spoil(&d.Counts.Differing)
			return
		}
	}
	d.bytes -= cap(a.data)
	if n := end - len(a.data); n > 0 {
		a.data = append(a.data, make([]byte, n)...)
	}
	d.bytes += cap(a.data)
	copy(a.data[at:], data)
	a.join(units)
	if len(a.came) > maxHoles {
		spoil(&d.Counts.Scattered)
	}
}

// join adds a part to those that came.
func (a *assembly[T]) join(units piece) {
	all := a.came[:0:0]
	placed := false
	for _, c := range a.came {
		switch {
		case c.end < units.start:
			all = append(all, c)
		case units.end < c.start:
			if !placed {
				all, placed = append(all, units), true
			}
			all = append(all, c)
		default:
			units = piece{min(units.start, c.start), max(units.end, c.end)}
		}
	}
	if !placed {
		all = append(all, units)
	}
	a.came = all
}

// Expire gives up what has waited too long.
func (d *Datagrams[T]) Expire(now time.Time) {
	for d.oldest != nil && now.Sub(d.oldest.started) > fragmentTimeout4 {
		d.giveUp(d.oldest)
	}
}

// Flush gives up all that waits.
func (d *Datagrams[T]) Flush() {
	for d.oldest != nil {
		d.giveUp(d.oldest)
	}
}

func (d *Datagrams[T]) giveUp(a *assembly[T]) {
	d.remove(a)
	if a.spoiled {
		return
	}
	d.Counts.Incomplete++
	if d.GivenUp != nil && a.known && len(a.came) > 0 && a.came[0].start == 0 {
		d.GivenUp(a.of, a.data[:min(int(a.came[0].end)*fragmentUnit, len(a.data))], a.length)
	}
}

func (d *Datagrams[T]) begin(key fragmentKey, now time.Time) *assembly[T] {
	if len(d.byKey) >= MaxDatagrams {
		d.giveUp(d.oldest)
	}
	if d.byKey == nil {
		d.byKey = make(map[fragmentKey]*assembly[T])
	}
	a := &assembly[T]{key: key, started: now, older: d.newest}
	if d.newest != nil {
		d.newest.newer = a
	} else {
		d.oldest = a
	}
	d.newest = a
	d.byKey[key] = a
	return a
}

func (d *Datagrams[T]) remove(a *assembly[T]) {
	d.bytes -= cap(a.data)
	delete(d.byKey, a.key)
	if a.older != nil {
		a.older.newer = a.newer
	} else {
		d.oldest = a.newer
	}
	if a.newer != nil {
		a.newer.older = a.older
	} else {
		d.newest = a.older
	}
}

// Held is how many datagrams wait, and the bytes that they hold.
func (d *Datagrams[T]) Held() (datagrams, bytes int) { return len(d.byKey), d.bytes }
