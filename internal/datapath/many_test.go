package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
)

// TestManyInterfaces: a host with 200 interfaces more. The figures are logged;
// what is asserted is only that nothing is far off.
func TestManyInterfaces(t *testing.T) {
	nstest.Need(t)
	const pairs = 100 // attaching to one takes some 30 ms, of which the kernel waits most
	d := open(t)
	d.log = zap.NewNop()
	d.config.Include = []string{"many*"}
	for i := range pairs {
		nstest.Veth(t, fmt.Sprintf("many%d", i), fmt.Sprintf("manyb%d", i))
	}
	before := heap()
	began := time.Now()
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	took, grown := time.Since(began), heap()-before
	t.Logf("attached to %d interfaces in %v (%v each), %d bytes of heap each",
		2*pairs, took.Round(time.Millisecond), took/(2*pairs), grown/(2*pairs))
	if n := len(d.Interfaces()); n != 2*pairs {
		t.Fatalf("%d are watched", n)
	}
	if took > time.Minute || grown > 100<<20 {
		t.Error("that is out of proportion")
	}
	began = time.Now()
	if err := d.paths.readLinks(); err != nil {
		t.Fatal(err)
	}
	t.Logf("they are listed in %v", time.Since(began).Round(time.Microsecond))
	began = time.Now()
	d.settleAgain()
	took = time.Since(began)
	t.Logf("looked at again in %v", took.Round(time.Microsecond))
	if took > 10*time.Second {
		t.Error("looking again costs as much as attaching")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManyRoutes: the routing table of a router that knows the Internet's routes.
// Reading it takes a while; that routes come and go must not.
func TestManyRoutes(t *testing.T) {
	nstest.Need(t)
	const routes, table = 100_000, 77
	nstest.Veth(t, "up0", "up1")
	up, err := netlink.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	address, err := netlink.ParseAddr("198.18.0.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(up, address); err != nil {
		t.Fatal(err)
	}
	h, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	change := func(i int, f func(*netlink.Route) error) {
		t.Helper()
		dst := &net.IPNet{IP: net.IPv4(20, byte(i>>16), byte(i>>8), byte(i)), Mask: net.CIDRMask(32, 32)}
		if err := f(&netlink.Route{LinkIndex: up.Attrs().Index, Dst: dst, Gw: net.IPv4(198, 18, 0, 2), Table: table}); err != nil {
			t.Fatal(err)
		}
	}
	p := newPaths(true)
	n, err := openNews(true)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	if err := p.read(); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.routed[up.Attrs().Index]; !ok {
		t.Fatal("an interface with an address is not routed")
	}
	for i := range routes {
		change(i, h.RouteAdd)
	}
	began := time.Now()
	if err := p.readRoutes(); err != nil {
		t.Fatal(err)
	}
	read := time.Since(began)
	t.Logf("%d routes are read in %v", routes, read.Round(time.Millisecond))
	if read > 20*time.Second {
		t.Error("that is out of proportion")
	}
	// News of a tenth of them: what one change costs. What else the kernel tells of
	// the namespace meanwhile is no change of theirs.
	for {
		m, err := n.read(time.Now().Add(100 * time.Millisecond))
		if err == nil && m == nil {
			break
		}
		p.learn(m)
	}
	p.doubtful = false
	for i := range routes / 20 {
		change(i, h.RouteDel)
		change(i, h.RouteAdd)
	}
	began = time.Now()
	told := map[routeChange]bool{}
	for len(told) < routes/10 {
		m, err := n.read(time.Now().Add(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			t.Fatalf("%d changes were told of, of %d", len(told), routes/10)
		}
		work := p.learn(m) || p.doubtful
		if routeChanges(m, table, told) && work {
			t.Fatal("routes of no consequence make work")
		}
		p.doubtful = false
	}
	t.Logf("news of %d changes are taken in in %v each", len(told), time.Since(began)/time.Duration(len(told)))
	// The one route that proves the interface counts, whatever the rest.
	if err := netlink.AddrDel(up, address); err != nil && err != unix.EADDRNOTAVAIL {
		t.Fatal(err)
	}
	m, err := n.read(time.Now().Add(time.Second))
	for err == nil && m != nil && !p.doubtful {
		p.learn(m)
		m, err = n.read(time.Now().Add(time.Second))
	}
	if !p.doubtful {
		t.Error("the proof is gone, and nothing is doubted")
	}
}

// routeChange is one change of one destination's route.
type routeChange struct {
	kind        uint16 // RTM_NEWROUTE or RTM_DELROUTE
	destination netip.Prefix
}

// routeChanges adds those of a routing table that the messages tell of to told. It
// returns whether they tell of nothing else.
func routeChanges(messages []syscall.NetlinkMessage, table uint32, told map[routeChange]bool) (only bool) {
	only = true
	var r route
	for _, m := range messages {
		kind := m.Header.Type
		if (kind != unix.RTM_NEWROUTE && kind != unix.RTM_DELROUTE) || !readRoute(m.Data, &r) || r.key.table != table {
			only = false
			continue
		}
		told[routeChange{kind, r.key.destination}] = true
	}
	return only
}
