package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/packet"
)

// ways are where a connection may pass this host, beside a veth pair.
type ways struct {
	client, server func(func()) // run in the namespace of that end
	address        string       // of the server
	include        []string
	want           packet.Direction
}

func here(f func()) { f() }

func defaultRoute(t *testing.T, through string) {
	t.Helper()
	if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(through)}); err != nil {
		t.Error(err)
	}
}

// forwardedWay is through this host, from one veth pair to another.
func forwardedWay(t *testing.T) ways {
	p := newPeer(t)
	nstest.Veth(t, "wt2", "wt3")
	other := newNamespace(t)
	other.take("wt3")
	other.in(func() { configure(t, "wt3", "10.99.0.2/24"); defaultRoute(t, "10.99.0.1") })
	configure(t, "wt2", "10.99.0.1/24")
	p.in(func() { defaultRoute(t, "10.98.0.1") })
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	return ways{p.in, other.in, "10.99.0.2:0", []string{near, "wt2"}, packet.Forwarded}
}

// bridgedWay is through a bridge of this host.
func bridgedWay(t *testing.T) ways {
	nstest.Need(t)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "wtbr"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Skipf("no bridges: %v", err)
	}
	t.Cleanup(func() { netlink.LinkDel(bridge) })
	var ends []*peer
	for i, pair := range [][2]string{{"wt0", "wt1"}, {"wt2", "wt3"}} {
		nstest.Veth(t, pair[0], pair[1])
		p := newNamespace(t)
		p.take(pair[1])
		p.in(func() { configure(t, pair[1], []string{"10.96.0.2/24", "10.96.0.3/24"}[i]) })
		port, err := netlink.LinkByName(pair[0])
		if err == nil {
			err = netlink.LinkSetMaster(port, bridge)
		}
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, p)
	}
	configure(t, "wtbr", "10.96.0.1/24")
	return ways{ends[0].in, ends[1].in, "10.96.0.3:0", []string{"wt*"}, packet.Forwarded}
}

// toBridgeWay is from a port of a bridge to this host.
func toBridgeWay(t *testing.T) ways {
	w := bridgedWay(t)
	// The port that it comes in by may not have the bridge's address, and then cannot
	// tell it from what is forwarded.
	w.server, w.address, w.want = here, "10.96.0.1:0", 0
	return w
}

func vlanWay(both bool) func(t *testing.T) ways {
	return func(t *testing.T) ways {
		p := newPeer(t)
		make := func(on, name, address string) {
			parent, err := netlink.LinkByName(on)
			if err != nil {
				t.Error(err)
				return
			}
			v := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: parent.Attrs().Index}, VlanId: 5}
			if err := netlink.LinkAdd(v); errors.Is(err, unix.EOPNOTSUPP) {
				return
			} else if err != nil {
				t.Error(err)
				return
			}
			configure(t, name, address)
		}
		make(near, "wt0.5", "10.97.0.1/24")
		p.in(func() { make("wt1", "wt1.5", "10.97.0.2/24") })
		if _, err := netlink.LinkByName("wt0.5"); err != nil {
			t.Skip("no VLAN devices in this kernel")
		}
		w := ways{here, p.in, "10.97.0.2:0", []string{near}, packet.Outbound}
		if both {
			w.include = append(w.include, "wt0.5")
		}
		return w
	}
}

// tunWay is by a device without an Ethernet header.
func tunWay(inbound bool) func(t *testing.T) ways {
	return func(t *testing.T) ways {
		nstest.Need(t)
		p := newNamespace(t)
		open := func(name, address string) (f *os.File) {
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
			if err != nil {
				t.Error(err)
				return nil
			}
			request, _ := unix.NewIfreq(name)
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
				t.Error(err)
			}
			configure(t, name, address)
			f = os.NewFile(uintptr(fd), name)
			t.Cleanup(func() { f.Close() })
			return f
		}
		ours := open("wttun0", "10.95.0.1/24")
		var theirs *os.File
		p.in(func() { theirs = open("wttun1", "10.95.0.2/24") })
		for _, pair := range [][2]*os.File{{ours, theirs}, {theirs, ours}} {
			go func() {
				b := make([]byte, 65536)
				for {
					n, err := pair[0].Read(b)
					if err != nil {
						return
					}
					pair[1].Write(b[:n])
				}
			}()
		}
		if inbound {
			return ways{p.in, here, "10.95.0.1:0", []string{"wttun0"}, packet.Inbound}
		}
		return ways{here, p.in, "10.95.0.2:0", []string{"wttun0"}, packet.Outbound}
	}
}

