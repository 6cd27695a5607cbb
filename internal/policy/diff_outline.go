package policy

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// outline is what a policy says, as it is written but for short forms.
type outline struct {
	settings []field
	groups   []field // the entries of each
	rules    []ruleOutline
}

// field is a key, and its values, sorted, each once.
type field struct {
	key    string
	values []string
}

type ruleOutline struct {
	name   string
	fields []field // sorted by key
}

// outlineOf loads a policy, so that what is outlined is known to be right.
func outlineOf(doc Document) (*outline, error) {
	p, _, err := Load(doc)
	if err != nil {
		return nil, err
	}
	o := &outline{settings: settingsOf(p)}
	d := &decoder{doc: doc, tree: &tree{root: doc.Root}}
	if doc.Root == nil {
		d.tree = d.parse(doc.Content)
	}
	f, _ := d.cursor(d.tree.root).mapping(slices.Concat(policyKeys, serviceKeys))
	if c := f.get("groups"); c != nil {
		o.groups, err = d.groupOutlines(c)
		if err != nil {
			return nil, err
		}
	}
	if c := f.get("rules"); c != nil {
		items := slices.Values(c.n.Content)
		if c.n == d.tree.rules {
			items = d.tree.items
		}
		for n := range items {
			o.rules = append(o.rules, outlineRule(n))
		}
	}
	return o, nil
}

func settingsOf(p *Policy) []field {
	fields := []field{
		{"default_action", []string{p.DefaultAction.String()}},
		{"mode", []string{p.Mode.String()}},
		{"non_ip", []string{p.NonIP.String()}},
		{"reject", []string{p.Reject.String()}},
	}
	for c := Malformed; c <= NotSeen; c++ {
		answer := p.OnError.For(c).String()
		if c == NotSeen && p.OnError.Keep {
			answer = "keep, else " + answer
		}
		fields = append(fields, field{"on_error." + c.String(), []string{answer}})
	}
	s := p.Safeguards
	for i, on := range []bool{s.Loopback, s.DHCP, s.NeighborDiscovery, s.ICMPErrors, s.Export} {
		fields = append(fields, field{"safeguards." + safeguardKeys[i], []string{strconv.FormatBool(on)}})
	}
	sortFields(fields)
	return fields
}

func sortFields(fields []field) {
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.key, b.key) })
}

// groupOutlines reads the groups again for what stands there.
func (d *decoder) groupOutlines(c *cursor) ([]field, error) {
	var fields []field
	kinds, _ := c.entries("")
	for _, kind := range kinds {
		groups, _ := kind.entries("")
		for _, g := range groups {
			f := field{key: kind.key + "." + g.key}
			g.group(func(entry string) (found, accepted, hint string) {
				f.values = append(f.values, strings.Clone(entry))
				return "", "", ""
			})
			f.settle()
			fields = append(fields, f)
		}
	}
	if len(d.errs) > 0 { // a list file that was there a moment ago
		return nil, d.errs
	}
	sortFields(fields)
	return fields, nil
}

// settle sorts the values and leaves out repetitions.
func (f *field) settle() {
	slices.Sort(f.values)
	f.values = slices.Compact(f.values)
}

func outlineRule(n *yaml.Node) ruleOutline {
	var r ruleOutline
	r.add("", n)
	at := slices.IndexFunc(r.fields, func(f field) bool { return f.key == "name" })
	r.name = r.fields[at].values[0]
	r.fields = slices.Delete(r.fields, at, at+1)
	for i := range r.fields {
		r.fields[i].settle()
	}
	sortFields(r.fields)
	return r
}

// shortForms are the keys for which a value that is no mapping stands.
var shortForms = map[string]string{
	"layer4.tcp": "layer4.tcp.destination_ports", "layer4.udp": "layer4.udp.destination_ports",
	"layer4.icmp": "layer4.icmp.types", "layer4.icmpv6": "layer4.icmpv6.types",
	"layer7.http": "layer7.http.hosts", "layer7.tls": "layer7.tls.server_names", "layer7.dns": "layer7.dns.names",
}

// anyText stands for what is there without further criteria.
const anyText = "any"

// add puts the fields that a node has under a key.
func (r *ruleOutline) add(key string, n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.MappingNode {
		if len(n.Content) == 0 && strings.Contains(key, ".") {
			r.fields = append(r.fields, field{key, []string{anyText}})
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i]
			if name.Kind == yaml.AliasNode {
				name = name.Alias
			}
			r.add(joinKey(key, name.Value), n.Content[i+1])
		}
		return
	}
	values := scalars(n)
	if key == "layer4" || key == "layer7" {
		for _, protocol := range values {
			r.fields = append(r.fields, field{key + "." + protocol, []string{anyText}})
		}
		return
	}
	if key == "direction" && values[0] == anyText {
		return
	}
	if long, is := shortForms[key]; is {
		key = long
	}
	r.fields = append(r.fields, field{key, values})
}

func joinKey(prefix, key string) string {
	if prefix == "" {
		return strings.Clone(key)
	}
	if prefix == "layer7.http.headers" {
		key = strings.ToLower(key)
	}
	return prefix + "." + key
}

// scalars are the values of a list, or the one of a scalar.
func scalars(n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{strings.Clone(n.Value)}
	}
	var values []string
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		values = append(values, strings.Clone(item.Value))
	}
	return values
}
