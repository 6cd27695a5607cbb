package datapath

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/nstest"
)

// earlierWeir makes the next Open one of another version: with another field in
// struct flow, and one more counter.
func earlierWeir(t *testing.T) (current func()) {
	t.Helper()
	endSockets(t)
	loadPrograms = func() (*ebpf.CollectionSpec, error) {
		return ebpf.LoadCollectionSpec("testdata/other_layout.o")
	}
	current = func() { loadPrograms = bpf.LoadConnections }
	t.Cleanup(current)
	return current
}

// endSockets ends what earlier tests left closing: of connections that are open Open
// makes entries, which this package cannot write with the layout of another version.
func endSockets(t *testing.T) {
	t.Helper()
	for limit := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		open, err := connectedSockets(newPaths(false))
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("they are still open: %v", open)
		}
		sockets, err := netlink.SocketDiagTCP(unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sockets {
			local := &net.TCPAddr{IP: s.ID.Source, Port: int(s.ID.SourcePort)}
			remote := &net.TCPAddr{IP: s.ID.Destination, Port: int(s.ID.DestinationPort)}
			netlink.SocketDestroy(local, remote) // or it ends by itself
		}
	}
}

// talk is a UDP conversation over a veth pair whose far end is the test itself:
// out goes to an address that nobody has, and back comes a frame by hand.
type dialogue struct {
	t      *testing.T
	source netip.AddrPort
	conn   *net.UDPConn
}

const (
	talkPolicy = "mode: prevent\nrules: [{name: out, action: allow, direction: outbound, layer4: {udp: 7000-8000}}]"
	near       = "wt0"
)

func watched(t *testing.T, log *zap.Logger, entries uint32) *Datapath {
	t.Helper()
	d, err := Open(Config{MaxEntries: entries, Include: []string{near}}, log)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func begin(t *testing.T, d *Datapath) {
	t.Helper()
	swap(t, d, load(t, talkPolicy))
	if err := d.SetKeep(true); err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
}

// network gives the near end an address, and the neighbor that it sends to.
func network(t *testing.T) {
	t.Helper()
	nstest.Need(t)
	nstest.Veth(t, near, "wt1")
	l, err := netlink.LinkByName(near)
	if err != nil {
		t.Fatal(err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 99, 0, 1), Mask: net.CIDRMask(24, 32)}}
	neighbor := &netlink.Neigh{
		LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 99, 0, 2),
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	}
	if err := errors.Join(netlink.AddrAdd(l, address), netlink.NeighAdd(neighbor)); err != nil {
		t.Fatal(err)
	}
}

func newDialogue(t *testing.T, port int) *dialogue {
	t.Helper()
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(10, 99, 0, 2), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &dialogue{t, c.LocalAddr().(*net.UDPAddr).AddrPort(), c}
}

func (k *dialogue) say(n int) {
	k.t.Helper()
	for range n {
		if _, err := k.conn.Write([]byte("x")); err != nil {
			k.t.Fatal(err)
		}
	}
}

