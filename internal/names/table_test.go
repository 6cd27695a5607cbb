package names_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/names"
)

func learn(table *names.Table, name, addr string, ttl int, at time.Time) {
	k := key(name, 1)
	table.Learn(&k, &k, parse(fmt.Sprintf("%s A %s %d", name, addr, ttl)), at)
}

func TestBounds(t *testing.T) {
	addr := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/256, i%256) }
	t.Run("addresses", func(t *testing.T) {
		table := newTable(names.Limits{Addresses: 3})
		for i := range 3 {
			learn(table, "a.example", addr(i), 60, start)
		}
		table.Lookup(netip.MustParseAddr(addr(0)), start) // is used
		learn(table, "a.example", addr(3), 60, start)
		if got, want := contents(table), "10.0.0.0 a.example\n10.0.0.2 a.example\n10.0.0.3 a.example"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if c := table.Counters(); c.AddressesGivenUp != 1 || c.NamesGivenUp != 1 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("names of an address", func(t *testing.T) {
		table := newTable(names.Limits{Names: 2})
		learn(table, "a.example", addr(0), 60, start)
		learn(table, "b.example", addr(0), 60, start.Add(1*time.Second))
		learn(table, "a.example", addr(0), 60, start.Add(2*time.Second))
		learn(table, "c.example", addr(0), 60, start.Add(3*time.Second))
		if got := contents(table); got != "10.0.0.0 a.example c.example" {
			t.Error(got)
		}
		if c := table.Counters(); c.AddressesGivenUp != 0 || c.NamesGivenUp != 1 {
			t.Errorf("%+v", c)
		}
		learn(table, "d.example", addr(0), 60, start.Add(303*time.Second))
		if c := table.Counters(); c.Expired != 1 || c.NamesGivenUp != 1 {
			t.Errorf("an expired name makes room: %+v", c)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		table := newTable(names.Limits{Bytes: 10000})
		for i := range 1000 {
			learn(table, strings.Repeat("x", 60)+".example", addr(i), 60, start)
			if table.Bytes() > 10000 {
				t.Fatalf("%d bytes", table.Bytes())
			}
		}
		if c := table.Counters(); int(c.AddressesGivenUp) != 1000-table.Len() || table.Len() < 20 {
			t.Errorf("%d left, %+v", table.Len(), c)
		}
	})
	t.Run("records", func(t *testing.T) {
		var a names.Answer
		for range 5000 {
			a.Address([]byte("a.example"), 1, netip.MustParseAddr("192.0.2.1"), 60)
		}
		for range 100 {
			a.Alias([]byte(strings.Repeat("x", 5000)), []byte("y"), 60)
		}
		table, k := newTable(names.Limits{}), key("a.example", 1)
		table.Learn(&k, &k, &a, start)
		if c := table.Counters(); c.Omitted != 5100-2048 || c.Learned+c.Refreshed != 2048 {
			t.Errorf("%+v", c)
		}
	})
}

func TestChanges(t *testing.T) {
	table := newTable(names.Limits{Changes: 4})
	learn(table, "a.example", "192.0.2.1", 60, start)
	learn(table, "a.example", "192.0.2.1", 60, start)
	first := table.Generation()
	learn(table, "b.example", "192.0.2.1", 900, start)
	table.Expire(start.Add(10 * time.Minute))
	addr := netip.MustParseAddr("192.0.2.1")
	changes, ok := table.Changes(first, nil)
	want := []names.Change{{Addr: addr, Name: "b.example", Got: true}, {Addr: addr, Name: "a.example"}}
	if first != 1 || !ok || !slices.Equal(changes, want) {
		t.Errorf("from %d on: %+v, %v", first, changes, ok)
	}
	if changes, ok := table.Changes(table.Generation(), nil); !ok || len(changes) != 0 {
		t.Errorf("since now: %+v, %v", changes, ok)
	}
	if _, ok := table.Changes(table.Generation()+1, nil); ok {
		t.Error("changes since a generation that is yet to come")
	}
	for i := range 5 {
		learn(table, fmt.Sprintf("%d.example", i), "192.0.2.2", 60, start)
	}
	if _, ok := table.Changes(first, nil); ok {
		t.Error("more changes than are remembered")
	}
	if _, ok := table.Changes(table.Generation()-5, nil); ok {
		t.Error("one change more than is remembered")
	}
	if changes, ok := table.Changes(table.Generation()-4, nil); !ok || len(changes) != 4 || changes[3].Name != "4.example" {
		t.Errorf("the last four: %+v, %v", changes, ok)
	}
}

// TestModel: whatever is learned, looked up and let expire, the table is like a map
// without bounds, or within them; and its changes make what it holds.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounded := rapid.Bool().Draw(t, "bounded")
		limits := names.Limits{Changes: 1 << 16}
		if bounded {
			limits = names.Limits{Addresses: 3, Names: 2, Bytes: 900, Changes: 1 << 16}
		}
		table := newTable(limits)
		type pair struct{ addr, name string }
		model, mirror := map[pair]time.Time{}, map[pair]bool{}
		now, seen := start, uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second)
			addr := fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 6).Draw(t, "addr"))
			name := fmt.Sprintf("%d.example", rapid.IntRange(1, 5).Draw(t, "name"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				ttl := rapid.IntRange(0, 2000).Draw(t, "ttl")
				learn(table, name, addr, ttl, now)
				until := now.Add(max(names.MinLife, time.Duration(ttl)*time.Second))
				if until.After(model[pair{addr, name}]) {
					model[pair{addr, name}] = until
				}
			case 2:
				table.Expire(now)
			}
			var want []string
			for p, until := range model {
				if p.addr == addr && until.After(now) {
					want = append(want, p.name)
				}
			}
			got := slices.Sorted(slices.Values(table.Lookup(netip.MustParseAddr(addr), now)))
			slices.Sort(want)
			for _, name := range got {
				if !slices.Contains(want, name) {
					t.Fatalf("%s has %q, at most %q", addr, got, want)
				}
			}
			if !bounded && !slices.Equal(got, want) {
				t.Fatalf("%s has %q, want %q", addr, got, want)
			}
			if bounded && (table.Len() > 3 || table.Bytes() > 900 || len(got) > 2) {
				t.Fatalf("%d addresses, %d bytes, %d names", table.Len(), table.Bytes(), len(got))
			}
			changes, ok := table.Changes(seen, nil)
			if !ok {
				t.Fatal("changes are lost")
			}
			for _, c := range changes {
				p := pair{c.Addr.String(), c.Name}
				if mirror[p] == c.Got {
					t.Fatalf("%+v twice", c)
				}
				mirror[p] = c.Got
			}
			seen = table.Generation()
			total := 0
			table.Each(func(addr netip.Addr, list []string) bool {
				total += len(list)
				for _, name := range list {
					if !mirror[pair{addr.String(), name}] {
						t.Fatalf("%v has %s, but no change told so", addr, name)
					}
				}
				return true
			})
			for _, has := range mirror {
				if has {
					total--
				}
			}
			c := table.Counters()
			held := c.Learned - c.Expired - c.NamesGivenUp
			if total != 0 || uint64(countNames(table)) != held {
				t.Fatalf("the mirror has %d names too many, the counters say %d: %s", -total, held, contents(table))
			}
		}
	})
}

func countNames(table *names.Table) (n int) {
	table.Each(func(_ netip.Addr, list []string) bool {
		n += len(list)
		return true
	})
	return n
}
