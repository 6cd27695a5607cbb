package datapath

import (
	"encoding/binary"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func attribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func word(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// message is a struct rtmsg with its attributes.
func message(family, bits, table, protocol, kind byte, flags int, attributes ...[]byte) []byte {
	m := append([]byte{family, bits, 0, 0, table, protocol, 0, kind}, word(flags)...)
	return append(m, slices.Concat(attributes...)...)
}

func hop(index int) []byte { return append([]byte{8, 0, 0, 0}, word(index)...) }

func TestReadRoute(t *testing.T) {
	const static, unicast = unix.RTPROT_STATIC, unix.RTN_UNICAST
	out := attribute(unix.RTA_OIF, word(7)...)
	to := func(address ...byte) []byte { return attribute(unix.RTA_DST, address...) }
	v6 := func(first ...byte) []byte { return to(append(first, make([]byte, 16-len(first))...)...) }
	for _, test := range []struct {
		name    string
		message []byte
		hops    []int // nil: it does not count
		key     string
		table   uint32
	}{
		{"a default route", message(2, 0, 254, static, unicast, 0, out), []int{7}, "0.0.0.0/0", 254},
		{"of IPv6", message(10, 0, 254, static, unicast, 0, out), []int{7}, "::/0", 254},
		{"a prefix of another table", message(2, 24, 0, static, unicast, 0, to(203, 0, 113, 0), out, attribute(unix.RTA_TABLE, word(51820)...)), []int{7}, "203.0.113.0/24", 51820},
		{"several hops", message(2, 0, 254, static, unicast, 0, attribute(unix.RTA_MULTIPATH, slices.Concat(hop(3), hop(4))...)), []int{3, 4}, "0.0.0.0/0", 254},
		{"an own address", message(2, 32, 255, static, unix.RTN_LOCAL, 0, to(198, 18, 0, 1), out), nil, "", 0},
		{"nowhere", message(2, 0, 254, static, unix.RTN_BLACKHOLE, 0), nil, "", 0},
		{"link-local", message(10, 64, 254, static, unicast, 0, v6(0xfe, 0x80), out), nil, "", 0},
		{"multicast", message(10, 8, 255, static, unicast, 0, v6(0xff), out), nil, "", 0},
		{"a cache entry", message(10, 128, 254, static, unicast, unix.RTM_F_CLONED, v6(0x20, 1), out), nil, "", 0},
		{"MPLS", message(28, 20, 254, static, unicast, 0, out), nil, "", 0},
		{"cut", message(2, 0, 254, static, unicast, 0)[:11], nil, "", 0},
		{"an attribute that says it is longer", message(2, 0, 254, static, unicast, 0, []byte{200, 0, 4, 0}), []int{}, "0.0.0.0/0", 254},
		{"an attribute shorter than its header", message(2, 0, 254, static, unicast, 0, []byte{2, 0, 4, 0}), []int{}, "0.0.0.0/0", 254},
		{"an interface of three bytes", message(2, 0, 254, static, unicast, 0, attribute(unix.RTA_OIF, 1, 2, 3)), []int{0}, "0.0.0.0/0", 254},
		{"a hop that says it is longer", message(2, 0, 254, static, unicast, 0, attribute(unix.RTA_MULTIPATH, 99, 0, 0, 0, 1, 0, 0, 0)), []int{}, "0.0.0.0/0", 254},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r route
			counts := readRoute(test.message, &r)
			if counts != (test.hops != nil) {
				t.Fatalf("counts: %t", counts)
			}
			if counts && (!slices.Equal(r.hops, test.hops) || r.key.destination.String() != test.key || r.key.table != test.table) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestLearn: what news of routes change, and when the tables must be read again.
func TestLearn(t *testing.T) {
	tell := func(kind, flags uint16, table byte, bits byte, protocol byte, hops ...int) syscall.NetlinkMessage {
		var all []byte
		for _, index := range hops {
			all = append(all, hop(index)...)
		}
		m := message(2, bits, table, protocol, unix.RTN_UNICAST, 0, attribute(unix.RTA_MULTIPATH, all...))
		return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind, Flags: flags}, Data: m}
	}
	const (
		add, remove     = unix.RTM_NEWROUTE, unix.RTM_DELROUTE
		static, own, up = unix.RTPROT_STATIC, unix.RTPROT_KERNEL, 1
	)
	p := newPaths(true)
	for _, step := range []struct {
		name              string
		news              syscall.NetlinkMessage
		changed, doubtful bool
	}{
		{"the first route", tell(add, 0, 1, 0, static, up), true, false},
		{"another by the same interface", tell(add, 0, 1, 8, static, up), false, false},
		{"which goes", tell(remove, 0, 1, 8, static, up), false, false},
		{"that of its own address", tell(add, 0, 1, 24, own, up), false, false},
		{"the first goes", tell(remove, 0, 1, 0, static, up), false, false},
		{"the same destination in another table", tell(remove, 0, 2, 24, own, up), false, false},
		{"one by two interfaces", tell(add, 0, 1, 16, static, up, 2), true, false},
		{"which goes to another", tell(add, unix.NLM_F_REPLACE, 1, 16, static, 3), true, true},
		{"the address goes", tell(remove, 0, 1, 24, own, up), false, true},
	} {
		p.doubtful = false
		if changed := p.learn([]syscall.NetlinkMessage{step.news}); changed != step.changed || p.doubtful != step.doubtful {
			t.Errorf("%s: changed %t, doubtful %t", step.name, changed, p.doubtful)
		}
	}
}

// TestChore: it is not put off by further calls, and rests in proportion.
// An interface that is set down is left at once, though its routes may still be there
// when the tables are read again; and they are read again when it is set up.
func TestDownHasNoRoutes(t *testing.T) {
	d := &Datapath{paths: newPaths(true)}
	eth := iface{index: 7, name: "eth0", up: true}
	d.paths.set(eth)
	d.paths.prove(&route{hops: []int{7}})
	for _, up := range []bool{true, false, true} {
		eth.up = up
		d.paths.doubtful = false
		changed := d.paths.set(eth)
		if changed != d.paths.doubtful {
			t.Errorf("up %v: changed %v, to be read again %v", up, changed, d.paths.doubtful)
		}
		if d.isChosen(d.paths.interfaces[7]) != up {
			t.Errorf("up %v: it is chosen, or left, for a route that was read before", up)
		}
	}
}

func TestChore(t *testing.T) {
	var c chore
	c.call(0)
	at := c.at
	c.call(time.Hour)
	if !c.at.Equal(at) || !c.isDue() {
		t.Error("a later call puts it off")
	}
	c.do(func() { time.Sleep(10 * time.Millisecond) })
	if c.isDue() {
		t.Error("it is due and was not called for")
	}
	c.call(0)
	if rest := c.at.Sub(c.ended); rest < pause*10*time.Millisecond || c.isDue() {
		t.Errorf("it rests %v", rest)
	}
}
