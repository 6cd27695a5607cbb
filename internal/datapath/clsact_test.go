package datapath

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

const blocksAll = "mode: prevent\nsafeguards: {neighbor-discovery: false}\nrules: [{name: a, action: block}]"

// openFilters gives a datapath that uses clsact, on any kernel, and the index of
// the interface wt0, which it is to watch.
func openFilters(t *testing.T) (d *Datapath, index int) {
	t.Helper()
	d = open(t)
	nstest.Veth(t, "wt0", "wt1")
	d.clsact = true
	d.config.Include = []string{"wt0"}
	l, err := netlink.LinkByName("wt0")
	if err != nil {
		t.Fatal(err)
	}
	return d, l.Attrs().Index
}

func attach(t *testing.T, d *Datapath) {
	t.Helper()
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
}

// names lists the filters of both sides in their order.
func filterNames(t *testing.T, index int) (list []string) {
	t.Helper()
	for _, s := range []side{ingressSide, egressSide} {
		all, err := filtersOf(index, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			name := f.Type()
			if b, ok := f.(*netlink.BpfFilter); ok {
				name = b.Name
			}
			list = append(list, s.name+": "+name)
		}
	}
	return list
}

func expectFilters(t *testing.T, index int, want ...string) {
	t.Helper()
	if got := strings.Join(filterNames(t, index), ", "); got != strings.Join(want, ", ") {
		t.Errorf("filters are [%s], want %q", got, want)
	}
}

func qdiscKind(t *testing.T, index int) string {
	t.Helper()
	all, err := netlink.QdiscList(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT {
			return q.Type()
		}
	}
	return ""
}

