package datapath

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// iface is an interface of the network namespace, as the kernel told of it last.
type iface struct {
	index    int
	name     string
	kind     string // "vlan", "vrf", "bridge" …; empty of hardware and loopback
	encap    string // what its packets begin with: "ether", "none" …
	loopback bool
	up       bool
	master   int    // the bridge, bond or VRF that it is part of; 0: none
	parent   int    // what it was made on; 0: nothing, or in another namespace
	vlan     uint32 // of a VLAN device: its id
	table    uint32 // of a VRF: its routing table
	life     uint64 // another one when it goes and comes again under its index
}

// readLink reads a message about an interface (struct ifinfomsg and its
// attributes, <linux/if_link.h>). It returns false for those that tell of a part
// only: bridges' (of another family), and events of wireless drivers (nameless).
func readLink(m []byte) (iface, bool) {
	if len(m) < unix.SizeofIfInfomsg || m[0] != unix.AF_UNSPEC {
		return iface{}, false
	}
	header := nl.DeserializeIfInfomsg(m)
	i := iface{
		index: int(header.Index), encap: header.EncapType(),
		loopback: header.Flags&unix.IFF_LOOPBACK != 0, up: header.Flags&unix.IFF_UP != 0,
	}
	abroad := false
	attributes(m[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			i.name = unix.ByteSliceToString(value)
		case unix.IFLA_MASTER:
			i.master = int(number(value))
		case unix.IFLA_LINK:
			i.parent = int(number(value))
		case unix.IFLA_LINK_NETNSID:
			abroad = true
		case unix.IFLA_LINKINFO:
			i.readKind(value)
		}
	})
	if abroad || i.parent == i.index {
		i.parent = 0
	}
	return i, i.name != ""
}

// readKind reads what interfaces of a kind have beyond the others. The kind comes
// before its data.
func (i *iface) readKind(info []byte) {
	attributes(info, func(kind uint16, value []byte) {
		switch kind {
		case nl.IFLA_INFO_KIND:
			i.kind = unix.ByteSliceToString(value)
		case nl.IFLA_INFO_DATA:
			attributes(value, func(kind uint16, value []byte) {
				switch {
				case i.kind == "vlan" && kind == nl.IFLA_VLAN_ID && len(value) >= 2:
					i.vlan = uint32(binary.NativeEndian.Uint16(value))
				case i.kind == "vrf" && kind == nl.IFLA_VRF_TABLE:
					i.table = number(value)
				}
			})
		}
	})
}
