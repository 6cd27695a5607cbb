package datapath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/packet"
)

// socket is a connection that a socket of this host has.
type socket struct {
	tuple   packet.Tuple
	inbound bool
	inode   uint32
	device  int // the interface or VRF it is bound to; 0: none
}

// InboundConnections lists the established TCP connections that others opened
// to this host, those of the host with itself left out.
func InboundConnections() ([]packet.Tuple, error) {
	p := newPaths(false)
	if err := p.read(); err != nil {
		return nil, err
	}
	sockets, err := connectedSockets(p)
	if err != nil {
		return nil, err
	}
	var list []packet.Tuple
	for _, s := range sockets {
		if s.inbound {
			list = append(list, s.tuple)
		}
	}
	return list, nil
}

// connectedSockets lists the TCP and connected UDP sockets of the network
// namespace. A TCP connection is inbound where something listens on its port.
func connectedSockets(p *paths) ([]socket, error) {
	own, err := ownAddresses(p)
	if err != nil {
		return nil, err
	}
	var list []socket
	listening := map[uint16]bool{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		tcp, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return nil, fmt.Errorf("list TCP sockets: %w", err)
		}
		for _, s := range tcp {
			switch s.State {
			case netlink.TCP_LISTEN:
				listening[s.ID.SourcePort] = true
			case netlink.TCP_ESTABLISHED, netlink.TCP_CLOSE_WAIT, netlink.TCP_FIN_WAIT1, netlink.TCP_FIN_WAIT2:
				list = appendSocket(list, p, s, packet.TCP, own)
			}
		}
		udp, err := netlink.SocketDiagUDP(family)
		if err != nil {
			return nil, fmt.Errorf("list UDP sockets: %w", err)
		}
		for _, s := range udp {
			if s.ID.DestinationPort != 0 {
				list = appendSocket(list, p, s, packet.UDP, own)
			}
		}
	}
	for i := range list {
		s := &list[i]
		if s.tuple.Protocol == packet.TCP && listening[s.tuple.SourcePort] {
			s.inbound = true
			t := &s.tuple
			t.Source, t.Destination = t.Destination, t.Source
			t.SourcePort, t.DestinationPort = t.DestinationPort, t.SourcePort
		}
	}
	return list, nil
}

// appendSocket takes a socket as if it were outbound, unless both its ends are
// on this host.
func appendSocket(list []socket, p *paths, s *netlink.Socket, protocol uint8, own map[ownAddress]bool) []socket {
	local, remote := toAddr(s.ID.Source), toAddr(s.ID.Destination)
	device := int(s.ID.Interface)
	if remote.IsLoopback() || own[ownAddress{p.vrfIndex(device), remote}] {
		return list
	}
	return append(list, socket{inode: s.INode, device: device, tuple: packet.Tuple{
		Source: local, SourcePort: s.ID.SourcePort,
		Destination: remote, DestinationPort: s.ID.DestinationPort,
		Protocol: protocol,
	}})
}

// ownAddress is an address of the host in a VRF, by the index of its device, or in
// none (0). One VRF's may be another host's in the next.
type ownAddress struct {
	vrf     int
	address netip.Addr
}

func ownAddresses(p *paths) (map[ownAddress]bool, error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // one that comes just now has no connection
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	own := map[ownAddress]bool{}
	for _, a := range addresses {
		own[ownAddress{p.vrfIndex(a.LinkIndex), toAddr(a.IP)}] = true
	}
	return own, nil
}

// vrfIndex is the index of the VRF that an interface is in; 0: none.
func (p *paths) vrfIndex(index int) int {
	if vrf := p.vrfOf(p.interfaces[index]); vrf != nil {
		return vrf.index
	}
	return 0
}

func toAddr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the kernel gives 4 or 16 bytes
	return a.Unmap()
}
