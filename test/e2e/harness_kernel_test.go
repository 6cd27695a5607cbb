package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// object is a map, program or link in the kernel, by its id, which is not used
// again soon.
type object struct {
	kind string
	id   uint32
}

// exists says whether the kernel still has it.
func (o object) exists() bool {
	var err error
	var c interface{ Close() error }
	switch o.kind {
	case "map":
		// Not opened: of an array of programs each last file that is closed begins
		// another life of some milliseconds, in which the kernel empties it.
		next, err := ebpf.MapGetNextID(ebpf.MapID(o.id - 1))
		return err == nil && next == ebpf.MapID(o.id)
	case "prog":
		c, err = ebpf.NewProgramFromID(ebpf.ProgramID(o.id))
	case "link":
		c, err = link.NewFromID(link.ID(o.id))
	}
	if err == nil {
		c.Close()
	}
	return !errors.Is(err, os.ErrNotExist)
}

var objectLine = regexp.MustCompile(`(?m)^(map|prog|link)_id:\s+(\d+)$`)

// objects are those that a process has open, and the maps in its maps.
func objects(t *testing.T, pid int) map[object]string {
	t.Helper()
	found := map[object]string{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		for _, match := range objectLine.FindAllStringSubmatch(string(text), -1) {
			var o object
			o.kind = match[1]
			fmt.Sscan(match[2], &o.id)
			if strings.HasSuffix(found[o], " inner") {
				continue // held besides, and named already
			}
			found[o] = o.kind
			if o.kind == "map" {
				nameMap(found, o)
			}
		}
	}
	return found
}

func nameMap(found map[object]string, o object) {
	m, err := ebpf.NewMapFromID(ebpf.MapID(o.id))
	if err != nil {
		return // gone meanwhile
	}
	defer m.Close()
	if info, err := m.Info(); err == nil {
		found[o] = "map " + info.Name
	}
	if m.Type() != ebpf.ArrayOfMaps {
		return
	}
	for slot := range m.MaxEntries() {
		var id ebpf.MapID
		if m.Lookup(slot, &id) == nil && id != 0 {
			found[object{"map", uint32(id)}] = found[o] + " inner"
		}
	}
}

// tally counts objects by what they are.
func tally(objects map[object]string) map[string]int {
	n := map[string]int{}
	for _, what := range objects {
		n[what]++
	}
	return n
}

// awaitGone waits until the kernel has let go of all objects, which it does some
// time after their last user.
func awaitGone(t *testing.T, objects map[object]string) {
	t.Helper()
	awaitOr(t, func() bool {
		maps.DeleteFunc(objects, func(o object, _ string) bool { return !o.exists() })
		return len(objects) == 0
	}, func() { t.Fatalf("the kernel still has %v", objects) })
}

// attached is how many programs are in the interface's two hooks.
func (h *host) attached(t *testing.T, name string) (ingress, egress int) {
	t.Helper()
	h.run(func() {
		i, err := netlink.LinkByName(name)
		if err != nil {
			t.Error(err)
			return
		}
		for _, hook := range []struct {
			at     ebpf.AttachType
			parent uint32 // where the kernel has no tcx
			n      *int
		}{
			{ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS, &ingress},
			{ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS, &egress},
		} {
			filters, err := netlink.FilterList(i, hook.parent)
			if err != nil {
				t.Error(err)
				return
			}
			*hook.n = len(filters)
			q, err := link.QueryPrograms(link.QueryOptions{Target: i.Attrs().Index, Attach: hook.at})
			if errors.Is(err, unix.EINVAL) {
				continue // no tcx
			}
			if err != nil {
				t.Error(err)
				return
			}
			*hook.n += len(q.Programs)
		}
	})
	return ingress, egress
}

// pins are the files that any Weir of this test run has pinned.
func pins(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir("/sys/fs/bpf", func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			list = append(list, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// newPins are those that were not there before. Some of those may have gone:
// each Weir removes what network namespaces that are gone have left.
func newPins(t *testing.T, before []string) (added []string) {
	t.Helper()
	for _, path := range pins(t) {
		if !slices.Contains(before, path) {
			added = append(added, path)
		}
	}
	return added
}

// fds is how many files a process has open.
func fds(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// name is what the kernel calls a program; empty where it is gone.
func (o object) name(t *testing.T) string {
	t.Helper()
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(o.id))
	if err != nil {
		return ""
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Name
}

// entries is how many entries a process's map of that name has.
func entries(t *testing.T, pid int, name string) int {
	t.Helper()
	n := 0
	for o, what := range objects(t, pid) {
		if what != "map "+name {
			continue
		}
		m, err := ebpf.NewMapFromID(ebpf.MapID(o.id))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
		all := m.Iterate()
		for all.Next(&key, &value) {
			n++
		}
	}
	return n
}
