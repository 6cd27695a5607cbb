package suggest

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weirnet/weir/internal/packet"
)

// rule is one in the making: services between ends.
type rule struct {
	direction packet.Direction
	services  []service
	ends      ends
	evidence  evidence
	// notes say where it allows more than was seen.
	notes []string
}

// ends are sets of ends; nil is any.
type ends struct {
	sources, destinations []netip.Prefix
	names                 []string
}

// key tells sets apart.
func (e *ends) key() string {
	var b strings.Builder
	for _, list := range [][]netip.Prefix{e.sources, e.destinations} {
		for _, p := range list {
			b.WriteString(p.String() + " ")
		}
		b.WriteByte('|')
	}
	return b.String() + strings.Join(e.names, " ")
}

// rules are the suggestion, in the order in which they are written: those that the
// first packet decides come before those that wait for a name.
func (s *Suggestion) rules() []rule {
	var all []rule
	at := map[string]int{}
	for _, k := range s.sortedServices() {
		for _, r := range s.rulesOf(k) {
			kind := "ports"
			if !(packet.Tuple{Protocol: k.protocol}).HasPorts() {
				// One protocol in each rule, and one type of ICMP with its codes.
				kind = strconv.Itoa(int(k.protocol)) + "." + strconv.Itoa(int(k.number>>8)) + " "
			}
			key := strconv.Itoa(int(k.direction)) + kind + r.ends.key()
			if i, found := at[key]; found {
				all[i].services = append(all[i].services, r.services...)
				all[i].evidence.join(&r.evidence)
				all[i].note(r.notes...)
				continue
			}
			at[key] = len(all)
			all = append(all, r)
		}
	}
	all = s.bound(all)
	slices.SortStableFunc(all, func(a, b rule) int {
		return cmp.Or(
			cmp.Compare(min(len(a.ends.names), 1), min(len(b.ends.names), 1)),
			cmp.Compare(a.direction, b.direction),
			cmp.Compare(b.evidence.count, a.evidence.count),
		)
	})
	return all
}

func (r *rule) note(notes ...string) {
	for _, n := range notes {
		if !slices.Contains(r.notes, n) {
			r.notes = append(r.notes, n)
		}
	}
}

// rulesOf are the rules for one service: destinations that were reached from the
// same sources share one.
func (s *Suggestion) rulesOf(k service) []rule {
	u := s.services[k]
	if u.peers == nil {
		r := rule{direction: k.direction, services: []service{k}, evidence: u.evidence}
		r.note("there were too many different ends to remember: any will do")
		return []rule{r}
	}
	type far struct {
		address netip.Addr
		name    string
	}
	sources := map[far][]netip.Addr{}
	seen := map[far]*evidence{}
	var order []far // as evidence is shown, the same every time
	for _, p := range u.sortedPeers() {
		e, d := u.peers[p], far{p.destination, p.name}
		if p.source.IsValid() {
			sources[d] = append(sources[d], p.source)
		}
		if seen[d] == nil {
			seen[d] = &evidence{}
			order = append(order, d)
		}
		seen[d].join(e)
	}
	groups := map[string]*rule{}
	addresses, names := map[string][]netip.Addr{}, map[string][]string{}
	for _, d := range order {
		r := rule{direction: k.direction, services: []service{k}}
		r.ends.sources = s.prefixes(sources[d], "sources", &r)
		key := strconv.FormatBool(d.name != "") + r.ends.key()
		if groups[key] == nil {
			groups[key] = &r
		}
		groups[key].evidence.join(seen[d])
		if d.name != "" {
			names[key] = append(names[key], d.name)
		} else if d.address.IsValid() {
			addresses[key] = append(addresses[key], d.address)
		}
	}
	var rules []rule
	for key, r := range groups {
		r.ends.destinations = s.prefixes(addresses[key], "destinations", r)
		var widened bool
		if r.ends.names, widened = gather(names[key], s.config.MaxSiblings); widened {
			r.note("* stands for names of which many were seen")
		}
		rules = append(rules, *r)
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.ends.key(), b.ends.key()) })
	return rules
}

func (u *usage) sortedPeers() []peer {
	return slices.SortedFunc(maps.Keys(u.peers), func(a, b peer) int {
		return cmp.Or(a.source.Compare(b.source), a.destination.Compare(b.destination), strings.Compare(a.name, b.name))
	})
}

// prefixes are those of a side; nil where there are so many that any will do.
func (s *Suggestion) prefixes(addresses []netip.Addr, side string, r *rule) []netip.Prefix {
	if len(addresses) == 0 {
		return nil
	}
	list := condense(addresses)
	if len(list) > s.config.MaxAddresses {
		r.note("there were " + strconv.Itoa(len(addresses)) + " " + side + " in " + strconv.Itoa(len(list)) + " networks: any will do")
		return nil
	}
	if slices.ContainsFunc(list, func(p netip.Prefix) bool { return isWider(p, addresses) }) {
		r.note("a prefix stands for " + side + " of which many were seen")
	}
	return list
}

// bound joins the rarest rules where there are too many, so that what they allow is
// still allowed: by direction, and by what can stand in one rule.
func (s *Suggestion) bound(all []rule) []rule {
	if len(all) <= s.config.MaxRules {
		return all
	}
	// Each direction can have a joined rule for ports and ICMP, one with names, and
	// one for other protocols.
	const joins = 9
	keep := max(0, s.config.MaxRules-joins)
	slices.SortStableFunc(all, func(a, b rule) int { return cmp.Compare(b.evidence.count, a.evidence.count) })
	kept := all[:keep:keep]
	type kind struct {
		direction    packet.Direction
		named, other bool
	}
	at := map[kind]int{}
	for _, r := range all[keep:] {
		protocol := packet.Tuple{Protocol: r.services[0].protocol}
		k := kind{r.direction, len(r.ends.names) > 0, !protocol.HasPorts() && !protocol.IsICMP()}
		i, found := at[k]
		if !found {
			at[k] = len(kept)
			r.note("several rules for rare connections are joined here: it allows each of its services for each of its ends")
			kept = append(kept, r)
			continue
		}
		kept[i].take(&r, s.config)
	}
	return kept
}

// take joins another rule, and allows the product of both.
func (r *rule) take(o *rule, c Config) {
	r.services = append(r.services, o.services...)
	r.evidence.join(&o.evidence)
	r.note(o.notes...)
	r.ends.sources = union(r.ends.sources, o.ends.sources, c.MaxAddresses)
	r.ends.destinations = union(r.ends.destinations, o.ends.destinations, c.MaxAddresses)
	if len(r.ends.names) > 0 {
		r.ends.names = append(r.ends.names, o.ends.names...)
		slices.Sort(r.ends.names)
		r.ends.names = slices.Compact(r.ends.names)
	}
}

// union of two sets, of which nil is any.
func union(a, b []netip.Prefix, most int) []netip.Prefix {
	if a == nil || b == nil {
		return nil
	}
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	all = slices.Compact(all)
	if len(all) > most {
		return nil
	}
	return all
}
