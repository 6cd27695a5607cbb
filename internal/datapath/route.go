package datapath

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// routeKey names a destination in a routing table; its routes may be several.
type routeKey struct {
	table       uint32
	destination netip.Prefix
}

// route is what matters of a route (struct rtmsg and its attributes,
// <linux/rtnetlink.h>).
type route struct {
	key routeKey
	// connected: the kernel made it, of an interface's own address. It stays as
	// long as the address does.
	connected bool
	hops      []int  // interface indexes; valid until the next readRoute
	nexthop   uint32 // the id of a nexthop object that the hops are in; 0: none
}

// isUnresolved says that the hops are not told, only the object they are in.
func (r *route) isUnresolved() bool { return r.nexthop != 0 && len(r.hops) == 0 }

// attributes calls f with each attribute of a netlink message.
func attributes(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:length])
		b = b[min(len(b), (length+3)&^3):]
	}
}

// readRoute reads a message about a route into r. It returns false for those that
// lead to no other host: to own and broadcast addresses, or nowhere. Every IPv6
// interface has routes for link-local and multicast addresses: they do not count
// either.
func readRoute(m []byte, r *route) bool {
	const attrNexthopID = 30 // RTA_NH_ID
	if len(m) < unix.SizeofRtMsg {
		return false
	}
	family, bits, kind := m[0], int(m[1]), m[7]
	flags := binary.NativeEndian.Uint32(m[8:])
	if kind != unix.RTN_UNICAST || flags&unix.RTM_F_CLONED != 0 {
		return false
	}
	*r = route{key: routeKey{table: uint32(m[4])}, connected: m[5] == unix.RTPROT_KERNEL, hops: r.hops[:0]}
	to := netip.IPv4Unspecified()
	switch family {
	case unix.AF_INET6:
		to = netip.IPv6Unspecified()
	case unix.AF_INET:
	default:
		return false // such as MPLS
	}
	attributes(m[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_TABLE:
			r.key.table = number(value)
		case unix.RTA_OIF:
			r.hops = append(r.hops, int(number(value)))
		case attrNexthopID:
			r.nexthop = number(value)
		case unix.RTA_MULTIPATH:
			r.hops = appendHops(r.hops, value)
		}
	})
	r.key.destination = netip.PrefixFrom(to, bits)
	return !to.IsLinkLocalUnicast() && !to.IsMulticast()
}

func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// appendHops reads the next hops of a multipath route (struct rtnexthop).
func appendHops(hops []int, b []byte) []int {
	for len(b) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return hops
		}
		hops = append(hops, int(number(b[4:])))
		b = b[min(len(b), (length+3)&^3):]
	}
	return hops
}
