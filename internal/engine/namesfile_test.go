package engine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
)

// learned is a table that knows www.example.com's address.
func learned(now time.Time) (*names.Table, netip.Addr) {
	t := names.NewTable(names.Limits{})
	t.BelieveAnyone()
	addr := netip.MustParseAddr("192.0.2.1")
	k := names.Key{Tuple: packet.Tuple{DestinationPort: 53}, Type: 1, Name: []byte("www.example.com")}
	var a names.Answer
	a.Address(k.Name, 1, addr, 3600)
	t.Learn(&k, &k, &a, now)
	return t, addr
}

func TestNamesFile(t *testing.T) {
	now := time.Now()
	core, logged := observer.New(zap.WarnLevel)
	f := namesFile{path: filepath.Join(t.TempDir(), "state", "names"), log: zap.New(core)}
	table, addr := learned(now)
	f.load(names.NewTable(names.Limits{}), now) // there is none yet
	if f.due(now) || !f.due(now.Add(saveInterval)) {
		t.Error("it is not due a minute later")
	}
	f.write(f.content(table, now))
	if f.content(table, now) != nil {
		t.Error("there is something new to save")
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	next := names.NewTable(names.Limits{})
	f.load(next, now.Add(time.Minute))
	if got := next.Lookup(addr, now.Add(time.Minute)); !slices.Equal(got, []string{"www.example.com"}) {
		t.Errorf("it knows %v", got)
	}
	if logged.Len() > 0 {
		t.Errorf("it says %v", logged.All())
	}

	saved, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"damaged":     func() error { return os.WriteFile(f.path, append(saved[:len(saved)-1], saved[len(saved)-1]^1), 0o600) },
		"for all":     func() error { return os.Chmod(f.path, 0o644) },
		"not a file":  func() error { return os.Mkdir(f.path, 0o700) },
		"a long line": func() error { return os.WriteFile(f.path, make([]byte, 1<<20), 0o600) },
	} {
		if err := os.RemoveAll(f.path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path, saved, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "not a file" {
			os.Remove(f.path)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		empty := names.NewTable(names.Limits{})
		f.load(empty, now)
		if empty.Len() > 0 || len(logged.TakeAll()) != 1 {
			t.Errorf("%s: it knows %d addresses", name, empty.Len())
		}
	}
	// Who keeps nothing writes nothing.
	off := namesFile{log: zap.NewNop()}
	if off.content(table, now) != nil {
		t.Error("there is something to save")
	}
}
