package engine

import (
	"net/netip"
	"slices"

	"github.com/weirnet/weir/internal/flow"
)

// hook is where the frame would have been seen on the host that recorded it. A
// capture tells nothing of interfaces, so there is one; and unless it is said which
// addresses are the host's, all that it holds passes by.
func (r *Replay) hook() flow.Hook {
	h := flow.Hook{Interface: 1}
	if len(r.config.Host) == 0 || r.decoded.IPVersion == 0 {
		return h
	}
	source, destination := r.decoded.Source, r.decoded.Destination
	h.SentByHost = r.ofHost(source)
	h.Egress = h.SentByHost
	h.ForHost = !h.SentByHost && (r.ofHost(destination) || destination.IsMulticast() || isBroadcast(destination))
	h.Loopback = source.IsLoopback() && destination.IsLoopback()
	return h
}

func (r *Replay) ofHost(a netip.Addr) bool {
	return slices.ContainsFunc(r.config.Host, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isBroadcast knows the limited broadcast only: how long the host's prefixes are is
// not in a capture.
func isBroadcast(a netip.Addr) bool { return a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) }
