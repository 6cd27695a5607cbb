package datapath

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// peer is a network namespace at the far end of a veth pair, whose near end wt0 is
// watched.
type peer struct {
	t      testing.TB
	thread chan func()
	tid    int
}

// newPeer makes the namespace, with addresses on both ends.
func newPeer(t testing.TB) *peer {
	t.Helper()
	nstest.Need(t)
	nstest.Veth(t, near, "wt1")
	p := newNamespace(t)
	p.take("wt1")
	p.in(func() { configure(t, "wt1", "10.98.0.2/24", "fd98::2/64") })
	configure(t, near, "10.98.0.1/24", "fd98::1/64")
	return p
}

// newNamespace makes one without any interface but loopback.
func newNamespace(t testing.TB) *peer {
	t.Helper()
	p := &peer{t: t, thread: make(chan func())}
	made := make(chan int)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
		}
		made <- unix.Gettid()
		for f := range p.thread {
			f()
		}
	}()
	p.tid = <-made
	t.Cleanup(func() { close(p.thread) })
	return p
}

// take moves an interface into the peer's namespace.
func (p *peer) take(name string) {
	p.t.Helper()
	ns, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", p.tid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer ns.Close()
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetNsFd(l, int(ns.Fd()))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// configure takes an interface up, and loopback, and gives it addresses.
func configure(t testing.TB, name string, addresses ...string) {
	for _, name := range []string{"lo", name} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Error(err)
		}
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Error(err)
		return
	}
	for _, a := range addresses {
		ip, network, _ := net.ParseCIDR(a)
		network.IP = ip
		if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: network, Flags: unix.IFA_F_NODAD}); err != nil {
			t.Error(err)
		}
	}
}

// in runs f in the peer's namespace.
func (p *peer) in(f func()) {
	done := make(chan struct{})
	p.thread <- func() { defer close(done); f() }
	<-done
}

