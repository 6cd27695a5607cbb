package names_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
)

var (
	start    = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	resolver = netip.MustParseAddrPort("192.0.2.53:53")
	client   = netip.MustParseAddrPort("192.0.2.1:40000")
)

func tuple(from, to netip.AddrPort) packet.Tuple {
	return packet.Tuple{
		Source: from.Addr(), SourcePort: from.Port(), Destination: to.Addr(), DestinationPort: to.Port(), Protocol: packet.UDP,
	}
}

func key(name string, kind uint16) names.Key {
	return names.Key{Tuple: tuple(client, resolver), ID: 7, Type: kind, Name: []byte(name)}
}

func newTable(l names.Limits) *names.Table {
	t := names.NewTable(l)
	t.SetResolvers([]netip.AddrPort{resolver})
	return t
}

// parse makes an answer of lines such as "a.example A 192.0.2.1 60", "a.example
// CNAME b.example 60" and "a.example HTTPS b.example 192.0.2.1 60".
func parse(lines string) *names.Answer {
	a := &names.Answer{}
	kinds := map[string]uint16{"A": 1, "AAAA": 28, "SVCB": 64, "HTTPS": 65}
	for line := range strings.SplitSeq(lines, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var ttl uint32
		fmt.Sscan(f[len(f)-1], &ttl)
		switch owner := []byte(f[0]); f[1] {
		case "CNAME":
			a.Alias(owner, []byte(f[2]), ttl)
		case "A", "AAAA":
			a.Address(owner, kinds[f[1]], netip.MustParseAddr(f[2]), ttl)
		default:
			a.Hint(owner, []byte(f[2]), kinds[f[1]], netip.MustParseAddr(f[3]), ttl)
		}
	}
	return a
}

