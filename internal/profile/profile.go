// Package profile counts who talks to whom, how much, and what becomes of it, over
// the last hour, in bounded memory: exact in total, and the greatest of each kind.
package profile

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weirnet/weir/internal/telemetry"
)

// Kind is what entries are told apart by.
type Kind uint8

// The kinds.
const (
	Sources Kind = iota
	Destinations
	Ports // destination ports, with their transport
	Rules
	Names // hosts of requests, server names of handshakes, questions of queries
	kinds
)

// Measure is what entries are ordered by.
type Measure uint8

// The measures.
const (
	ByConnections Measure = iota
	ByBytes
	ByBlocked // or would be
	measures
)

// Key is one entry's; by its kind one of the fields is set, or Protocol and Port.
type Key struct {
	Address  netip.Addr
	Protocol uint8
	Port     uint16
	Text     string
}

// Counts is what was counted. Of names, all but Bytes are requests, handshakes and
// queries.
type Counts struct {
	// Connections are those that began; Blocked those of them, or later, that were
	// blocked, WouldBlock those that mode prevent would have blocked.
	Connections, Blocked, WouldBlock uint64
	// Bytes are those of connections that ended, of both directions.
	Bytes uint64
}

func (c *Counts) add(o *Counts) {
	c.Connections += o.Connections
	c.Blocked += o.Blocked
	c.WouldBlock += o.WouldBlock
	c.Bytes += o.Bytes
}

func (c *Counts) by(m Measure) uint64 {
	switch m {
	case ByBytes:
		return c.Bytes
	case ByBlocked:
		return c.Blocked + c.WouldBlock
	}
	return c.Connections
}

// Entry is one of the greatest.
type Entry struct {
	Key Key
	Counts
	// Error is how much what it is ordered by may be too small: it was not among the
	// greatest all the time. What it was then is not in the counts.
	Error uint64
}

// What is kept: Window in steps of Step.
const (
	Step   = time.Minute
	Window = time.Hour
	slots  = int(Window / Step)
	// capacity is how many of each kind, measure and step are counted.
	capacity = 128
	// maxName is how much of a name counts; strangers choose their length.
	maxName = 255
	// maxRules is of how many rules the last match is remembered.
	maxRules = 100_000
)

// Profile counts. Its methods may be called by several goroutines, and do not block.
type Profile struct {
	mu    sync.Mutex
	steps [slots]step
	// matched is when a rule decided last, by name.
	matched map[string]time.Time
}

// step is what one minute had.
type step struct {
	number int64 // since 1970; the slot may still have an older one's
	counts Counts
	tops   [kinds][measures]top
}

// New is a profile of nothing.
func New() *Profile { return &Profile{matched: map[string]time.Time{}} }

// at is the step of now. What is told late counts as if it came now.
func (p *Profile) at(now time.Time) *step {
	number := now.Unix() / int64(Step/time.Second)
	s := &p.steps[number%int64(slots)]
	if s.number != number {
		*s = step{number: number}
	}
	return s
}

func (s *step) add(kind Kind, key Key, c *Counts) {
	for m := range measures {
		s.tops[kind][m].add(&key, c.by(m), c)
	}
}

// Connections counts records; it keeps nothing of the slice.
func (p *Profile) Connections(records []telemetry.Connection, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(now)
	for i := range records {
		r := &records[i]
		var c Counts
		switch n := max(r.Count, 1); {
		case r.Kind == telemetry.ConnectionStart:
			c.Connections = n
			c.deny(&r.Judgement, n)
			p.match(&r.Judgement, r.LastSeen, r.Time)
		case r.Kind == telemetry.ConnectionVerdict:
			c.deny(&r.Judgement, n)
			p.match(&r.Judgement, r.LastSeen, r.Time)
		case r.Kind == telemetry.ConnectionEnd:
			c.Bytes = r.Source.Bytes + r.Destination.Bytes
		}
		if c == (Counts{}) {
			continue
		}
		s.counts.add(&c)
		if t := &r.Tuple; t.Source.IsValid() {
			s.add(Sources, Key{Address: t.Source}, &c)
		}
		if t := &r.Tuple; t.Destination.IsValid() {
			s.add(Destinations, Key{Address: t.Destination}, &c)
			s.add(Ports, Key{Protocol: t.Protocol, Port: t.DestinationPort}, &c)
		}
		if r.Judgement.Rule != "" {
			s.add(Rules, Key{Text: r.Judgement.Rule}, &c)
		}
	}
}

