package dns_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/packet"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func tuple(source, destination string) packet.Tuple {
	s, d := netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)
	return packet.Tuple{
		Source: s.Addr(), SourcePort: s.Port(), Destination: d.Addr(), DestinationPort: d.Port(), Protocol: packet.UDP,
	}
}

// ask makes a message with one question.
func ask(id uint16, flags uint16, name string, kind uint8, protocol dns.Protocol) *dns.Message {
	data := join(head(flags, 1), wire(name, "example"), []byte{0, kind, 0, 1})
	data[0], data[1] = byte(id>>8), byte(id)
	m := &dns.Message{}
	m.Parse(data, len(data), protocol)
	return m
}

func TestPairing(t *testing.T) {
	there := tuple("192.0.2.1:4000", "192.0.2.53:53")
	group := tuple("192.0.2.1:4000", "224.0.0.252:5355")
	for _, c := range []struct {
		name     string
		query    packet.Tuple
		answer   packet.Tuple // of its packet
		message  *dns.Message
		protocol dns.Protocol
		paired   bool
	}{
		{"its answer", there, there.Reversed(), ask(1, answer, "a", 1, 0), 0, true},
		{"in other case", there, there.Reversed(), ask(1, answer, "A", 1, 0), 0, true},
		{"of another identifier", there, there.Reversed(), ask(2, answer, "a", 1, 0), 0, false},
		{"to another question", there, there.Reversed(), ask(1, answer, "b", 1, 0), 0, false},
		{"of another type", there, there.Reversed(), ask(1, answer, "a", 28, 0), 0, false},
		{"of another server", there, tuple("192.0.2.54:53", "192.0.2.1:4000"), ask(1, answer, "a", 1, 0), 0, false},
		{"of another port of the server", there, tuple("192.0.2.53:54", "192.0.2.1:4000"), ask(1, answer, "a", 1, 0), 0, false},
		{"to another port", there, tuple("192.0.2.53:53", "192.0.2.1:4001"), ask(1, answer, "a", 1, 0), 0, false},
		{"from a group's member", group, tuple("192.0.2.7:5355", "192.0.2.1:4000"), ask(1, answer, "a", 1, dns.LLMNR), dns.LLMNR, true},
		{"of DNS from a group's member", group, tuple("192.0.2.7:5355", "192.0.2.1:4000"), ask(1, answer, "a", 1, 0), dns.LLMNR, false},
		{"without a question", there, there.Reversed(), &dns.Message{ID: 1}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := dns.NewTable(10, time.Second)
			table.Ask(c.query, ask(1, query, "a", 1, c.protocol), 7, start)
			e := table.Answer(c.answer, c.message)
			if (e != nil) != c.paired {
				t.Fatalf("paired: %v", e != nil)
			}
			if e == nil {
				if table.Len() != 1 || table.Counters.Answered != 0 {
					t.Error("the query is no longer open")
				}
				return
			}
			if e.Name().String() != "a.example" || e.Type != 1 || e.Cookie != 7 || !e.Asked.Equal(start) || e.Tuple != c.query {
				t.Errorf("%+v", e)
			}
			if table.Answer(c.answer, c.message) != nil {
				t.Error("a second answer is paired, too")
			}
		})
	}
}

func TestTableBounds(t *testing.T) {
	table := dns.NewTable(3, 5*time.Second)
	there := tuple("192.0.2.1:4000", "192.0.2.53:53")
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	for i := range 3 {
		if given := table.Ask(there, ask(uint16(i), query, "a", 1, 0), uint64(i), at(i)); given != nil {
			t.Fatalf("%v is given up", given)
		}
	}
	if table.Ask(there, ask(1, query, "a", 1, 0), 9, at(3)); table.Counters.Repeated != 1 {
		t.Error("a repeated query is none")
	}
	if given := table.Ask(there, ask(3, query, "a", 1, 0), 3, at(3)); given == nil || given.Cookie != 0 {
		t.Errorf("given up: %+v", given)
	}
	if e := table.Answer(there.Reversed(), ask(2, answer, "a", 1, 0)); e == nil || e.Cookie != 2 {
		t.Errorf("answered: %+v", e)
	}
	if e := table.Expire(at(5)); e != nil {
		t.Errorf("too early: %+v", e)
	}
	if e := table.Expire(at(6)); e == nil || e.Cookie != 1 || e.Repeats != 1 || !e.Asked.Equal(at(1)) {
		t.Errorf("expired: %+v", e)
	}
	if e := table.Expire(at(6)); e != nil {
		t.Errorf("too early: %+v", e)
	}
	if e := table.Expire(at(100)); e == nil || e.Cookie != 3 || table.Len() != 0 || table.Expire(at(100)) != nil {
		t.Errorf("expired: %+v, %d left", e, table.Len())
	}
	want := dns.Counters{Asked: 4, Repeated: 1, Answered: 1, Unanswered: 2, GivenUp: 1}
	if table.Counters != want {
		t.Errorf("%+v, want %+v", table.Counters, want)
	}
}

func TestTableAllocatesNothing(t *testing.T) {
	table := dns.NewTable(100, time.Second)
	there := tuple("192.0.2.1:4000", "192.0.2.53:53")
	q, a := ask(1, query, "a", 1, 0), ask(1, answer, "a", 1, 0)
	if n := testing.AllocsPerRun(100, func() {
		table.Ask(there, q, 0, start)
		if table.Answer(there.Reversed(), a) == nil {
			t.Fatal("not paired")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