// looking gives a datapath that watches wt0 and looks into what l says. The copies
// are what was read so far.
func looking(t *testing.T, l Look) (*Datapath, *copies) {
	t.Helper()
	d, err := Open(Config{MaxEntries: 1 << 16, Include: []string{near}}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.SetLook(l); err != nil {
		t.Fatal(err)
	}
	swap(t, d, load(t, "mode: detect\nrules: [{name: a, action: allow, layer4: {icmp: {}}}]"))
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	return d, readCopies(t, d)
}

// readCopies reads until the test ends. The copies are what was read so far.
func readCopies(t *testing.T, d *Datapath) *copies {
	c := &copies{t: t}
	ended := make(chan error)
	go func() { ended <- d.ReadCopies(c.take) }()
	t.Cleanup(func() {
		if err := d.StopReadingCopies(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

type copies struct {
	t    *testing.T
	mu   sync.Mutex
	list []Copy
	then func(*Copy) // called with each
}

// begin forgets what was read, for a test within the test.
func (c *copies) begin(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t, c.list = t, nil
}

func (c *copies) take(list []Copy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range list {
		one.Payload = bytes.Clone(one.Payload)
		c.list = append(c.list, one)
		if c.then != nil {
			c.then(&one)
		}
	}
}

// wait waits until there are such copies.
func (c *copies) wait(what string, are func([]Copy) bool) []Copy {
	c.t.Helper()
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		list := append([]Copy(nil), c.list...)
		c.mu.Unlock()
		if are(list) {
			return list
		}
		if time.Now().After(until) {
			for _, one := range list {
				one.Payload = nil
				c.t.Logf("%+v", one)
			}
			c.t.Fatalf("no %s among %d copies", what, len(list))
		}
	}
}

func ended(list []Copy) bool { return len(list) > 0 && list[len(list)-1].Ended }

// sent puts together what an end sent, as far as it was copied.
func sentBy(t *testing.T, list []Copy, end int) []byte {
	t.Helper()
	var stream []byte
	for i := range list {
		c := &list[i]
		if c.Ended || c.End != end || len(c.Payload) == 0 {
			continue
		}
		if !c.HasInitial[end] {
			t.Fatalf("copy %d does not know the initial number", i)
		}
		at := int(c.Seq - c.Initial[end] - 1)
		if c.Flags&packet.SYN != 0 {
			at++
		}
		if need := at + len(c.Payload); need > len(stream) {
			stream = append(stream, make([]byte, need-len(stream))...)
		}
		copy(stream[at:], c.Payload)
	}
	return stream
}

// exchange lets a client in one namespace send a server in the other, which answers
// with as much, and gives what was said.
func exchange(t *testing.T, p *peer, network string, inbound bool, size int) (said [2][]byte) {
	t.Helper()
	for i := range said {
		said[i] = make([]byte, size)
		rand.Read(said[i])
	}
	here, there := "10.98.0.1:0", "10.98.0.2:0"
	if network == "tcp6" {
		here, there = "[fd98::1]:0", "[fd98::2]:0"
	}
	var listener net.Listener
	var err error
	listen := func(at string) func() { return func() { listener, err = net.Listen(network, at) } }
	if inbound {
		listen(here)()
	} else {
		p.in(listen(there))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, said[0]) {
			err = fmt.Errorf("the server got %d other bytes", len(got))
		}
		if err == nil {
			_, err = c.Write(said[1])
		}
		c.Close()
		served <- err
	}()
	var c net.Conn
	dial := func() { c, err = net.Dial(network, listener.Addr().String()) }
	if inbound {
		p.in(dial)
	} else {
		dial()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(said[0]); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, said[1]) {
		t.Fatalf("the client got %d bytes: %v", len(got), err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return said
}

// TestCopiesOfStreams: what is copied of a TCP connection is what was sent, offloads
// on, and it ends with the connection.
func TestCopiesOfStreams(t *testing.T) {
	p := newPeer(t)
	_, c := looking(t, Look{TCP: true})
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, inbound := range []bool{false, true} {
			for _, size := range []int{1, 100, 1448, 5000, 60_000} {
				t.Run(fmt.Sprintf("%s inbound %v %d", network, inbound, size), func(t *testing.T) {
					c.begin(t)
					said := exchange(t, p, network, inbound, size)
					list := c.wait("end", ended)
					for end, want := range said {
						if got := sentBy(t, list, end); !bytes.Equal(got, want) {
							t.Errorf("of end %d %d bytes were copied, of %d", end, len(got), len(want))
						}
					}
					first := list[0]
					want := packet.Outbound
					if inbound {
						want = packet.Inbound
					}
					if first.Direction != want || first.Interface != near || first.Lost != 0 || first.Prevent || first.Tuple.Protocol != packet.TCP {
						t.Errorf("%+v", first)
					}
					if n := len(list); n > 40 {
						t.Errorf("%d copies", n)
					}
				})
			}
		}
	}
}

// find is the copy that matches.
func find(t *testing.T, list []Copy, match func(*Copy) bool) *Copy {
	t.Helper()
	for i := range list {
		if match(&list[i]) {
			return &list[i]
		}
	}
	t.Fatal("no such copy")
	return nil
}

// stream opens a TCP connection to the peer, whose server reads all and hands over
// its end.
func stream(t *testing.T, p *peer) (ours, theirs net.Conn) {
	t.Helper()
	var listener net.Listener
	var err error
	p.in(func() { listener, err = net.Listen("tcp4", "10.98.0.2:0") })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if ours, err = net.Dial("tcp4", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if theirs, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// say sends n bytes and waits until they came.
func say(t *testing.T, from, to net.Conn, n int) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(make([]byte, n))
		sent <- err
	}()
	if _, err := io.CopyN(io.Discard, to, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func settle(t *testing.T, d *Datapath, s Settlement) SettleResult {
	t.Helper()
	results, err := d.Settle([]Settlement{s})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

func counter(t *testing.T, d *Datapath, name string) uint64 {
	t.Helper()
	all, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Name == name {
			return c.Count
		}
	}
	t.Fatalf("no counter %s", name)
	return 0
}

// windows says how windows and credit are not respected.
func windows(t *testing.T, p *peer, d *Datapath, c *copies) (wrong string) {
	payloads := func(list []Copy) (n int) {
		for i := range list {
			n += len(list[i].Payload)
		}
		return n
	}
	ours, theirs := stream(t, p)
	say(t, ours, theirs, 1000)
	list := c.wait("first bytes", func(l []Copy) bool { return payloads(l) == 1000 })
	first := find(t, list, func(c *Copy) bool { return len(c.Payload) > 0 })
	if first.End != 0 || first.Credit != 1<<16-1000 {
		t.Fatalf("%+v", first)
	}
	// An agent that says nothing gets no more than 64 KiB, and the packet at which
	// they are over.
	say(t, ours, theirs, 1<<20)
	time.Sleep(20 * time.Millisecond)
	list = c.wait("bytes", func([]Copy) bool { return true })
	if n := payloads(list); n < 1<<16 || n > 1<<17 {
		wrong += fmt.Sprintf("%d bytes were copied unasked. ", n)
	}
	if counter(t, d, "copy_withheld") == 0 {
		wrong += "What was withheld is not counted. "
	}
	// What comes now passes, but for the last 100 bytes.
	at := first.Initial[0] + 1 + 1000 + 1<<20
	before := payloads(list)
	window := Settlement{Key: first.Key, ID: first.ID, Windows: [2]*Window{{From: at, Until: at + 500_000, Credit: 1 << 20}}}
	if r := settle(t, d, window); r != Settled {
		t.Fatalf("settled: %d", r)
	}
	say(t, ours, theirs, 500_000)
	time.Sleep(20 * time.Millisecond)
	say(t, ours, theirs, 100)
	list = c.wait("bytes after the window", func(l []Copy) bool { return payloads(l) >= before+100 })
	if n := payloads(list) - before; n != 100 {
		wrong += fmt.Sprintf("Beyond the window %d bytes were copied, not 100. ", n)
	}
	if last := list[len(list)-1]; last.Seq != at+500_000 && wrong == "" || last.Lost == 0 && wrong == "" {
		wrong += fmt.Sprintf("The last copy is at %d after %d lost. ", last.Seq-at, last.Lost)
	}
	return wrong
}

func TestWindows(t *testing.T) {
	p := newPeer(t)
	d, c := looking(t, Look{TCP: true})
	if wrong := windows(t, p, d, c); wrong != "" {
		t.Error(wrong)
	}
}

// eventsOf is what was told since of a connection.
func eventsOf(t *testing.T, d *Datapath, id uint64) (list []told) {
	t.Helper()
	for _, e := range d.drain(t) {
		if e.ID == id {
			list = append(list, e)
		}
	}
	return list
}

// TestDone: nothing is copied after it, and the end is told at once.
func TestDone(t *testing.T) {
	p := newPeer(t)
	d, c := looking(t, Look{TCP: true})
	ours, theirs := stream(t, p)
	say(t, ours, theirs, 10)
	list := c.wait("bytes", func(l []Copy) bool { return len(l) == 1 })
	s := Settlement{Key: list[0].Key, ID: list[0].ID, Application: ApplicationSSH, Done: true}
	other := s
	other.ID++
	if r := settle(t, d, other); r != SettledOtherEpoch {
		t.Errorf("another epoch: %d", r)
	}
	if r := settle(t, d, s); r != Settled {
		t.Errorf("settled: %d", r)
	}
	say(t, ours, theirs, 100)
	ours.Close()
	theirs.Close()
	time.Sleep(50 * time.Millisecond)
	if list := c.wait("", func([]Copy) bool { return true }); len(list) != 1 {
		t.Errorf("%d copies", len(list))
	}
	events := eventsOf(t, d, s.ID)
	if last := events[len(events)-1]; last.Kind != 4 || last.Application != ApplicationSSH {
		t.Errorf("%+v", last)
	}
	if r := settle(t, d, s); r != SettledGone {
		t.Errorf("settled after its end: %d", r)
	}
	var key FlowKey
	if d.objects.Looks.NextKey(nil, &key.key) == nil {
		t.Error("something is left in the table")
	}
}

// TestEndWaitsForDone: the end of a connection that is looked into is told when user
// space has said what it was.
func TestEndWaitsForDone(t *testing.T) {
	p := newPeer(t)
	d, c := looking(t, Look{TCP: true})
	exchange(t, p, "tcp4", false, 10)
	list := c.wait("end", ended)
	if events := eventsOf(t, d, list[0].ID); len(events) != 1 || events[0].Kind != 1 || !events[0].Looked {
		t.Fatalf("%+v", events)
	}
	s := Settlement{
		Key: list[0].Key, ID: list[0].ID, Application: ApplicationHTTP, Done: true,
		Judged: true, Tables: d.tables, Rule: 0, Action: 1, Reason: 1, ShadowRule: NoRule,
	}
	old := s
	old.Tables -= 1 << slotBits
	if r := settle(t, d, old); r != SettledOtherTables {
		t.Errorf("other tables: %d", r)
	}
	if r := settle(t, d, s); r != Settled {
		t.Errorf("settled: %d", r)
	}
	events := eventsOf(t, d, s.ID)
	if len(events) != 2 || events[0].Kind != 2 || events[1].Kind != 4 || events[1].Application != ApplicationHTTP || events[1].Action != 1 {
		t.Errorf("%+v", events)
	}
}

// TestCopiesOfDatagrams: of UDP what each end sent, a superpacket as the datagrams in
// it.
func TestCopiesOfDatagrams(t *testing.T) {
	p := newPeer(t)
	_, c := looking(t, Look{UDP: true})
	var server *net.UDPConn
	var err error
	p.in(func() { server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 98, 0, 2)}) })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	buffer := make([]byte, 2000)
	question := []byte("what is the address")
	client.Write(question)
	n, from, err := server.ReadFromUDP(buffer)
	if err != nil || n != len(question) {
		t.Fatal(n, err)
	}
	server.WriteToUDP([]byte("none"), from)
	if _, err := client.Read(buffer); err != nil {
		t.Fatal(err)
	}
	// Five datagrams of 1000 bytes and one of 500 at once.
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000) })
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 5500)
	rand.Read(big)
	if _, err := client.Write(big); err != nil {
		t.Fatal(err)
	}
	list := c.wait("datagrams", func(l []Copy) bool { return len(l) == 8 })
	if !bytes.Equal(list[0].Payload, question) || list[0].End != 0 || string(list[1].Payload) != "none" || list[1].End != 1 {
		t.Errorf("%+v", list[:2])
	}
	var got []byte
	for i, one := range list[2:] {
		got = append(got, one.Payload...)
		if want := 1000; i < 5 && len(one.Payload) != want || one.Missing != 0 {
			t.Errorf("%+v", one)
		}
	}
	if !bytes.Equal(got, big) {
		t.Error("the datagrams are others")
	}
	if credit := list[7].Credit; credit != 16-7 {
		t.Errorf("credit %d", credit)
	}
}

