package datapath

import (
	"errors"
	"fmt"
	"net"
	"path"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checkGlobs refuses globs that path.Match would.
func (d *Datapath) checkGlobs() error {
	for _, list := range [][]string{d.config.Include, d.config.Exclude} {
		for _, glob := range list {
			if _, err := path.Match(glob, ""); err != nil {
				return fmt.Errorf("interface glob %q: %w; accepted are names with * ? and [a-z]", glob, err)
			}
		}
	}
	return nil
}

func (d *Datapath) isChosen(attrs *netlink.LinkAttrs, routed map[int]bool) bool {
	if matchAny(d.config.Exclude, attrs.Name) {
		return false
	}
	if len(d.config.Include) > 0 {
		return matchAny(d.config.Include, attrs.Name)
	}
	return !isLoopback(attrs) && routed[attrs.Index]
}

func isLoopback(attrs *netlink.LinkAttrs) bool { return attrs.Flags&net.FlagLoopback != 0 }

func matchAny(globs []string, name string) bool {
	for _, g := range globs {
		if ok, _ := path.Match(g, name); ok { // checked at the start
			return true
		}
	}
	return false
}

// routedInterfaces are those that a route leads through to other hosts. Every
// IPv6 interface has routes for link-local and multicast addresses: they do not
// count.
func routedInterfaces() (map[int]bool, error) {
	routed := map[int]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteList(nil, family)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Type != unix.RTN_UNICAST || (r.Dst != nil && (r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast())) {
				continue
			}
			routed[r.LinkIndex] = true
			for _, hop := range r.MultiPath {
				routed[hop.LinkIndex] = true
			}
		}
	}
	return routed, nil
}