// contents writes a table, an address a line.
func contents(t *names.Table) string {
	var lines []string
	t.Each(func(addr netip.Addr, list []string) bool {
		list = slices.Sorted(slices.Values(list))
		lines = append(lines, addr.String()+" "+strings.Join(list, " "))
		return true
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestLearn(t *testing.T) {
	long := ""
	for i := range 20 {
		long += fmt.Sprintf("n%d.example CNAME n%d.example 60\n", i, i+1)
	}
	for _, c := range []struct {
		name     string
		question string
		kind     uint16
		answer   string
		want     string
		counts   names.Counters
	}{
		{
			name: "addresses", question: "A.example", kind: 1, answer: "a.example A 192.0.2.1 60\na.EXAMPLE. A 192.0.2.2 60",
			want: "192.0.2.1 a.example\n192.0.2.2 a.example", counts: names.Counters{Learned: 2},
		},
		{
			name: "the same twice", question: "a.example", kind: 28, answer: "a.example AAAA 2001:db8::1 60\na.example AAAA 2001:db8::1 60",
			want: "2001:db8::1 a.example", counts: names.Counters{Learned: 1, Refreshed: 1},
		},
		{
			name: "IPv4 in IPv6", question: "a.example", kind: 28, answer: "a.example AAAA ::ffff:192.0.2.1 60",
			want: "192.0.2.1 a.example", counts: names.Counters{Learned: 1},
		},
		{
			name: "chain in order", question: "a.example", kind: 1,
			answer: "a.example CNAME b.example 60\nb.example CNAME c.test 60\nc.test A 192.0.2.1 60",
			want:   "192.0.2.1 a.example b.example c.test", counts: names.Counters{Learned: 3},
		},
		{
			name: "chain out of order", question: "a.example", kind: 1,
			answer: "c.test A 192.0.2.1 60\nb.example CNAME c.test 60\na.example CNAME b.example 60",
			want:   "192.0.2.1 a.example b.example c.test", counts: names.Counters{Learned: 3},
		},
		{
			name: "an address in the middle of a chain", question: "a.example", kind: 1,
			answer: "a.example CNAME b.example 60\nb.example A 192.0.2.1 60\nb.example CNAME c.test 60",
			want:   "192.0.2.1 a.example b.example", counts: names.Counters{Learned: 2},
		},
		{
			name: "two aliases of a name", question: "a.example", kind: 1,
			answer: "a.example CNAME b.example 60\na.example CNAME c.example 60\nc.example A 192.0.2.1 60\nb.example A 192.0.2.2 60",
			want:   "192.0.2.1 a.example c.example\n192.0.2.2 a.example b.example", counts: names.Counters{Learned: 4},
		},
		{
			name: "loop", question: "a.example", kind: 1,
			answer: "a.example CNAME b.example 60\nb.example CNAME a.example 60\nb.example CNAME b.example 60\nb.example A 192.0.2.1 60",
			want:   "192.0.2.1 a.example b.example", counts: names.Counters{Learned: 2},
		},
		{
			name: "long chain", question: "n0.example", kind: 1,
			answer: long + "n16.example A 192.0.2.1 60\nn17.example A 192.0.2.2 60\nn20.example A 192.0.2.3 60",
			want: "192.0.2.1 n0.example n1.example n10.example n11.example n12.example n13.example n14.example n15.example " +
				"n16.example n2.example n3.example n4.example n5.example n6.example n7.example n8.example n9.example",
			counts: names.Counters{Learned: 17, LongChain: 1, OutOfBailiwick: 5},
		},
		{
			name: "hints", question: "a.example", kind: 65,
			answer: "a.example CNAME b.example 60\nb.example HTTPS b.example 192.0.2.1 60\nb.example HTTPS svc.test 2001:db8::1 60",
			want:   "192.0.2.1 a.example b.example\n2001:db8::1 a.example b.example svc.test", counts: names.Counters{Learned: 5},
		},
		{
			name: "any type", question: "a.example", kind: 255, answer: "a.example A 192.0.2.1 60\na.example AAAA 2001:db8::1 60",
			want: "192.0.2.1 a.example\n2001:db8::1 a.example", counts: names.Counters{Learned: 2},
		},
		{
			name: "another type", question: "a.example", kind: 28, answer: "a.example A 192.0.2.1 60\na.example HTTPS a.example 192.0.2.2 60",
			counts: names.Counters{OtherType: 2},
		},
		{
			name: "another name", question: "a.example", kind: 1, answer: "www.bank.test A 192.0.2.1 60\nx.a.example A 192.0.2.2 60",
			counts: names.Counters{OutOfBailiwick: 2},
		},
		{
			name: "aliases of another name", question: "a.example", kind: 1,
			answer: "www.bank.test CNAME a.example 60\na.example A 192.0.2.1 60",
			want:   "192.0.2.1 a.example", counts: names.Counters{Learned: 1, OutOfBailiwick: 1},
		},
		{
			name: "a name that ends in the question", question: "bank.test", kind: 1, answer: `a\.bank.test A 192.0.2.1 60`,
			counts: names.Counters{OutOfBailiwick: 1},
		},
		{
			name: "addresses that nobody connects to", question: "a.example", kind: 255,
			answer: "a.example A 0.0.0.0 60\na.example AAAA :: 60\na.example A 224.0.0.1 60\na.example AAAA ff02::1 60",
			counts: names.Counters{Unusable: 4},
		},
		{name: "the root", question: ".", kind: 1, answer: ". A 192.0.2.1 60"},
		{
			name: "a name that is no text", question: "a\x01.example", kind: 1, answer: "a\x01.example A 192.0.2.1 60",
			counts: names.Counters{Unusable: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := newTable(names.Limits{})
			k := key(c.question, c.kind)
			if outcome := table.Learn(&k, &k, parse(c.answer), start); outcome != names.Learned {
				t.Errorf("outcome %v", outcome)
			}
			if got := contents(table); got != c.want {
				t.Errorf("learned\n%s\nwant\n%s", got, c.want)
			}
			if table.Counters() != c.counts {
				t.Errorf("%+v, want %+v", table.Counters(), c.counts)
			}
		})
	}
}

func TestLife(t *testing.T) {
	table := newTable(names.Limits{})
	learn := func(name, lines string, at time.Duration) {
		k := key(name, 1)
		table.Learn(&k, &k, parse(lines), start.Add(at))
	}
	look := func(at time.Duration, want ...string) {
		t.Helper()
		if got := table.Lookup(netip.MustParseAddr("::ffff:192.0.2.1"), start.Add(at)); !slices.Equal(got, want) {
			t.Errorf("after %v: %q, want %q", at, got, want)
		}
	}
	learn("short.example", "short.example A 192.0.2.1 1", 0)
	learn("long.example", "long.example A 192.0.2.1 600", 0)
	learn("alias.example", "alias.example CNAME long.example 400\nlong.example A 192.0.2.1 600", 0)
	look(5*time.Minute-1, "short.example", "long.example", "alias.example")
	look(5*time.Minute, "long.example", "alias.example")
	look(400*time.Second, "long.example")
	learn("long.example", "long.example A 192.0.2.1 60", 250*time.Second) // promises less than it has
	look(599*time.Second, "long.example")
	if at, ok := table.Next(); !ok || !at.Equal(start.Add(600*time.Second)) {
		t.Errorf("next at %v", at)
	}
	look(600 * time.Second)
	if _, ok := table.Next(); ok || table.Len() != 0 || table.Bytes() != 0 || table.Counters().Expired != 3 {
		t.Errorf("%d addresses, %d bytes left, %d names expired", table.Len(), table.Bytes(), table.Counters().Expired)
	}
}

func TestRefreshed(t *testing.T) {
	table := newTable(names.Limits{})
	learn(table, "a.example", "192.0.2.1", 60, start)
	learn(table, "b.example", "192.0.2.2", 360, start)
	for _, want := range []time.Duration{300, 360} { // of the address that is first
		if at, ok := table.Next(); !ok || !at.Equal(start.Add(want*time.Second)) {
			t.Errorf("next at %v, want after %d s", at, want)
		}
		learn(table, "a.example", "192.0.2.1", 600, start)
	}
}

func TestKeptSlice(t *testing.T) {
	table := newTable(names.Limits{})
	k := key("a.example", 1)
	table.Learn(&k, &k, parse("a.example A 192.0.2.1 60"), start)
	kept := table.Lookup(netip.MustParseAddr("192.0.2.1"), start)
	k = key("b.example", 1)
	table.Learn(&k, &k, parse("b.example A 192.0.2.1 6000"), start)
	table.Expire(start.Add(time.Hour))
	if got := table.Lookup(netip.MustParseAddr("192.0.2.1"), start.Add(time.Hour)); !slices.Equal(got, []string{"b.example"}) {
		t.Errorf("%q", got)
	}
	if !slices.Equal(kept, []string{"a.example"}) {
		t.Errorf("what was handed out is now %q", kept)
	}
}
