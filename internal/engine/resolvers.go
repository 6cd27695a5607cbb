package engine

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// hostResolvers knows which DNS servers the host asks.
type hostResolvers struct {
	// configured is resolv.conf(5). Where systemd-resolved has put itself into it, the
	// servers that it asks itself are in uplinks: they are whose answers come over the
	// network.
	configured, uplinks string
	last                []netip.AddrPort
}

func newHostResolvers() *hostResolvers {
	return &hostResolvers{configured: "/etc/resolv.conf", uplinks: "/run/systemd/resolve/resolv.conf"}
}

// The addresses of systemd-resolved (systemd-resolved.service(8)).
var resolvedStubs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 53}), netip.AddrFrom4([4]byte{127, 0, 0, 54})}

const dnsPort = 53

// read returns them, and whether they are others than before.
func (h *hostResolvers) read() (resolvers []netip.AddrPort, changed bool, err error) {
	addrs, err := nameservers(h.configured)
	if err != nil {
		return nil, false, err
	}
	if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(resolvedStubs, a) }) {
		uplinks, err := nameservers(h.uplinks)
		if err != nil && !os.IsNotExist(err) {
			return nil, false, err
		}
		addrs = append(addrs, uplinks...)
	}
	for _, a := range addrs {
		resolvers = append(resolvers, netip.AddrPortFrom(a, dnsPort))
	}
	changed = !slices.Equal(resolvers, h.last)
	h.last = resolvers
	return resolvers, changed, nil
}

// areOwn says whether all of them run on the host itself, so that nobody sees what
// they answer.
func areOwn(resolvers []netip.AddrPort) bool {
	return !slices.ContainsFunc(resolvers, func(r netip.AddrPort) bool { return !r.Addr().IsLoopback() })
}

// nameservers are those that a file in the form of resolv.conf(5) names.
func nameservers(path string) ([]netip.Addr, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // says what and where
	}
	defer f.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var addrs []netip.Addr
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			addrs = append(addrs, a) // the host's own resolver passes over others, too
		}
	}
	return addrs, nil
}
