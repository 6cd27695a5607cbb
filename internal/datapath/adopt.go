package datapath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// adopt makes entries of the connections that are open before the first packet
// is seen: their direction cannot be told from a packet in the middle. They are
// judged at their next packet.
func (d *Datapath) adopt() error {
	sockets, err := connectedSockets(d.paths)
	if errors.Is(err, unix.ENOENT) {
		d.log.Warn("This kernel does not list sockets (modules inet_diag, tcp_diag and udp_diag): of connections that are open already, " +
			"the direction is guessed from their ports.")
		return nil
	}
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
	if err := d.paths.setZones(sockets); err != nil {
		return err
	}
	for i := range sockets {
		s := &sockets[i]
		k, sourceIsHigh := flowKey(s.tuple)
		f := bpf.ConnectionsFlow{
			Id: rand.Uint64(), First: now, Last: now, Told: uint32(now >> 20),
			Rule: NoRule, ShadowRule: NoRule,
			Tcp:       uint32(bpf.ConnectionsFlowTcpTCP_DATA | bpf.ConnectionsFlowTcpTCP_ANSWERED),
			Direction: uint8(packet.Outbound),
			Flags:     uint32(bpf.ConnectionsFlowFlagsFLOW_SETTLED),
		}
		if s.inbound {
			f.Direction = uint8(packet.Inbound)
		}
		if sourceIsHigh {
			f.Flags |= uint32(bpf.ConnectionsFlowFlagsFLOW_SOURCE_IS_HIGH)
		}
		if own[s.inode] {
			f.Flags |= uint32(bpf.ConnectionsFlowFlagsFLOW_OWN)
		}
		err := d.objects.Flows.Update(k, f, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("take over %v: %w", s.tuple, err)
		}
	}
	return nil
}

// setZones gives each connection the zone of the interface that it leaves by,
// which the routing tables know. Where no interface is in a zone they are not
// asked.
func (p *paths) setZones(sockets []socket) error {
	zones := p.zones()
	if len(zones) == 0 {
		return nil
	}
	tables, err := netlink.NewHandle(unix.NETLINK_ROUTE) // one socket for all questions
	if err != nil {
		return fmt.Errorf("ask for routes: %w", err)
	}
	defer tables.Close()
	type way struct {
		local, remote netip.Addr
		device        int
	}
	known := map[way]uint32{}
	for i := range sockets {
		s := &sockets[i]
		w := way{s.tuple.Source, s.tuple.Destination, s.device}
		if s.inbound {
			w.local, w.remote = w.remote, w.local
		}
		zone, found := known[w]
		if !found {
			routes, err := tables.RouteGetWithOptions(w.remote.AsSlice(), &netlink.RouteGetOptions{
				SrcAddr: w.local.AsSlice(), OifIndex: w.device,
			})
			zone = zones[w.device]
			if err == nil && len(routes) > 0 {
				zone = zones[routes[0].LinkIndex]
			}
			known[w] = zone
		}
		s.tuple.Zone = packet.Zone{Outer: uint16(zone & vlanID), Inner: uint16(zone >> 12)}
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
