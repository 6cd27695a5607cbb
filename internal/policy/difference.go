package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// Difference is what is other in a policy than in the one before it.
type Difference struct {
	// Settings are those of the whole policy that changed: "mode detect → prevent".
	Settings []string
	// Added and Removed are names of rules. Changed are those of rules that say
	// something else, each with what: "web (layer4, action)".
	Added, Removed, Changed []string
	// Reordered: rules that are in both stand in another order.
	Reordered bool
}

// Compare finds out what changed from one policy to another. Rules are the same
// where their names are; what their groups stand for counts as theirs.
func Compare(before, after *Policy) Difference {
	d := Difference{Settings: compareSettings(before, after)}
	c := comparison{prefixes: map[[2]listID]bool{}, names: map[[2]*nameList]bool{}}
	old := make(map[string]*Rule, len(before.Rules))
	for i := range before.Rules {
		old[before.Rules[i].Name] = &before.Rules[i]
	}
	both := make(map[string]bool, len(old))
	for i := range after.Rules {
		rule := &after.Rules[i]
		was := old[rule.Name]
		if was == nil {
			d.Added = append(d.Added, rule.Name)
			continue
		}
		both[rule.Name] = true
		if keys := c.rules(was, rule); len(keys) > 0 {
			d.Changed = append(d.Changed, rule.Name+" ("+strings.Join(keys, ", ")+")")
		}
	}
	for i := range before.Rules {
		if name := before.Rules[i].Name; !both[name] {
			d.Removed = append(d.Removed, name)
		}
	}
	d.Reordered = !slices.Equal(order(before, both), order(after, both))
	return d
}

func order(p *Policy, of map[string]bool) []string {
	var names []string
	for i := range p.Rules {
		if of[p.Rules[i].Name] {
			names = append(names, p.Rules[i].Name)
		}
	}
	return names
}

func compareSettings(before, after *Policy) []string {
	var changed []string
	compare := func(key string, a, b any) {
		if a != b {
			changed = append(changed, fmt.Sprintf("%s %v → %v", key, a, b))
		}
	}
	compare("mode", before.Mode, after.Mode)
	compare("default_action", before.defaultAction(), after.defaultAction())
	compare("reject", before.Reject, after.Reject)
	compare("non_ip", before.NonIP, after.NonIP)
	if before.OnError != after.OnError {
		changed = append(changed, "on_error")
	}
	if before.Safeguards != after.Safeguards {
		changed = append(changed, "safeguards")
	}
	return changed
}

// comparison remembers which lists are equal: thousands of rules may share one.
type comparison struct {
	prefixes map[[2]listID]bool
	names    map[[2]*nameList]bool
}

// rules are the keys of a rule that say something else.
func (c *comparison) rules(a, b *Rule) []string {
	var keys []string
	note := func(key string, same bool) {
		if !same {
			keys = append(keys, key)
		}
	}
	note("action", a.Action == b.Action)
	note("mode", a.Shadow == b.Shadow)
	note("direction", a.Direction == b.Direction)
	note("expires", a.Expires.Equal(b.Expires))
	note("reject", reflect.DeepEqual(a.Reject, b.Reject))
	note("description", a.Description == b.Description)
	note("source", c.addresses(&a.Source, &b.Source))
	note("destination", c.addresses(&a.Destination, &b.Destination))
	note("destination_names", c.nameSets(a.DestinationNames, b.DestinationNames))
	note("other_protocols", slices.Equal(a.OtherProtocols, b.OtherProtocols))
	note("layer4", slices.EqualFunc(a.Transports, b.Transports, func(a, b Transport) bool { return reflect.DeepEqual(a, b) }))
	note("layer7", c.layer7(a.Layer7, b.Layer7))
	return keys
}

func (c *comparison) addresses(a, b *AddressSet) bool {
	return c.prefixLists(a.Include, b.Include) && c.prefixLists(a.Exclude, b.Exclude)
}

func (c *comparison) prefixLists(a, b []netip.Prefix) bool {
	if len(a) != len(b) {
		return false
	}
	key := [2]listID{{unsafe.SliceData(a), len(a)}, {unsafe.SliceData(b), len(b)}}
	same, known := c.prefixes[key]
	if !known {
		same = slices.Equal(a, b)
		c.prefixes[key] = same
	}
	return same
}

func (c *comparison) nameSets(a, b *NameSet) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.rest == b.rest && slices.EqualFunc(a.include, b.include, c.nameLists) && slices.EqualFunc(a.exclude, b.exclude, c.nameLists)
}

func (c *comparison) nameLists(a, b *nameList) bool {
	key := [2]*nameList{a, b}
	same, known := c.names[key]
	if !known {
		same = reflect.DeepEqual(a, b)
		c.names[key] = same
	}
	return same
}

// layer7 compares the sets of names, which may be large, as lists that are known,
// and the rest as it is.
func (c *comparison) layer7(a, b *Layer7) bool {
	if a == nil || b == nil {
		return a == b
	}
	restA, namesA := withoutNames(*a)
	restB, namesB := withoutNames(*b)
	return slices.EqualFunc(namesA, namesB, c.nameSets) && reflect.DeepEqual(restA, restB)
}

// withoutNames takes the sets of names out of a copy.
func withoutNames(l Layer7) (Layer7, []*NameSet) {
	names := []*NameSet{l.Domains}
	l.Domains = nil
	if l.HTTP != nil {
		http := *l.HTTP
		names = append(names, http.Hosts)
		http.Hosts = nil
		l.HTTP = &http
	}
	if l.TLS != nil {
		tls := *l.TLS
		names = append(names, tls.ServerNames)
		tls.ServerNames = nil
		if tls.Certificate != nil {
			certificate := *tls.Certificate
			names = append(names, certificate.SubjectNames)
			certificate.SubjectNames = nil
			tls.Certificate = &certificate
		}
		l.TLS = &tls
	}
	if l.DNS != nil {
		dns := *l.DNS
		names = append(names, dns.Names)
		dns.Names = nil
		l.DNS = &dns
	}
	return l, names
}

// String is the difference as one clause for people; empty where there is none.
func (d Difference) String() string {
	parts := slices.Clone(d.Settings)
	for _, list := range []struct {
		what  string
		names []string
	}{{"added", d.Added}, {"removed", d.Removed}, {"changed", d.Changed}} {
		if len(list.names) > 0 {
			parts = append(parts, list.what+": "+some(list.names))
		}
	}
	if d.Reordered {
		parts = append(parts, "other order of rules")
	}
	return strings.Join(parts, "; ")
}

// some are the first names of a list, and how many more there are.
func some(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
