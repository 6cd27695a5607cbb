package names_test

import (
	"net/netip"
	"testing"

	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
)

// TestPoison: an answer that is not the resolver's to this query teaches nothing.
func TestPoison(t *testing.T) {
	asked := key("a.example", 1)
	change := func(f func(k *names.Key)) *names.Key {
		k := key("a.example", 1)
		f(&k)
		return &k
	}
	elsewhere := netip.MustParseAddrPort("192.0.2.66:53")
	for _, c := range []struct {
		name            string
		asked, answered *names.Key
		rcode           uint16
		want            names.Outcome
	}{
		{"its answer", &asked, &asked, 0, names.Learned},
		{"in other case", &asked, change(func(k *names.Key) { k.Name = []byte("A.exAmple") }), 0, names.Learned},
		{"no query", nil, &asked, 0, names.NotAsked},
		{"another identifier", &asked, change(func(k *names.Key) { k.ID++ }), 0, names.NotAsked},
		{"another type", &asked, change(func(k *names.Key) { k.Type = 28 }), 0, names.NotAsked},
		{"another question", &asked, change(func(k *names.Key) { k.Name = []byte("b.example") }), 0, names.NotAsked},
		{"another port of the client", &asked, change(func(k *names.Key) { k.Tuple.SourcePort++ }), 0, names.NotAsked},
		{"another client", &asked, change(func(k *names.Key) { k.Tuple.Source = elsewhere.Addr() }), 0, names.NotAsked},
		{"another network", &asked, change(func(k *names.Key) { k.Tuple.Zone.Outer = 5 }), 0, names.NotAsked},
		{"another transport", &asked, change(func(k *names.Key) { k.Tuple.Protocol = packet.TCP }), 0, names.NotAsked},
		{"another server", &asked, change(func(k *names.Key) { k.Tuple = tuple(client, elsewhere) }), 0, names.NotResolver},
		{"another port of the server", &asked, change(func(k *names.Key) { k.Tuple.DestinationPort = 5353 }), 0, names.NotResolver},
		{
			"a query to another server", change(func(k *names.Key) { k.Tuple = tuple(client, elsewhere) }),
			change(func(k *names.Key) { k.Tuple = tuple(client, elsewhere) }), 0, names.NotResolver,
		},
		{"an error", &asked, &asked, 3, names.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := newTable(names.Limits{})
			a := parse("a.example A 192.0.2.1 60")
			a.RCode = c.rcode
			if got := table.Learn(c.asked, c.answered, a, start); got != c.want {
				t.Errorf("outcome %v, want %v", got, c.want)
			}
			if table.Len() == 0 == (c.want == names.Learned) {
				t.Errorf("knows %q", contents(table))
			}
		})
	}
	t.Run("no resolvers", func(t *testing.T) {
		table := names.NewTable(names.Limits{})
		if got := table.Learn(&asked, &asked, parse("a.example A 192.0.2.1 60"), start); got != names.NotResolver || table.Len() > 0 {
			t.Errorf("outcome %v", got)
		}
	})
}