// TestNothingLookedInto: without anything to look into the program is not in the
// kernel, and no copy is made.
func TestNothingLookedInto(t *testing.T) {
	p := newPeer(t)
	d, c := looking(t, Look{UDP: true})
	exchange(t, p, "tcp4", false, 1000)
	if err := d.SetLook(Look{}); err != nil {
		t.Fatal(err)
	}
	var id uint32
	if err := d.objects.Stages.Lookup(uint32(0), &id); err == nil || d.look != nil {
		t.Errorf("program %d is there, %v", id, err)
	}
	if err := d.SetLook(Look{TCP: true}); err != nil {
		t.Fatal(err)
	}
	if list := c.wait("", func([]Copy) bool { return true }); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	exchange(t, p, "tcp4", false, 1000)
	c.wait("end", ended)
}

// TestCopiesLost: copies that find the ring buffer full are counted, events are not
// among them, and the connection's next copy says so.
func TestCopiesLost(t *testing.T) {
	p := newPeer(t)
	d, err := Open(Config{MaxEntries: 1 << 16, Include: []string{near}}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	swap(t, d, load(t, "mode: detect"))
	if err := errors.Join(d.SetLook(Look{TCP: true}), d.Attach()); err != nil {
		t.Fatal(err)
	}
	ours, theirs := stream(t, p)
	say(t, ours, theirs, 10)
	first := find(t, d.drainCopies(t), func(c *Copy) bool { return len(c.Payload) > 0 })
	if r := settle(t, d, Settlement{Key: first.Key, ID: first.ID, Windows: [2]*Window{{Credit: MaxCredit}}}); r != Settled {
		t.Fatalf("settled: %d", r)
	}
	say(t, ours, theirs, 20<<20)
	if n := counter(t, d, "event_delayed"); n != 0 {
		t.Errorf("%d events were delayed", n)
	}
	list := d.drainCopies(t)
	say(t, ours, theirs, 10) // there is room again
	var told uint64
	for _, one := range append(list, d.drainCopies(t)...) {
		told += uint64(one.Lost)
	}
	if n := counter(t, d, "copy_lost"); n == 0 || told != n {
		t.Errorf("%d are counted, and %d told", n, told)
	}
}

// TestLookMutants: TestWindows notices the faults of the program that copies.
func TestLookMutants(t *testing.T) {
	shipped := loadLook
	defer func() { loadLook = shipped }()
	loadLook = func() (*ebpf.CollectionSpec, error) {
		return ebpf.LoadCollectionSpec("testdata/look_mutants_bpfel.o")
	}
	p := newPeer(t)
	d, c := looking(t, Look{TCP: true})
	for number, name := range map[int]string{0: "no fault", 25: "windows are not respected", 26: "more is copied than was asked for"} {
		setMutantOf(t, d.look, number)
		c.mu.Lock()
		c.list = nil
		c.mu.Unlock()
		wrong := windows(t, p, d, c)
		t.Logf("%s: %s", name, wrong)
		if (wrong == "") != (number == 0) {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}
