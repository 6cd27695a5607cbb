package datapath

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/packet"
)

// InboundConnections lists the established TCP connections that others opened
// to this host, those over loopback left out.
func InboundConnections() ([]packet.Tuple, error) {
	var list []packet.Tuple
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return nil, fmt.Errorf("list TCP sockets: %w", err)
		}
		listening := map[uint16]bool{}
		for _, s := range sockets {
			if s.State == netlink.TCP_LISTEN {
				listening[s.ID.SourcePort] = true
			}
		}
		for _, s := range sockets {
			if s.State != netlink.TCP_ESTABLISHED || !listening[s.ID.SourcePort] {
				continue
			}
			local, remote := toAddr(s.ID.Source), toAddr(s.ID.Destination)
			if local.IsLoopback() || remote.IsLoopback() {
				continue
			}
			list = append(list, packet.Tuple{
				Source: remote, SourcePort: s.ID.DestinationPort,
				Destination: local, DestinationPort: s.ID.SourcePort,
				Protocol: packet.TCP,
			})
		}
	}
	return list, nil
}

func toAddr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the kernel gives 4 or 16 bytes
	return a.Unmap()
}
