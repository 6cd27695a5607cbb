package engine

import (
	"net/netip"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// hook says how the host that recorded the frame saw its packet. A capture does not
// tell: what bears none of its addresses passes by.
func (r *Replay) hook(p *packet.Packet) flow.Hook {
	h := flow.Hook{Interface: 1}
	switch {
	case r.isLocal(p.Source):
		h.Egress, h.SentByHost = true, true
		h.Loopback = p.Source.IsLoopback()
	case r.isLocal(p.Destination):
		h.ForHost = true
	case len(r.config.Addresses) > 0:
		h.ForHost = p.Destination.IsMulticast() || p.Destination == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	return h
}

// isLocal: loopback addresses are those of every host.
func (r *Replay) isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	for _, own := range r.config.Addresses {
		if own.Contains(a) {
			return true
		}
	}
	return false
}