// counting is another's filter, which counts what it is shown and lets it pass.
func counting(t *testing.T, index int, preference uint16) (shown func() uint64) {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := makeQdisc(index); err != nil {
		t.Fatal(err)
	}
	err = netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Protocol: unix.ETH_P_ALL, Priority: preference,
		},
		Name: "other", Fd: p.FD(), DirectAction: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() (n uint64) {
		if err := m.Lookup(uint32(0), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// sendFrames sends ten UDP datagrams out of an interface.
func sendFrames(t *testing.T, index int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	data := frame(packet.Tuple{
		Protocol: packet.UDP, Source: address("192.0.2.1"), SourcePort: 4000,
		Destination: address("192.0.2.2"), DestinationPort: 4001,
	})
	for range 10 {
		if err := unix.Sendto(fd, data, 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil && !errors.Is(err, unix.ENOBUFS) {
			t.Fatal(err)
		}
	}
}

// TestFiltersLeaveNothing: at an orderly end filters go as links do, and the qdisc
// with them.
func TestFiltersLeaveNothing(t *testing.T) {
	d, index := openFilters(t)
	attach(t, d)
	expectFilters(t, index, "ingress: weir ingress own-qdisc", "egress: weir egress own-qdisc")
	d.stopWatching()
	d.detachFrom(index)
	expectFilters(t, index)
	if kind := qdiscKind(t, index); kind != "" {
		t.Errorf("a qdisc is left: %s", kind)
	}
}

// TestUnloadRemovesFilters: also those that a process has left without effect.
func TestUnloadRemovesFilters(t *testing.T) {
	d, index := openFilters(t)
	attach(t, d)
	removed, err := unloadFilters()
	if err != nil || len(removed) != 2 || removed[0] != "filter ingress of wt0" {
		t.Errorf("removed %q, %v", removed, err)
	}
	expectFilters(t, index)
	if kind := qdiscKind(t, index); kind != "" {
		t.Errorf("a qdisc is left: %s", kind)
	}
}

// TestFiltersAreTakenOver: what is kept outlives the process; the next gives it its
// own programs; one that is to watch something else removes it.
func TestFiltersAreTakenOver(t *testing.T) {
	nstest.Need(t)
	nstest.Veth(t, "wt0", "wt1")
	l, err := netlink.LinkByName("wt0")
	if err != nil {
		t.Fatal(err)
	}
	index := l.Attrs().Index
	begin := func(include string) *Datapath {
		d, err := Open(Config{MaxEntries: 1 << 10, Include: []string{include}}, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		d.clsact = true
		if err := d.SetKeep(true); err != nil {
			t.Fatal(err)
		}
		attach(t, d)
		return d
	}
	end := func(d *Datapath) {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	programs := func() (list [2]int) {
		for n, s := range []side{ingressSide, egressSide} {
			all, err := filtersOf(index, s)
			if err != nil || ownFilter(all) == nil {
				t.Fatalf("no filter: %v", err)
			}
			list[n] = ownFilter(all).Id
		}
		return list
	}

	d := begin("wt0")
	swap(t, d, load(t, blocksAll))
	first := programs()
	end(d)
	own := []string{"ingress: weir ingress own-qdisc", "egress: weir egress own-qdisc"}
	expectFilters(t, index, own...)
	seen := counting(t, index, 2)
	sendFrames(t, index)
	if n := seen(); n != 0 {
		t.Errorf("%d frames passed while nobody was there to watch", n)
	}

	end(begin("wt0"))
	expectFilters(t, index, append(own, "egress: other")...)
	if second := programs(); second[0] == first[0] || second[1] == first[1] {
		t.Errorf("programs are %v, before %v", second, first)
	}

	d = begin("wt1")
	expectFilters(t, index, "egress: other")
	if err := d.SetKeep(false); err != nil {
		t.Fatal(err)
	}
	end(d)
	if _, err := os.Stat(d.pins.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
}

// TestFilterWithoutProcess: what is not kept lets pass when its process is gone,
// which the kernel closes everything of.
func TestFilterWithoutProcess(t *testing.T) {
	d, index := openFilters(t)
	swap(t, d, load(t, blocksAll))
	seen := counting(t, index, 2)
	attach(t, d)
	before := seen()
	sendFrames(t, index)
	if n := seen() - before; n != 0 {
		t.Errorf("%d frames passed", n)
	}
	for _, h := range d.attached[index].hooks {
		h.(*filterHook).array.Close()
	}
	for end := time.Now().Add(10 * time.Second); seen() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing passes")
		}
		sendFrames(t, index)
	}
}

// TestFiltersOfOthers: Weir comes first, and what it passes the others see.
func TestFiltersOfOthers(t *testing.T) {
	for _, test := range []struct {
		name, policy string
		preference   uint16
		wants        uint64
	}{
		{"passed on to a later preference", "mode: detect", 7, 10},
		{"passed on to the same preference", "mode: detect", 1, 10},
		{"blocked", blocksAll, 7, 0},
		{"blocked before one of the same preference", blocksAll, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, index := openFilters(t)
			swap(t, d, load(t, test.policy))
			seen := counting(t, index, test.preference)
			attach(t, d)
			expectFilters(t, index, "ingress: weir ingress", "egress: weir egress", "egress: other")
			before := seen()
			sendFrames(t, index)
			if n := seen() - before; n < test.wants || test.wants == 0 && n > 0 {
				t.Errorf("the other filter saw %d frames, want %d", n, test.wants)
			}
			d.stopWatching()
			d.detachFrom(index)
			expectFilters(t, index, "egress: other")
			if kind := qdiscKind(t, index); kind != "clsact" {
				t.Errorf("the other's qdisc is %q", kind)
			}
		})
	}
}

// TestLostFilters: what somebody removes is put back.
func TestLostFilters(t *testing.T) {
	for _, lose := range []struct {
		name string
		do   func(index int) error
	}{
		{"the filter", func(index int) error {
			all, err := filtersOf(index, egressSide)
			if err != nil {
				return err
			}
			return netlink.FilterDel(ownFilter(all))
		}},
		{"the qdisc", func(index int) error {
			return netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
				LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
			}})
		}},
	} {
		t.Run(lose.name, func(t *testing.T) {
			d, index := openFilters(t)
			attach(t, d)
			if err := lose.do(index); err != nil {
				t.Fatal(err)
			}
			if err := d.readLinks(); err != nil {
				t.Fatal(err)
			}
			d.settleAgain()
			expectFilters(t, index, "ingress: weir ingress own-qdisc", "egress: weir egress own-qdisc")
		})
	}
}

// TestIngressQdisc: it would take the filter for egress and run it at ingress.
func TestIngressQdisc(t *testing.T) {
	d, index := openFilters(t)
	err := netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(); err == nil || !strings.Contains(err.Error(), "qdisc ingress") {
		t.Errorf("attached, or told something else: %v", err)
	}
	expectFilters(t, index)
}

func TestHeadOf(t *testing.T) {
	bpfAt := func(preference, protocol uint16) netlink.Filter {
		return &netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{Priority: preference, Protocol: protocol}}
	}
	u32At := func(preference uint16) netlink.Filter {
		return &netlink.U32{FilterAttrs: netlink.FilterAttrs{Priority: preference, Protocol: unix.ETH_P_ALL}}
	}
	for _, test := range []struct {
		name    string
		filters []netlink.Filter
		want    uint16
	}{
		{"alone", nil, 1},
		{"a program there", []netlink.Filter{bpfAt(1, unix.ETH_P_ALL)}, 1},
		{"a program for IPv4 there", []netlink.Filter{bpfAt(1, unix.ETH_P_IP)}, 2},
		{"another kind there", []netlink.Filter{u32At(1)}, 2},
		{"two of another kind there", []netlink.Filter{u32At(1), u32At(2)}, 3},
		{"another kind later", []netlink.Filter{u32At(9)}, 1},
	} {
		if got := headOf(test.filters); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
