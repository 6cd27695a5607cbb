package names

import (
	"bytes"
	"math"
	"net/netip"
	"time"
)

// Outcome says what became of an answer.
type Outcome uint8

// The outcomes. Learned: the counters tell of each record what came of it.
const (
	Learned Outcome = iota
	NotResolver
	NotAsked
	Failed
)

// link is a name that the question leads to.
type link struct {
	name   span
	parent int    // the alias before it; none for the question
	ttl    uint32 // of the alias that leads here
	text   string // made when the name is noted for the first time
}

// Learn notes what an answer says. asked is the key of the query that the caller
// has seen and not yet seen answered, nil if there is none; answered is what the
// answer itself bears. Both have to be the same, and the server a resolver that is
// believed.
//
// A record counts if its owner is the question or a name that aliases lead to from
// there, whatever the order of the records: an address belongs to each name on the
// way. All else is out of bailiwick: a resolver has not asked for it, whoever sends
// it wants something.
func (t *Table) Learn(asked, answered *Key, a *Answer, now time.Time) Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.isResolver(answered):
		t.counters.NotResolver++
		return NotResolver
	case asked == nil || !asked.equal(answered):
		t.counters.NotAsked++
		return NotAsked
	case a.RCode != 0:
		t.counters.Failed++
		return Failed
	}
	t.counters.Omitted += uint64(a.omitted)
	question := a.add(answered.Name)
	var storage [MaxChain + 1]link
	chain, outside := a.follow(append(storage[:0], link{name: question, parent: none, ttl: math.MaxUint32}), &t.counters)
	t.counters.OutOfBailiwick += uint64(outside)
	for i := range a.addresses {
		r := &a.addresses[i]
		n := find(a, chain, r.owner)
		switch {
		case n == none:
			t.counters.OutOfBailiwick++
			continue
		case r.kind != answered.Type && answered.Type != typeANY:
			t.counters.OtherType++
			continue
		case !isUsable(r.addr):
			t.counters.Unusable++
			continue
		}
		if r.target != r.owner {
			target := link{name: r.target}
			t.note(r.addr, a, &target, r.ttl, now)
		}
		// A name further up lives no longer than the aliases between allow.
		for ttl := r.ttl; n != none; n = chain[n].parent {
			t.note(r.addr, a, &chain[n], ttl, now)
			ttl = min(ttl, chain[n].ttl)
		}
	}
	return Learned
}

func (t *Table) isResolver(k *Key) bool {
	if t.anyServer && k.Tuple.DestinationPort == portDNS {
		return true
	}
	_, ok := t.resolvers[netip.AddrPortFrom(normal(k.Tuple.Destination), k.Tuple.DestinationPort)]
	return ok
}

// isUsable: who connects to 0.0.0.0 reaches the host itself, by another address.
func isUsable(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast()
}

// follow appends the names that aliases lead to from the first, each once, so that
// loops end; outside is the number of aliases that do not belong to it.
func (a *Answer) follow(chain []link, c *Counters) (links []link, outside int) {
	used := 0
	for from := 0; from < len(chain); from++ {
		owner := a.name(chain[from].name)
		for i := range a.aliases {
			r := &a.aliases[i]
			if !bytes.Equal(a.name(r.owner), owner) {
				continue
			}
			used++
			switch {
			case find(a, chain, r.target) != none:
			case len(chain) > MaxChain:
				c.LongChain++
			default:
				chain = append(chain, link{name: r.target, parent: from, ttl: r.ttl})
			}
		}
	}
	return chain, len(a.aliases) - used
}

// find is the place of a name in the chain.
func find(a *Answer, chain []link, name span) int {
	for i := range chain {
		if chain[i].name == name || bytes.Equal(a.name(chain[i].name), a.name(name)) {
			return i
		}
	}
	return none
}

// note gives an address a name. The TTL is in seconds.
func (t *Table) note(addr netip.Addr, a *Answer, l *link, ttl uint32, now time.Time) {
	name := a.name(l.name)
	if len(name) == 0 || len(name) == 1 && name[0] == '.' {
		return // the root is no name that a rule could mean
	}
	at := now.UnixMilli()
	expires := at + max(int64(ttl)*1000, MinLife.Milliseconds())
	if i, ok := t.index[addr]; ok {
		e := &t.entries[i]
		for n := range e.names {
			if e.names[n] == string(name) {
				t.use(i)
				t.refresh(i, n, at, expires)
				t.counters.Refreshed++
				return
			}
		}
	}
	if !isName(name) {
		t.counters.Unusable++
		return
	}
	if l.text == "" {
		l.text = string(name)
	}
	t.insert(addr, l.text, life{learned: at, expires: expires})
	t.counters.Learned++
}