// entries are the connections of a flow table by their ports, packed.
func entries(t *testing.T, d *Datapath) map[uint16]bpf.ConnectionsFlow {
	t.Helper()
	found := map[uint16]bpf.ConnectionsFlow{}
	var key bpf.ConnectionsFlowKey
	var f bpf.ConnectionsFlow
	all := d.objects.Flows.Iterate()
	for all.Next(&key, &f) {
		found[networkOrder(key.LowPort)] = f
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func counted(t *testing.T, d *Datapath) (packets, verdicts uint64) {
	t.Helper()
	traffic, err := d.Traffic()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range traffic {
		if c.Protocol == 17 {
			packets += c.Packets
		}
	}
	list, err := d.Verdicts()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Protocol == 17 {
			verdicts += c.Count
		}
	}
	return packets, verdicts
}

// TestHandover: an earlier Weir with other layouts has ended; the connections that
// it judged go on with ids, counts and verdicts, and so do all counters.
func TestHandover(t *testing.T) {
	network(t)
	current := earlierWeir(t)
	d := watched(t, zaptest.NewLogger(t), 1<<10)
	begin(t, d)
	first, second := newDialogue(t, 7001), newDialogue(t, 7002)
	first.say(3)
	second.say(5)
	since, tables := d.Since, d.tables
	if err := d.AddRuleTotals(map[string]uint64{"gone": 7}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	second.say(2) // nobody reads; the programs judge all the same

	current()
	log, told := observer.New(zap.InfoLevel)
	d = watched(t, zap.New(log), 1<<10)
	t.Cleanup(func() { errors.Join(d.SetKeep(false), d.Close()) })
	versions, err := d.Versions()
	if err != nil || len(versions) != 1 || versions[0].Generation != 1 || versions[0].Rules[len(versions[0].Rules)-1] != "out" {
		t.Errorf("versions %v, %v", versions, err)
	}
	begin(t, d)
	if told.FilterMessageSnippet("have another layout").Len() != 1 || told.FilterMessageSnippet("were taken over").Len() != 1 {
		t.Errorf("the log does not say it: %v", told.All())
	}
	ours := entries(t, d)
	for _, c := range []struct {
		talk    *dialogue
		packets uint64
	}{{first, 3}, {second, 7}} {
		f, ok := ours[c.talk.source.Port()]
		if !ok || f.Id == 0 || f.Packets[0] != c.packets || f.Verdict != uint8(bpf.ConnectionsVerdictALLOWED) || f.Tables != tables {
			t.Errorf("entry of %v: %+v, want %d packets", c.talk.source, f, c.packets)
		}
	}
	first.say(1)
	if f := entries(t, d)[first.source.Port()]; f.Packets[0] != 4 || f.Id != ours[first.source.Port()].Id || f.Tables <= tables {
		t.Errorf("it does not go on: %+v", f)
	}
	if !d.Since.Equal(since) {
		t.Errorf("counted since %v, not %v", d.Since, since)
	}
	if packets, verdicts := counted(t, d); packets != 11 || verdicts != 2 {
		t.Errorf("%d packets, %d verdicts; want 11, 2", packets, verdicts)
	}
	if totals, err := d.RuleTotals(); err != nil || totals["gone"] != 7 {
		t.Errorf("rule totals %v, %v", totals, err)
	}
	// All that is pinned is this one's: the next takes it over as it is.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = watched(t, zap.NewNop(), 1<<10)
	if d.handover != nil || !d.mapsPinned {
		t.Errorf("after it: %v, %t", d.handover, d.mapsPinned)
	}
	now := entries(t, d) // the kernel may have said something of its own meanwhile
	for _, talk := range []*dialogue{first, second} {
		if port := talk.source.Port(); now[port].Id != ours[port].Id {
			t.Errorf("after it the entry of %v is %+v", talk.source, now[port])
		}
	}
}

// TestHandoverOfSize: a flow table of another size is another layout, too. What
// has no room is counted.
func TestHandoverOfSize(t *testing.T) {
	for _, c := range []struct {
		name string
		size uint32
		lost bool
	}{{"larger", 1 << 12, false}, {"smaller", 64, true}} {
		t.Run(c.name, func(t *testing.T) {
			network(t)
			d := watched(t, zaptest.NewLogger(t), 1<<10)
			begin(t, d)
			for port := 7000; port < 7200; port++ {
				newDialogue(t, port).say(1)
			}
			had := len(entries(t, d))
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			log, told := observer.New(zap.WarnLevel)
			d = watched(t, zap.New(log), c.size)
			t.Cleanup(func() { errors.Join(d.SetKeep(false), d.Close()) })
			begin(t, d)
			// Some make room for what comes meanwhile.
			if n := len(entries(t, d)); n < min(had, int(c.size)*3/4) {
				t.Errorf("%d entries of %d", n, had)
			}
			if lost := told.FilterMessageSnippet("had no room").Len() == 1; lost != c.lost {
				t.Errorf("says that some are forgotten: %t", lost)
			}
		})
	}
}

// TestHandoverDied: a process that dies while it takes over leaves the maps whose
// programs are in the hooks.
func TestHandoverDied(t *testing.T) {
	for _, c := range []struct {
		name  string
		until uint64 // what handover_until was when it died
		next  bool   // the next maps are taken
	}{{"before the hooks", 0, false}, {"after", 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			network(t)
			d := watched(t, zap.NewNop(), 1<<10)
			begin(t, d)
			newDialogue(t, 7001).say(1)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = watched(t, zap.NewNop(), 1<<11) // another size
			t.Cleanup(func() { errors.Join(d.SetKeep(false), d.Close()) })
			if err := errors.Join(d.pinNext(), d.setHandover(c.until)); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = watched(t, zap.NewNop(), 1<<11)
			if took := d.handover == nil; took != c.next {
				t.Errorf("took the next maps: %t", took)
			}
			if _, err := os.Stat(d.pins.next()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("they are still there: %v", err)
			}
		})
	}
}

// TestUndescribedMaps: without a description the content is given up, and said so.
func TestUndescribedMaps(t *testing.T) {
	network(t)
	current := earlierWeir(t)
	d := watched(t, zap.NewNop(), 1<<10)
	begin(t, d)
	newDialogue(t, 7001).say(1)
	if err := errors.Join(os.Remove(d.pins.mapPath(layoutsName)), d.Close()); err != nil {
		t.Fatal(err)
	}
	current()
	log, told := observer.New(zap.WarnLevel)
	d = watched(t, zap.New(log), 1<<10)
	t.Cleanup(func() { errors.Join(d.SetKeep(false), d.Close()) })
	begin(t, d)
	if told.FilterMessageSnippet("its connections are forgotten").Len() != 1 {
		t.Errorf("the log does not say it: %v", told.All())
	}
	if _, err := os.Stat(filepath.Join(d.pins.folder, "maps", layoutsName)); err != nil {
		t.Errorf("the new maps are not pinned: %v", err)
	}
	if d.tookOver {
		t.Error("it says that it took over")
	}
}

// TestKernelKnowsTheTypes: the kernel has the maps' types too. That they are kept
// apart all the same is for those without CAP_SYS_ADMIN.
func TestKernelKnowsTheTypes(t *testing.T) {
	d := open(t)
	h, err := d.objects.Flows.Handle()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err != nil {
		t.Fatal(err)
	}
	kernels, err := spec.AnyTypeByName("flow")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := readLayouts(d.layouts)
	if err != nil {
		t.Fatal(err)
	}
	if !sameLayout(kernels, kept["flows.value"]) {
		t.Errorf("the kernel says %v, we %v", kernels, kept["flows.value"])
	}
}

// TestHandoverOfPolicy: tables of another layout are made anew, all of them. What
// the earlier ones counted, their numbers and their rules' names go on.
func TestHandoverOfPolicy(t *testing.T) {
	network(t)
	d := watched(t, zap.NewNop(), 1<<10)
	begin(t, d)
	first := newDialogue(t, 7001)
	first.say(2)
	tables := d.tables
	l, err := readLayouts(d.layouts)
	if err != nil {
		t.Fatal(err)
	}
	l["policy_row"], l["event"] = u32, u32
	other, err := l.store()
	if err != nil {
		t.Fatal(err)
	}
	path := d.pins.mapPath(layoutsName)
	if err := errors.Join(os.Remove(path), other.Pin(path), other.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}

	log, told := observer.New(zap.WarnLevel)
	d = watched(t, zap.New(log), 1<<10)
	t.Cleanup(func() { errors.Join(d.SetKeep(false), d.Close()) })
	versions, err := d.Versions()
	if err != nil || len(versions) != 1 || !versions[0].Gone || versions[0].Tables != tables || versions[0].Generation != 1 {
		t.Errorf("versions %v, %v", versions, err)
	}
	begin(t, d)
	if d.tables <= tables {
		t.Errorf("the tables have number %d after %d", d.tables, tables)
	}
	if told.FilterMessageSnippet("nobody has read are lost").Len() != 1 {
		t.Errorf("the log does not say that events may be lost: %v", told.All())
	}
	totals, err := d.RuleTotals()
	if err != nil || totals["out"] != 1 {
		t.Errorf("rule totals %v, %v", totals, err)
	}
	f := entries(t, d)[first.source.Port()]
	first.say(1)
	if after := entries(t, d)[first.source.Port()]; f.Packets[0] != 2 || after.Packets[0] != 3 || after.Id != f.Id || after.Tables != d.tables {
		t.Errorf("the connection was %+v and is %+v", f, after)
	}
}

// TestChangedInATick: a packet amid a connection is dated to its tick, so that one
// after the last pass may look as if it was before.
func TestChangedInATick(t *testing.T) {
	c := carry{flow: flowFields{first: 0, last: 8}}
	since := uint64(time.Hour)
	for _, test := range []struct {
		first, last time.Duration
		want        bool
	}{
		{time.Hour, time.Hour, true},
		{time.Minute, time.Hour + time.Millisecond, true},
		{time.Minute, time.Hour - 10*time.Millisecond, true},
		{time.Minute, time.Hour - time.Second, false},
	} {
		flow := make([]byte, 16)
		putLE64(flow, uint64(test.first))
		putLE64(flow[8:], uint64(test.last))
		if got := c.isSince(flow, since); got != test.want {
			t.Errorf("first %v, last %v: %t", test.first, test.last, got)
		}
	}
}
