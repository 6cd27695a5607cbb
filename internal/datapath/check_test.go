package datapath

import (
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirnet/weir/internal/nstest"
)

// strangeProgram is somebody else's.
func strangeProgram(t *testing.T) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "stranger", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestForeignPins changes what a Weir has left pinned: the next one recognises it,
// and refuses with a sentence or replaces it with one.
func TestForeignPins(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		change  func(t *testing.T, p pins, index int)
		refused string // in the error
		told    string // in the log, where it is replaced
	}{
		{name: "nothing changed", change: func(*testing.T, pins, int) {}},
		{
			name:    "folder of another user",
			change:  func(t *testing.T, p pins, _ int) { must(t, os.Chown(p.folder, 12345, -1)) },
			refused: "belongs to user 12345; accepted are root and user 0",
		},
		{
			name:    "file of another user",
			change:  func(t *testing.T, p pins, _ int) { must(t, os.Chown(p.mapPath("flows"), 12345, -1)) },
			refused: "maps/flows belongs to user 12345",
		},
		{
			name:    "folder that others may write to",
			change:  func(t *testing.T, p pins, _ int) { must(t, os.Chmod(p.folder, 0o777)) },
			refused: "may be written by others than its owner (mode 0777)",
		},
		{
			name:    "map that the group may write to",
			change:  func(t *testing.T, p pins, _ int) { must(t, os.Chmod(p.mapPath("flows"), 0o660)) },
			refused: "may be written by others than its owner (mode 0660)",
		},
		{
			name: "symbolic link",
			change: func(t *testing.T, p pins, _ int) {
				must(t, os.Remove(p.mapPath("flows")))
				must(t, os.Symlink(p.mapPath("counters"), p.mapPath("flows")))
			},
			refused: "maps/flows is not a file, which Weir has there",
		},
		{
			name: "folder in the place of a link",
			change: func(t *testing.T, p pins, index int) {
				must(t, os.Remove(p.linkPath(index, "ingress")))
				must(t, os.Mkdir(p.linkPath(index, "ingress"), 0o700))
			},
			refused: "is not a file, which Weir has there",
		},
		{
			name: "map in the place of a link",
			change: func(t *testing.T, p pins, index int) {
				m, err := ebpf.LoadPinnedMap(p.mapPath("counters"), nil)
				must(t, err)
				defer m.Close()
				must(t, os.Remove(p.linkPath(index, "ingress")))
				clone, err := m.Clone()
				must(t, err)
				defer clone.Close()
				must(t, clone.Pin(p.linkPath(index, "ingress")))
			},
			told: "A pin that is of no use is replaced.",
		},
		{
			name: "program in the place of a map",
			change: func(t *testing.T, p pins, _ int) {
				must(t, os.Remove(p.mapPath("flows")))
				must(t, strangeProgram(t).Pin(p.mapPath("flows")))
			},
			refused: "maps/flows, which an earlier Weir left",
		},
		{
			name: "link to a program that is not ours",
			change: func(t *testing.T, p pins, index int) {
				l, err := link.LoadPinnedLink(p.linkPath(index, "egress"), nil)
				must(t, err)
				defer l.Close()
				must(t, l.Update(strangeProgram(t)))
			},
			refused: `runs program "stranger" (tag`,
		},
		{
			name: "link of another kind",
			change: func(t *testing.T, p pins, index int) {
				program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
					Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
				})
				must(t, err)
				defer program.Close()
				l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: index, Flags: link.XDPGenericMode})
				must(t, err)
				defer l.Close()
				must(t, os.Remove(p.linkPath(index, "ingress")))
				must(t, l.Pin(p.linkPath(index, "ingress")))
			},
			refused: "accepted are those of tcx hooks",
		},
		{
			name: "link of an interface that is gone",
			change: func(t *testing.T, p pins, index int) {
				nstest.Veth(t, "gone0", "gone1")
				l, err := netlink.LinkByName("gone0")
				must(t, err)
				program := strangeProgram(t)
				other, err := link.AttachTCX(link.TCXOptions{Interface: l.Attrs().Index, Program: program, Attach: ebpf.AttachTCXIngress})
				must(t, err)
				defer other.Close()
				must(t, os.Remove(p.linkPath(index, "ingress")))
				must(t, other.Pin(p.linkPath(index, "ingress")))
				must(t, netlink.LinkDel(l))
			},
			told: "the interface that it was made for is gone",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			network(t)
			d := watched(t, zap.NewNop(), 1<<10)
			begin(t, d)
			p := d.pins
			t.Cleanup(func() { os.RemoveAll(p.folder) })
			must(t, d.Close())
			l, err := netlink.LinkByName(near)
			must(t, err)
			c.change(t, p, l.Attrs().Index)

			log, told := observer.New(zap.WarnLevel)
			d, err = Open(Config{MaxEntries: 1 << 10, Include: []string{near}}, zap.New(log))
			if err == nil {
				defer func() { must(t, d.Close()) }()
				swap(t, d, load(t, talkPolicy))
				must(t, d.SetKeep(true))
				err = d.Attach()
			}
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "remove") && !strings.Contains(err.Error(), "takes it away") {
					t.Errorf("want an error with %q and what to do, got %v", c.refused, err)
				}
				return
			}
			must(t, err)
			text := ""
			for _, entry := range told.All() {
				text += entry.Message + " " + entry.ContextMap()["reason"].(string) + "\n"
			}
			if !strings.Contains(text, c.told) || c.told == "" && text != "" {
				t.Errorf("want %q in the log, got %q", c.told, text)
			}
			for _, hook := range []string{"ingress", "egress"} {
				pinned, err := link.LoadPinnedLink(p.linkPath(l.Attrs().Index, hook), nil)
				must(t, err)
				info, err := pinned.Info()
				must(t, err)
				if int(info.TCX().Ifindex) != l.Attrs().Index {
					t.Errorf("the pin %s is of interface %d", hook, info.TCX().Ifindex)
				}
				pinned.Close()
			}
		})
	}
}
