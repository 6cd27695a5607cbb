package datapath

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// inHooks is how many programs are in an interface's hooks.
func inHooks(t *testing.T, name string) (n int) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []side{ingressSide, egressSide} {
		q, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: s.tcx})
		if err == nil {
			n += len(q.Programs)
		} else if !errors.Is(err, unix.EINVAL) { // before Linux 6.6 there is no such hook
			t.Fatal(err)
		}
		all, err := filtersOf(l.Attrs().Index, s)
		if err != nil {
			t.Fatal(err)
		}
		if ownFilter(all) != nil {
			n++
		}
	}
	return n
}

func TestUnload(t *testing.T) {
	for _, c := range []struct {
		name             string
		runs, all, force bool
		refused          bool
	}{
		{name: "nobody runs"},
		{name: "nobody runs, all", all: true},
		{name: "one runs", runs: true, refused: true},
		{name: "one runs, all", runs: true, all: true, refused: true},
		{name: "one runs, force", runs: true, force: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			network(t)
			d := watched(t, zap.NewNop(), 1<<10)
			begin(t, d)
			t.Cleanup(func() { os.RemoveAll(d.pins.folder) })
			if c.runs {
				t.Cleanup(func() { d.Close() })
			} else if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if n := inHooks(t, near); n != 2 {
				t.Fatalf("%d programs in the hooks before it", n)
			}
			removed, err := Unload(c.all, c.force)
			if c.refused {
				var running *RunningError
				if !errors.As(err, &running) || running.PID != os.Getpid() || inHooks(t, near) != 2 {
					t.Errorf("%v, removed %v", err, removed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(removed, "\n")
			if !strings.Contains(text, "-ingress") || !strings.Contains(text, "-egress") || !strings.Contains(text, "maps/flows") {
				t.Errorf("removed %s", text)
			}
			if n := inHooks(t, near); n != 0 {
				t.Errorf("%d programs in the hooks after it", n)
			}
			if _, err := os.Stat(d.pins.folder); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
			if removed, err := Unload(c.all, c.force); err != nil || !c.all && len(removed) > 0 {
				t.Errorf("a second time: %v, %v", removed, err)
			}
		})
	}
}

// TestUser: who has a link or the maps open is found without the lock, which is of another
// network namespace when all are unloaded.
func TestUser(t *testing.T) {
	network(t)
	d := watched(t, zap.NewNop(), 1<<10)
	begin(t, d)
	if pid := d.pins.user(); pid != os.Getpid() {
		t.Errorf("the user is %d", pid)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d.pins.folder) })
	if pid := d.pins.user(); pid != 0 {
		t.Errorf("after its end the user is %d", pid)
	}
}