// Exchanges counts the names in records; it keeps nothing of the slice.
func (p *Profile) Exchanges(records []telemetry.Exchange, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(now)
	for i := range records {
		r := &records[i]
		p.match(&r.Judgement, r.Time, r.Time)
		if name := Name(r); name != "" {
			c := Counts{Connections: 1}
			c.deny(&r.Judgement, 1)
			s.add(Names, Key{Text: name[:min(len(name), maxName)]}, &c)
		}
	}
}

// Name is the name that an exchange is about; empty where it has none.
func Name(r *telemetry.Exchange) string {
	switch {
	case r.HTTP != nil:
		return r.HTTP.Host
	case r.TLS != nil:
		return r.TLS.ServerName
	case r.DNS != nil:
		return r.DNS.Name
	}
	return ""
}

// deny counts n by whether they were blocked, or would be.
func (c *Counts) deny(j *telemetry.Judgement, n uint64) {
	switch {
	case j.Verdict == telemetry.Blocked:
		c.Blocked += n
	case j.Action == telemetry.Block:
		c.WouldBlock += n
	}
}

func (p *Profile) match(j *telemetry.Judgement, last, at time.Time) {
	if j.Rule == "" {
		return
	}
	if last.After(at) {
		at = last
	}
	if before, known := p.matched[j.Rule]; at.After(before) && (known || len(p.matched) < maxRules) {
		p.matched[j.Rule] = at
	}
}

// LastMatch is when a rule decided last, as far as it was told; zero where it was not.
func (p *Profile) LastMatch(rule string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.matched[rule]
}

// window are the steps that the last so much time lies in, the oldest first.
func (p *Profile) window(window time.Duration, now time.Time) []*step {
	last := now.Unix() / int64(Step/time.Second)
	n := int64(min(max((window+Step-1)/Step, 1), Window/Step))
	var found []*step
	for number := last - n + 1; number <= last; number++ {
		if s := &p.steps[number%int64(slots)]; s.number == number {
			found = append(found, s)
		}
	}
	return found
}

// Top are at most n of the greatest of the last so much time, the greatest first.
func (p *Profile) Top(kind Kind, measure Measure, window time.Duration, n int, now time.Time) []Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	sums := map[Key]*Entry{}
	for _, s := range p.window(window, now) {
		for _, c := range s.tops[kind][measure].order {
			e := sums[c.key]
			if e == nil {
				e = &Entry{Key: c.key}
				sums[c.key] = e
			}
			e.add(&c.counts)
			e.Error += c.error
		}
	}
	all := make([]Entry, 0, len(sums))
	for _, e := range sums {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.by(measure), a.by(measure)), a.Key.compare(&b.Key))
	})
	return all[:min(n, len(all))]
}

func (k *Key) compare(o *Key) int {
	return cmp.Or(k.Address.Compare(o.Address), cmp.Compare(k.Protocol, o.Protocol), cmp.Compare(k.Port, o.Port), cmp.Compare(k.Text, o.Text))
}

// Point is what one step had in total.
type Point struct {
	Time time.Time
	Counts
}

// Series are the steps of the last so much time, the oldest first.
func (p *Profile) Series(window time.Duration, now time.Time) []Point {
	p.mu.Lock()
	defer p.mu.Unlock()
	var points []Point
	for _, s := range p.window(window, now) {
		points = append(points, Point{Time: time.Unix(s.number*int64(Step/time.Second), 0).UTC(), Counts: s.counts})
	}
	return points
}
