package datapath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// socket is a connection that a socket of this host has.
type socket struct {
	tuple   packet.Tuple
	inbound bool
	inode   uint32
}

// InboundConnections lists the established TCP connections that others opened
// to this host, those of the host with itself left out.
func InboundConnections() ([]packet.Tuple, error) {
	sockets, err := connectedSockets()
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
func connectedSockets() ([]socket, error) {
	own, err := ownAddresses()
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
				list = appendSocket(list, s, packet.TCP, own)
			}
		}
		udp, err := netlink.SocketDiagUDP(family)
		if err != nil {
			return nil, fmt.Errorf("list UDP sockets: %w", err)
		}
		for _, s := range udp {
			if s.ID.DestinationPort != 0 {
				list = appendSocket(list, s, packet.UDP, own)
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
func appendSocket(list []socket, s *netlink.Socket, protocol uint8, own map[netip.Addr]bool) []socket {
	local, remote := toAddr(s.ID.Source), toAddr(s.ID.Destination)
	if remote.IsLoopback() || own[remote] {
		return list
	}
	return append(list, socket{inode: s.INode, tuple: packet.Tuple{
		Source: local, SourcePort: s.ID.SourcePort,
		Destination: remote, DestinationPort: s.ID.DestinationPort,
		Protocol: protocol,
	}})
}

func ownAddresses() (map[netip.Addr]bool, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range addresses {
		if prefix, ok := a.(*net.IPNet); ok {
			own[toAddr(prefix.IP)] = true
		}
	}
	return own, nil
}

func toAddr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the kernel gives 4 or 16 bytes
	return a.Unmap()
}

// adopt makes entries of the connections that are open before the first packet
// is seen: their direction cannot be told from a packet in the middle. They are
// judged at their next packet.
func (d *Datapath) adopt() error {
	sockets, err := connectedSockets()
	if err != nil {
		return err
	}
	now, err := monotonic()
	if err != nil {
		return err
	}
	own, err := ownSockets()
	if err != nil {
		return err
	}
	for i := range sockets {
		s := &sockets[i]
		k, sourceIsHigh := flowKey(s.tuple)
		f := bpf.ConnectionsFlow{
			Id: rand.Uint64(), First: now, Last: now, Told: uint32(now >> 20),
			Rule: NoRule, ShadowRule: NoRule,
			Tcp:       uint16(bpf.ConnectionsFlowTcpTCP_DATA | bpf.ConnectionsFlowTcpTCP_ANSWERED),
			Direction: uint8(packet.Outbound),
			Flags:     uint16(bpf.ConnectionsFlowFlagsFLOW_SETTLED),
		}
		if s.inbound {
			f.Direction = uint8(packet.Inbound)
		}
		if sourceIsHigh {
			f.Flags |= uint16(bpf.ConnectionsFlowFlagsFLOW_SOURCE_IS_HIGH)
		}
		if own[s.inode] {
			f.Flags |= uint16(bpf.ConnectionsFlowFlagsFLOW_OWN)
		}
		err := d.objects.Flows.Update(k, f, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("take over %v: %w", s.tuple, err)
		}
	}
	return nil
}

// ownSockets are the inodes of the process's own sockets: exporters may have
// connected already.
func ownSockets() (map[uint32]bool, error) {
	const folder = "/proc/self/fd"
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list the process's own sockets: %w", err)
	}
	own := map[uint32]bool{}
	for _, f := range files {
		target, err := os.Readlink(filepath.Join(folder, f.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		var inode uint32
		if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
			own[inode] = true
		}
	}
	return own, nil
}

// flowKey is make_key of bpf/connections.c, and says whether the source is the
// key's high end.
func flowKey(t packet.Tuple) (k bpf.ConnectionsFlowKey, sourceIsHigh bool) {
	k = bpf.ConnectionsFlowKey{
		Low: addressWords(t.Source), High: addressWords(t.Destination),
		ProtocolZone: (uint32(t.Zone.Inner)<<12|uint32(t.Zone.Outer))<<8 | uint32(t.Protocol),
	}
	first, second := t.SourcePort, t.DestinationPort
	if t.IsICMP() {
		first, second = t.ICMPID, uint16(t.ICMPType)<<8|uint16(t.ICMPCode)
	}
	k.LowPort, k.HighPort = networkOrder(first), networkOrder(second)
	order := 0
	for i := range k.Low {
		if order == 0 && k.Low[i] != k.High[i] {
			order = 1
			if k.Low[i] < k.High[i] {
				order = -1
			}
		}
	}
	if order == 0 && t.HasPorts() && k.LowPort > k.HighPort {
		order = 1
	}
	if order <= 0 {
		return k, false
	}
	k.Low, k.High = k.High, k.Low
	if t.HasPorts() {
		k.LowPort, k.HighPort = k.HighPort, k.LowPort
	}
	return k, true
}
