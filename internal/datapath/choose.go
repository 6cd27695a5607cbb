package datapath

import (
	"fmt"
	"path"
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

// isChosen says whether an interface is to be watched. Of itself a VRF's own
// device is not: it is to its interfaces what loopback is to the host. One that is
// down has no routes, whatever was read of them last.
func (d *Datapath) isChosen(i *iface) bool {
	if matchAny(d.config.Exclude, i.name) || isTap(i.name) {
		return false
	}
	if len(d.config.Include) > 0 {
		return matchAny(d.config.Include, i.name)
	}
	_, routed := d.paths.routed[i.index]
	return routed && i.up && !i.loopback && i.kind != "vrf"
}

func matchAny(globs []string, name string) bool {
	for _, g := range globs {
		if ok, _ := path.Match(g, name); ok { // checked at the start
			return true
		}
	}
	return false
}
