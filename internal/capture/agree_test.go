package capture_test

import (
	"encoding/binary"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/packet"
)

// agrees says whether gopacket finds the same addresses, ports and payload
// length in a frame that was Decoded. Later fragments have no ports of their own.
func agrees(p *packet.Packet, f *capture.Frame) bool {
	link := layers.LinkType(f.Link)
	if f.Link == packet.LinkDLTRaw || f.Link == packet.LinkIPv4 || f.Link == packet.LinkIPv6 {
		link = layers.LinkTypeRaw
	}
	theirs := gopacket.NewPacket(f.Data, link, gopacket.DecodeOptions{NoCopy: true, Lazy: true})
	if theirs.ErrorLayer() != nil && theirs.TransportLayer() == nil {
		return true // it stops at options that Decode does not look into
	}
	network := theirs.NetworkLayer()
	if network == nil {
		return false
	}
	ends := network.NetworkFlow()
	if source, _ := netip.AddrFromSlice(ends.Src().Raw()); source != p.Source {
		return false
	}
	if destination, _ := netip.AddrFromSlice(ends.Dst().Raw()); destination != p.Destination {
		return false
	}
	if !p.HasPorts() || p.IsFragment {
		return true
	}
	transport := theirs.TransportLayer()
	if transport == nil {
		return false
	}
	ports := transport.TransportFlow()
	return binary.BigEndian.Uint16(ports.Src().Raw()) == p.SourcePort &&
		binary.BigEndian.Uint16(ports.Dst().Raw()) == p.DestinationPort &&
		len(transport.LayerPayload()) == len(p.CapturedPayload(f.Data))
}
