package names_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/weirnet/weir/internal/names"
)

func BenchmarkLookup(b *testing.B) {
	table := newTable(names.Limits{})
	var addrs []netip.Addr
	for i := range 50000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		addrs = append(addrs, addr)
		learn(table, fmt.Sprintf("host-%d.example", i%5000), addr.String(), 3600, start)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if len(table.Lookup(addrs[i%len(addrs)], start)) != 1 {
			b.Fatal("not found")
		}
		i += 7919
	}
}

// BenchmarkAnswer: query and answer from bytes to what is learned anew each time.
func BenchmarkAnswer(b *testing.B) {
	l := newLearner()
	there := tuple(client, resolver)
	query := build(b, 7, "www.example.com.", false, false)
	answer := build(b, 7, "www.example.com.", true, false, "www.example.com.", "www.example.com.")
	b.ReportAllocs()
	for b.Loop() {
		l.packet(there, query, start)
		if l.packet(there.Reversed(), answer, start) != names.Learned {
			b.Fatal("not learned")
		}
	}
}

func BenchmarkLearnNew(b *testing.B) {
	table := newTable(names.Limits{Addresses: 10000})
	var a names.Answer
	k := key("www.example.com", 1)
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		i++
		a.Reset()
		a.Address(k.Name, 1, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 60)
		table.Learn(&k, &k, &a, start)
	}
}
