package connectionapiextension

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/profile"
	"github.com/weirnet/weir/internal/telemetry"
)

// maxFilters is how many values all filters of a call have together.
const maxFilters = 256

// filter says which connections and events are meant. An empty one means all.
type filter struct {
	events, verdicts, rules []string
	// addresses are those of which either end is one, others those of which neither
	// is; nil: any, none.
	addresses, others *policy.AddressSet
	names             *policy.NameSet // nil: any
}

// values are those of a key, given once with commas, or several times.
func values(query url.Values, key string) []string {
	var all []string
	for _, v := range query[key] {
		for one := range strings.SplitSeq(v, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// eventNames are those that there are.
var eventNames = func() []string {
	names := []string{telemetry.PolicyChangeEvent}
	for k := telemetry.ConnectionStart; k <= telemetry.SSHHandshake; k++ {
		names = append(names, k.EventName())
	}
	return names
}()

var verdictNames = []string{"pending", "detected", "allowed", "blocked"}

// parseFilter reads a filter. Addresses and names are written as in a policy.
func parseFilter(query url.Values) (*filter, error) {
	f := &filter{events: values(query, "event"), verdicts: values(query, "verdict"), rules: values(query, "rule")}
	addresses, names := values(query, "address"), values(query, "name")
	if n := len(f.events) + len(f.verdicts) + len(f.rules) + len(addresses) + len(names); n > maxFilters {
		return nil, badRequest("the filters have %d values; accepted are %d", n, maxFilters)
	}
	for _, known := range []struct {
		key           string
		given, values []string
	}{{"event", f.events, eventNames}, {"verdict", f.verdicts, verdictNames}} {
		for _, v := range known.given {
			if !slices.Contains(known.values, v) {
				return nil, badRequest("%s: %.100q is none; accepted are %s", known.key, v, strings.Join(known.values, ", "))
			}
		}
	}
	rule := map[string]any{"name": "filter", "action": "allow"}
	meant, not := map[string]any{}, []string{}
	for _, text := range addresses {
		if other, except := strings.CutPrefix(text, "!"); except {
			not = append(not, other)
		}
	}
	addresses = slices.DeleteFunc(addresses, func(text string) bool { return strings.HasPrefix(text, "!") })
	if len(addresses) > 0 {
		meant["source"] = addresses
	}
	if len(not) > 0 {
		meant["destination"] = not
	}
	if len(meant) > 0 {
		rule["layer3"] = meant
	}
	if len(names) > 0 {
		rule["layer7"] = map[string]any{"dns": map[string]any{"names": names}}
	}
	if len(rule) == 2 {
		return f, nil
	}
	content, err := json.Marshal(map[string]any{"rules": []any{rule}})
	if err != nil {
		return nil, fmt.Errorf("read the filters: %w", err)
	}
	p, _, err := policy.Load(policy.Document{Name: "filter", Content: content})
	var problems policy.Errors
	if errors.As(err, &problems) {
		return nil, badRequest("address or name: %s; accepted: %s", problems[0].Found, problems[0].Accepted)
	}
	if err != nil {
		return nil, err
	}
	r := &p.Rules[0]
	if len(addresses) > 0 {
		f.addresses = &r.Source
	}
	if len(not) > 0 {
		f.others = &r.Destination
	}
	if len(names) > 0 {
		f.names = r.Layer7.DNS.Names
	}
	return f, nil
}

func isIn(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }

func (f *filter) judgement(j *telemetry.Judgement) bool {
	return isIn(f.verdicts, j.Verdict.String()) && isIn(f.rules, j.Rule)
}

func (f *filter) ends(source, destination netip.Addr) bool {
	either := func(s *policy.AddressSet) bool {
		return source.IsValid() && s.Contains(source) || destination.IsValid() && s.Contains(destination)
	}
	return (f.addresses == nil || either(f.addresses)) && (f.others == nil || !either(f.others))
}

// connection says whether one passes; names are only of what is said in them.
func (f *filter) connection(c *telemetry.Connection) bool {
	return f.names == nil && f.judgement(&c.Judgement) && f.ends(c.Tuple.Source, c.Tuple.Destination)
}

// passes says whether an event does. That events are missing is told to all.
func (f *filter) passes(e *event) bool {
	if e.lost > 0 {
		return true
	}
	if !isIn(f.events, e.name()) {
		return false
	}
	switch {
	case e.connection != nil:
		return f.connection(e.connection)
	case e.exchange != nil:
		x := e.exchange
		return f.judgement(&x.Judgement) && f.ends(x.Connection.Tuple.Source, x.Connection.Tuple.Destination) &&
			(f.names == nil || f.names.Match(profile.Name(x)))
	}
	return len(f.verdicts)+len(f.rules) == 0 && f.addresses == nil && f.others == nil && f.names == nil
}
