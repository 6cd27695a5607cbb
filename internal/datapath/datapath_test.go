package datapath

import (
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/policy"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// open gives a datapath that watches nothing.
func open(t testing.TB) *Datapath {
	t.Helper()
	nstest.Need(t)
	d, err := Open(Config{MaxEntries: 1 << 18, OpeningsTold: 1 << 31, Include: []string{"none"}}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := d.pins.remove(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func swap(t testing.TB, d *Datapath, p *policy.Policy) uint32 {
	t.Helper()
	tables, err := classifier.Compile(p, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	number, err := d.Swap(tables, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func TestSecondInstanceIsRefused(t *testing.T) {
	open(t)
	_, err := Open(Config{MaxEntries: 16}, zaptest.NewLogger(t))
	if err == nil {
		t.Fatal("a second instance was let in")
	}
	t.Log(err)
}

func TestCloseLeavesNothing(t *testing.T) {
	d := open(t)
	nstest.Veth(t, "wt0", "wt1")
	d.config.Include = []string{"wt0"}
	swap(t, d, load(t, "mode: prevent\nrules: [{name: a, action: allow, layer4: tcp}]"))
	if err := d.SetKeep(true); err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	if names, err := d.pins.entries(); err != nil || len(names) == 0 {
		t.Fatalf("pins: %v, %v", names, err)
	}
	if err := d.SetKeep(false); err != nil {
		t.Fatal(err)
	}
	if names, err := d.pins.entries(); err != nil || len(names) != 0 {
		t.Fatalf("pins left: %v, %v", names, err)
	}
}