// TestHeldAlongWays: whichever way a connection passes this host, what its client
// says waits, what is released arrives, each packet is held once, and both ends are
// told when it is blocked.
func TestHeldAlongWays(t *testing.T) {
	for name, way := range map[string]func(*testing.T) ways{
		"forwarded": forwardedWay, "bridged": bridgedWay, "to a bridge": toBridgeWay,
		"tagged": vlanWay(false), "VLAN device and the one beneath": vlanWay(true),
		"tun outbound": tunWay(false), "tun inbound": tunWay(true),
	} {
		t.Run(name, func(t *testing.T) {
			w := way(t)
			_, j := holdingAt(t, Config{MaxEntries: 1 << 16, Include: w.include}, needsFacts, HoldConfig{}, nil)
			connect := func() (client, server net.Conn) {
				var listener net.Listener
				var err error
				w.server(func() { listener, err = net.Listen("tcp4", w.address) })
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				w.client(func() { client, err = net.DialTimeout("tcp4", listener.Addr().String(), 3*time.Second) })
				if err != nil {
					t.Fatal(err)
				}
				if server, err = listener.Accept(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { client.Close(); server.Close() })
				return client, server
			}
			client, server := connect()
			client.Write([]byte("request"))
			list := j.wait("request", func(l []Held) bool { return len(l) > 0 })
			server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if n, err := server.Read(make([]byte, 100)); err == nil {
				t.Fatalf("%d bytes came before the verdict", n)
			}
			if w.want != 0 && list[0].Direction != w.want || list[0].End != 0 || string(list[0].Payload) != "request" {
				t.Errorf("%+v", list[0].Copy)
			}
			settle(t, j.d, j.verdict(&list[0], 1))
			j.release()
			server.SetReadDeadline(time.Now().Add(3 * time.Second))
			got := make([]byte, 7)
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, []byte("request")) {
				t.Fatalf("%q %v", got, err)
			}
			say(t, server, client, 100_000)
			say(t, client, server, 100_000)
			seen := map[uint32]int{}
			for _, h := range j.wait("", func([]Held) bool { return true }) {
				if seen[h.Seq]++; h.End == 0 && h.Seq == list[0].Seq && seen[h.Seq] > 2 {
					t.Errorf("the request was held %d times", seen[h.Seq])
				}
			}

			client, server = connect()
			client.Write([]byte("another"))
			list = j.wait("second request", func(l []Held) bool { return string(l[len(l)-1].Payload) == "another" })
			settle(t, j.d, j.verdict(&list[len(list)-1], 2))
			j.mu.Lock()
			for _, p := range j.kept {
				if string(p.Payload()) == "another" {
					if err := j.d.Reset(p, p.seq); err != nil {
						t.Error(err)
					}
					break
				}
			}
			j.kept = nil
			j.mu.Unlock()
			for end, c := range map[string]net.Conn{"client": client, "server": server} {
				c.SetReadDeadline(time.Now().Add(3 * time.Second))
				if n, err := c.Read(got); !errors.Is(err, syscall.ECONNRESET) {
					all, _ := j.d.Counters()
					t.Errorf("the %s gets %d bytes, %v; %v", end, n, err, all)
				}
			}
		})
	}
}

// TestNothingIsLeft: neither files nor devices nor entries, however often it is
// switched on and off, also while somebody reads.
func TestNothingIsLeft(t *testing.T) {
	for _, queues := range []int{1, 3} {
		t.Run(fmt.Sprintf("queues %d", queues), func(t *testing.T) {
			c := HoldConfig{Queues: queues}
			p := newPeer(t)
			d, j := holding(t, needsFacts, c, nil)
			files := func() int {
				list, err := os.ReadDir("/proc/self/fd")
				if err != nil {
					t.Fatal(err)
				}
				return len(list)
			}
			there := func() (devices int) {
				for queue := range queues {
					if _, err := netlink.LinkByName(tapNameOf(queue)); err == nil {
						devices++
					}
				}
				return devices
			}
			j.stop()
			before := files()
			for range 5 {
				if err := d.SetHold(false, c); err != nil {
					t.Fatal(err)
				}
				if n := there(); n > 0 {
					t.Fatalf("%d devices are still there", n)
				}
				if err := d.SetHold(true, c); err != nil {
					t.Fatal(err)
				}
				if n := there(); n != queues {
					t.Fatalf("there are %d devices", n)
				}
				j.start()
				client, accepted := dialled(t, p, "tcp4", false)
				server := <-accepted
				client.Write([]byte("x"))
				j.wait("byte", func(l []Held) bool { return len(l) > 0 })
				j.stop()
				client.Close()
				server.Close()
			}
			if now := files(); now > before+10 { // those of listeners
				t.Errorf("%d files are open, %d were", now, before)
			}
			if _, err := Open(Config{MaxEntries: 1 << 16}, zaptest.NewLogger(t)); err == nil {
				t.Error("two instances")
			}
		})
	}
}

