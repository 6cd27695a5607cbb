package packet

// LinkType says how a frame begins: a LINKTYPE_ value of
// https://www.tcpdump.org/linktypes.html.
type LinkType uint16

// The link types that Decode reads.
const (
	LinkNull     LinkType = 0   // BSD loopback: the address family, in the writer's byte order
	LinkEthernet LinkType = 1   // IEEE 802.3, without its preamble
	LinkDLTRaw   LinkType = 12  // raw IP, as some writers number it
	LinkDLTRaw14 LinkType = 14  // raw IP, as OpenBSD numbers it
	LinkRaw      LinkType = 101 // raw IP, either version
	LinkLoop     LinkType = 108 // OpenBSD loopback: the address family in network byte order
	LinkCooked   LinkType = 113 // Linux "cooked" v1, of the "any" device
	LinkIPv4     LinkType = 228 // raw IPv4
	LinkIPv6     LinkType = 229 // raw IPv6
	LinkCooked2  LinkType = 276 // Linux "cooked" v2
)

// EtherTypes (IEEE 802) that Decode tells apart.
const (
	EtherTypeIPv4 uint16 = 0x0800
	EtherTypeARP  uint16 = 0x0806
	EtherTypeIPv6 uint16 = 0x86dd
	// EtherTypeLLC stands for 802.2 frames, which have a length in the type's
	// place; Linux numbers them alike (ETH_P_802_2).
	EtherTypeLLC uint16 = 0x0004

	etherTypeVLAN        uint16 = 0x8100 // 802.1Q
	etherTypeVLANService uint16 = 0x88a8 // 802.1ad
	etherTypeLeast       uint16 = 0x0600 // less is a length
)

const (
	ethernetHeader = 14
	cookedHeader   = 16
	cooked2Header  = 20
	familyHeader   = 4
)

// ARPHRD_ numbers of cooked headers whose protocol field is no EtherType
// (LINKTYPE_LINUX_SLL): FRAD, 802.11 in its three forms, netlink.
func isEtherTypeless(device uint16) bool {
	return device == 770 || device >= 801 && device <= 803 || device == 824
}

// link reads link header and tags, and returns where the network header begins.
func (p *Packet) link(f *Frame, wire int) (int, Outcome) {
	d := f.Data
	need := 0
	switch f.Link {
	case LinkEthernet:
		need = ethernetHeader
	case LinkCooked:
		need = cookedHeader
	case LinkCooked2:
		need = cooked2Header
	case LinkNull, LinkLoop:
		need = familyHeader
	case LinkRaw, LinkDLTRaw, LinkDLTRaw14, LinkIPv4, LinkIPv6:
		need = 1
	default:
		return 0, UnknownLink
	}
	if why := p.missing(f, 0, need, wire); why != 0 {
		return 0, p.malformed(why)
	}
	switch f.Link {
	case LinkEthernet:
		return p.tags(f, be16(d[12:]), need, wire)
	case LinkCooked:
		if isEtherTypeless(be16(d[2:])) {
			return need, NotIP
		}
		return p.tags(f, be16(d[14:]), need, wire)
	case LinkCooked2:
		if isEtherTypeless(be16(d[8:])) {
			return need, NotIP
		}
		return p.tags(f, be16(d), need, wire)
	case LinkNull, LinkLoop:
		p.EtherType = etherTypeOfFamily(d)
		return need, Decoded
	case LinkIPv4:
		p.EtherType = EtherTypeIPv4
	case LinkIPv6:
		p.EtherType = EtherTypeIPv6
	default:
		switch d[0] >> 4 {
		case 4:
			p.EtherType = EtherTypeIPv4
		case 6:
			p.EtherType = EtherTypeIPv6
		default:
			return 0, p.malformed(BadVersion)
		}
	}
	return 0, Decoded
}

// etherTypeOfFamily reads the address family of a loopback header. AF_INET is 2
// everywhere; AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs and Darwin. All
// are one byte, whose place tells the byte order.
func etherTypeOfFamily(d []byte) uint16 {
	var family byte
	switch {
	case d[1] == 0 && d[2] == 0 && d[3] == 0:
		family = d[0]
	case d[0] == 0 && d[1] == 0 && d[2] == 0:
		family = d[3]
	}
	switch family {
	case 2:
		return EtherTypeIPv4
	case 10, 24, 28, 30:
		return EtherTypeIPv6
	}
	return 0
}

// tags reads the VLAN tags, if any, before the payload of type kind at `at`.
// Only the two types that Linux takes for tags (eth_type_vlan) are; a third tag
// is a payload like any other.
func (p *Packet) tags(f *Frame, kind uint16, at, wire int) (int, Outcome) {
	for n := 0; n < MaxTags && (kind == etherTypeVLAN || kind == etherTypeVLANService); n++ {
		if why := p.missing(f, at, 4, wire); why != 0 {
			return 0, p.malformed(why)
		}
		switch id := be16(f.Data[at:]) & reservedID; {
		case id == 0: // names no VLAN, only a priority
		case p.Zone.Outer == 0 || p.Zone.IsVRF():
			p.Zone = Zone{Outer: id}
		case id == reservedID:
			return 0, p.malformed(BadTag)
		default:
			p.Zone.Inner = id
		}
		kind = be16(f.Data[at+2:])
		at += 4
	}
	if kind < etherTypeLeast {
		kind = EtherTypeLLC
	}
	p.EtherType = kind
	return at, Decoded
}