// TestRoomIsUsedUp: what needs facts and finds no room is answered by on_error.
func TestRoomIsUsedUp(t *testing.T) {
	for answer, passes := range map[string]bool{"allow": true, "block": false} {
		t.Run(answer, func(t *testing.T) {
			p := newPeer(t)
			rule := "mode: prevent\ndefault_action: allow\nreject: never\non_error: {overload: " + answer + "}\nrules: [{name: w, action: block, layer7: {http: [bad.example]}}]"
			d, j := holdingAt(t, Config{MaxEntries: 16, Include: []string{near}}, rule, HoldConfig{}, nil)
			// Four connections of which something is held are all that there is room for.
			for i := range 4 {
				client, _ := dialled(t, p, "tcp4", false)
				client.Write([]byte("x"))
				j.wait("byte", func(l []Held) bool { return len(l) > i })
			}
			client, accepted := dialled(t, p, "tcp4", false)
			server := <-accepted
			defer server.Close()
			client.Write([]byte("more"))
			server.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := server.Read(make([]byte, 100))
			if passes && n != 4 || !passes && err == nil {
				t.Errorf("%d bytes came: %v", n, err)
			}
			if counter(t, d, "looks_full") == 0 || counter(t, d, "unheld") == 0 {
				t.Error("it is not counted")
			}
		})
	}
}

// TestKeptWithoutAgent: what is kept when the process ends goes on answering what
// waits for user space by on_error.agent_down, and the next process holds again.
func TestKeptWithoutAgent(t *testing.T) {
	for answer, passes := range map[string]bool{"allow": true, "block": false} {
		t.Run(answer, func(t *testing.T) {
			p := newPeer(t)
			text := "mode: prevent\nreject: never\non_error: {agent_down: " + answer + "}\nrules: [{name: w, action: block, layer7: {http: [bad.example]}}, {name: rest, action: allow}]"
			d, j := holding(t, text, HoldConfig{}, nil)
			if err := d.SetKeep(true); err != nil {
				t.Fatal(err)
			}
			held, accepted := dialled(t, p, "tcp4", false)
			waiting := <-accepted
			defer waiting.Close()
			held.Write([]byte("x"))
			j.wait("byte", func(l []Held) bool { return len(l) > 0 })
			j.stop()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := netlink.LinkByName(tapName); err == nil {
				t.Error("the device is still there")
			}
			fresh, accepted := dialled(t, p, "tcp4", false)
			server := <-accepted
			defer server.Close()
			for client, server := range map[net.Conn]net.Conn{held: waiting, fresh: server} {
				client.Write([]byte("more"))
				server.SetReadDeadline(time.Now().Add(700 * time.Millisecond))
				n, err := server.Read(make([]byte, 100))
				if passes != (n > 0) {
					t.Errorf("%d bytes came: %v", n, err)
				}
			}
			d, err := Open(Config{MaxEntries: 1 << 16, Include: []string{near}}, zaptest.NewLogger(t))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := d.SetHold(true, HoldConfig{}); err != nil {
				t.Fatal(err)
			}
			if err := d.Attach(); err != nil {
				t.Fatal(err)
			}
			j = &judge{t: t, d: d}
			j.start()
			defer j.stop()
			last, _ := dialled(t, p, "tcp4", false)
			last.Write([]byte("again"))
			j.wait("byte", func(l []Held) bool { return len(l) > 0 && string(l[len(l)-1].Payload) == "again" })
			if err := d.SetKeep(false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHeldTag: a VLAN tag is held and sent on with its packet, and its connection is
// another one than that without.
func TestHeldTag(t *testing.T) {
	p := newPeer(t)
	_, j := holding(t, "mode: prevent\nrules: [{name: dns, action: allow, layer7: {dns: [good.example]}}]", HoldConfig{}, nil)
	var fd int
	var err error
	open := func(name string) (fd int) {
		const all = uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		var i *net.Interface
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return fd
		}
		if i, err = net.InterfaceByName(name); err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
		}
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3})
		return fd
	}
	p.in(func() { fd = open("wt1") })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ours := open(near)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ours)
	tp := packet.Tuple{Source: address("10.98.0.1"), Destination: address("10.98.0.2"), Protocol: packet.UDP, SourcePort: 4000, DestinationPort: 53}
	datagram := append(udpDatagram(tp, 0), "question"...)
	datagram[5] = byte(len(datagram))
	h := headers{to: [6]byte{2, 0, 0, 0, 0, 7}, tags: []uint16{5}, hopLimit: 64}
	frame := h.build(tp, withChecksum(tp, datagram))
	if _, err := unix.Write(ours, frame); err != nil {
		t.Fatal(err)
	}
	list := j.wait("datagram", func(l []Held) bool { return len(l) == 1 })
	if list[0].Tuple.Zone.Outer != 5 || string(list[0].Payload) != "question" {
		t.Errorf("%+v", list[0].Copy)
	}
	j.release()
	b, control := make([]byte, 2000), make([]byte, 200)
	for {
		n, c, _, _, err := unix.Recvmsg(fd, b, control, 0)
		if err != nil {
			t.Fatalf("it does not arrive: %v", err)
		}
		if !bytes.Contains(b[:n], []byte("question")) {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(control[:c])
		if err != nil || len(messages) == 0 || len(messages[0].Data) < 20 {
			t.Fatal(messages, err)
		}
		if tag := binary.NativeEndian.Uint16(messages[0].Data[16:]); tag != 5 || !bytes.Equal(b[:12], frame[:12]) || !bytes.Equal(b[12:n], frame[16:]) {
			t.Errorf("it arrives with tag %d: %x", tag, b[:n])
		}
		return
	}
}
