package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// This is a second implementation of DESIGN section 2, written the long way: a
// rule is a table of conditions, a condition one letter, and every way in which
// the open ones can turn out is tried.

// condition is 'T' for true, 'F' for false, '?' for unknown, '1' to '5' for
// unobtainable by that cause.
type condition = byte

func naiveFact[T any](f Fact[T], test func(T) bool) condition {
	if f.State == Absent {
		return 'F'
	}
	if f.State == Unknown {
		return '?'
	}
	if f.State == Unobtainable {
		return '0' + byte(f.Cause)
	}
	return naiveBool(test(f.Value))
}

func naiveBool(b bool) condition {
	if b {
		return 'T'
	}
	return 'F'
}

func naiveSpeaks(f *Facts, app Application) condition {
	fits := map[uint8]Application{6: AppHTTP | AppTLS | AppDNS | AppSSH, 17: AppQUIC | AppTLS | AppDNS}[f.Protocol]
	if fits&app == 0 {
		return 'F'
	}
	return naiveFact(f.Application, func(a Application) bool { return a&app&fits != 0 })
}

// naiveTable is the rule as alternatives of conditions.
func naiveTable(r *Rule, f *Facts) [][]condition {
	packet := []condition{
		naiveBool(!r.Never),
		naiveBool(r.Direction&f.Direction == f.Direction),
		naiveBool(r.Expires.IsZero() || f.Now.Before(r.Expires)),
	}
	if len(r.Transports) > 0 {
		packet = append(packet, naiveBool(slices.ContainsFunc(r.Transports, func(t Transport) bool {
			return t.Protocol == f.Protocol && (len(t.Destination) == 0 || t.Destination[0].First == f.DestinationPort) && f.Age >= t.Over
		})))
	}
	for _, set := range []struct {
		s AddressSet
		a netip.Addr
	}{{r.Source, f.Source}, {r.Destination, f.Destination}} {
		if len(set.s.Include) > 0 {
			packet = append(packet, naiveBool(
				slices.ContainsFunc(set.s.Include, func(p netip.Prefix) bool { return p.Contains(set.a) }) &&
					!slices.ContainsFunc(set.s.Exclude, func(p netip.Prefix) bool { return p.Contains(set.a) })))
		}
	}
	switch r.Name {
	case "weir:loopback":
		packet = append(packet, naiveBool(f.Loopback))
	case "weir:export":
		packet = append(packet, naiveBool(f.OwnSocket))
	}
	if r.DestinationNames != nil {
		packet = append(packet, naiveBool(slices.Contains(f.Names, "a.example")))
	}
	l := r.Layer7
	if l == nil {
		return [][]condition{packet}
	}
	if l.Domains != nil {
		packet = append(packet, naiveDomains(f))
	}
	var table [][]condition
	add := func(more ...condition) {
		if len(more) > 0 && more[0] >= '1' && more[0] <= '5' {
			// Without the protocol none of its facts will come.
			more = []byte(strings.ReplaceAll(string(more), "?", string(more[0])))
		}
		table = append(table, append(slices.Clone(packet), more...))
	}
	if l.HTTP != nil {
		c := []condition{naiveSpeaks(f, AppHTTP)}
		if l.HTTP.Methods != nil {
			c = append(c, naiveFact(f.HTTP.Method, func(m string) bool { return m == "GET" }))
		}
		if l.HTTP.Hosts != nil {
			c = append(c, naiveFact(f.HTTP.Host, func(h string) bool { return h == "a.example" }))
		}
		add(c...)
	}
	if l.TLS != nil {
		c := []condition{naiveSpeaks(f, AppTLS|AppQUIC)}
		if l.TLS.ServerNames != nil {
			c = append(c, naiveFact(f.TLS.ServerName, func(h string) bool { return h == "a.example" }))
		}
		if l.TLS.Versions != nil {
			c = append(c, naiveFact(f.TLS.Version, func(v string) bool { return v == "1.3" }))
		}
		add(c...)
	}
	if l.DNS != nil {
		c := []condition{naiveSpeaks(f, AppDNS)}
		if l.DNS.Types != nil {
			if f.Application.State == Known && f.Application.Value&(AppTLS|AppQUIC) != 0 {
				c = append(c, 'F')
			}
			c = append(c, naiveFact(f.DNS.Type, func(n uint16) bool { return n == 1 }))
		}
		add(c...)
	}
	if l.SSH != nil {
		c := []condition{naiveSpeaks(f, AppSSH)}
		if l.SSH.Software != nil {
			c = append(c, naiveFact(f.SSH.Software, func(s string) bool { return s == "OpenSSH" }))
		}
		add(c...)
	}
	if table == nil {
		add()
	}
	return table
}

func naiveDomains(f *Facts) condition {
	is := func(name string) bool { return name == "a.example" }
	var said []Fact[string]
	switch f.Protocol {
	case 6, 17:
		switch f.Application.State {
		case Unknown:
			return '?'
		case Unobtainable:
			return '0' + byte(f.Application.Cause)
		case Known:
			a := f.Application.Value
			if a&AppHTTP != 0 && f.Protocol == 6 {
				said = append(said, f.HTTP.Host)
			}
			if a&AppTLS != 0 || a&AppQUIC != 0 && f.Protocol == 17 {
				said = append(said, f.TLS.ServerName)
			}
			if a&AppDNS != 0 {
				said = append(said, f.DNS.Name)
			}
		}
	}
	for _, name := range said {
		if name.State != Absent {
			return naiveFact(name, is)
		}
	}
	return naiveBool(slices.ContainsFunc(f.Names, is))
}

// naiveOutcomes are all that a table can come to, by trying everything.
func naiveOutcomes(table [][]condition) string {
	for _, row := range table {
		for i, c := range row {
			if c != '?' {
				continue
			}
			all := ""
			for _, turn := range []byte("TF12345") {
				row[i] = turn
				all += naiveOutcomes(table)
			}
			row[i] = '?'
			return all
		}
	}
	lowest := byte('F')
	for _, row := range table {
		switch cause := slices.Min(row); {
		case slices.Contains(row, 'F'):
		case cause == 'T':
			return "T"
		default:
			lowest = min(lowest, cause)
		}
	}
	return string(lowest)
}

// naiveActions are all answers of the rules, for the outcomes of each.
func naiveActions(p *Policy, f *Facts, rules []Rule) map[Action]bool {
	all := map[Action]bool{}
	if len(rules) == 0 {
		all[p.DefaultAction] = true
		return all
	}
	r := &rules[0]
	// Trying everything is only worth it for what cannot be told at a glance.
	outcomes := naiveOutcomes(naiveTable(r, f))
	pass := false
	for _, o := range []byte("TF12345") {
		if !strings.Contains(outcomes, string(o)) {
			continue
		}
		switch {
		case o == 'T':
			all[r.Action] = true
		case o == 'F':
			pass = true
		case o == '5' && f.Kept && p.OnError.Keep:
			all[Allow] = true
		case r.Action == Allow:
			pass = true
		default:
			all[[]Action{p.OnError.Malformed, p.OnError.Limit, p.OnError.Overload, p.OnError.AgentDown, p.OnError.NotSeen}[o-'1']] = true
		}
	}
	if pass {
		for a := range naiveActions(p, f, rules[1:]) {
			all[a] = true
		}
	}
	return all
}

func drawFact[T any](t *rapid.T, values ...T) Fact[T] {
	switch State(rapid.IntRange(0, 3).Draw(t, "state")) {
	case Known:
		return Is(rapid.SampledFrom(values).Draw(t, "value"))
	case Absent:
		return Missing[T]()
	case Unobtainable:
		return Lost[T](Cause(rapid.IntRange(1, 5).Draw(t, "cause")))
	}
	return Fact[T]{}
}

func drawFacts(t *rapid.T) *Facts {
	flag := func(name string, percent int) bool { return rapid.IntRange(0, 99).Draw(t, name) < percent }
	f := &Facts{
		Now:             time.Unix(1000, 0),
		Direction:       rapid.SampledFrom([]DirectionSet{Inbound, Outbound, Forwarded}).Draw(t, "direction"),
		Source:          netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 3).Draw(t, "source"))}),
		Destination:     netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 3).Draw(t, "destination"))}),
		Protocol:        rapid.SampledFrom([]uint8{6, 6, 6, 17, 47}).Draw(t, "protocol"),
		DestinationPort: uint16(rapid.IntRange(80, 81).Draw(t, "port")),
		Age:             time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Hour * 2,
		Loopback:        flag("loopback", 3),
		OwnSocket:       flag("own", 3),
		Kept:            flag("kept", 40),
		Application:     drawFact(t, AppHTTP, AppTLS, AppQUIC, AppDNS, AppSSH, AppOther, AppTLS|AppDNS),
		HTTP:            HTTPFacts{Method: drawFact(t, "GET", "POST"), Host: drawFact(t, "a.example", "b.example")},
		TLS:             TLSFacts{ServerName: drawFact(t, "a.example", "b.example"), Version: drawFact(t, "1.2", "1.3")},
		DNS:             DNSFacts{Name: drawFact(t, "a.example", "b.example"), Type: drawFact(t, uint16(1), 28)},
		SSH:             SSHFacts{Software: drawFact(t, "OpenSSH", "dropbear")},
	}
	if flag("names", 50) {
		f.Names = []string{"a.example"}
	}
	return f
}

func drawPolicy(t *rapid.T) *Policy {
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	action := func() string { return rapid.SampledFrom([]string{"allow", "block"}).Draw(t, "action") }
	var b strings.Builder
	fmt.Fprintf(&b, "default_action: %s\nsafeguards: {loopback: %t, export: %t, dhcp: false, neighbor-discovery: false, icmp-errors: false}\n",
		action(), flag("loopback"), flag("export"))
	fmt.Fprintf(&b, "on_error: {malformed: %s, limit: %s, overload: %s, agent_down: %s, not_seen: %s}\nrules:\n", action(), action(), action(), action(),
		rapid.SampledFrom([]string{"allow", "block", "keep", "keep"}).Draw(t, "not seen"))
	for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
		fmt.Fprintf(&b, "- name: r%d\n  action: %s\n", i, action())
		for _, line := range []struct{ text, key string }{
			{"  direction: outbound\n", "direction"},
			{"  layer3: {source: [10.0.0.0/30, \"!10.0.0.1\"]}\n", "layer3"},
			{"  layer3: {destination: 10.0.0.0/31, destination_names: a.example}\n", "layer3"},
			{"  layer4: {tcp: {duration: {over: 1h}}, udp: 80}\n", "layer4"},
			{"  layer4: {tcp: 80}\n", "layer4"},
			{"  expires: 1970-01-01T00:16:39Z\n", "expires"},
			{"  mode: detect\n", "mode"},
		} {
			if rapid.IntRange(0, 9).Draw(t, line.key) == 0 && !strings.Contains(b.String()[strings.LastIndex(b.String(), "- name"):], line.key) {
				b.WriteString(line.text)
			}
		}
		var l7 []string
		for _, key := range []string{
			"domains: a.example", "http: {}", "http: {methods: GET}", "http: a.example", "tls: {}", "tls: a.example",
			"tls: {server_names: a.example, versions: 1.3}", "dns: {types: A}", "ssh: {}", "ssh: {software: OpenSSH}",
		} {
			name, _, _ := strings.Cut(key, ":")
			if rapid.IntRange(0, 7).Draw(t, name) == 0 && len(l7) < 2 && !strings.Contains(strings.Join(l7, ","), name+":") {
				l7 = append(l7, key)
			}
		}
		if len(l7) > 0 {
			fmt.Fprintf(&b, "  layer7: {%s}\n", strings.Join(l7, ", "))
		}
	}
	p, _, err := Load(Document{Name: "drawn", Content: []byte(b.String())})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	t.Logf("%s", b.String())
	return p
}

// real are the rules of a walk, with or without those that only shadow.
func real(p *Policy, shadows bool) []Rule {
	return slices.DeleteFunc(p.Walked(), func(r Rule) bool { return r.Shadow && !shadows })
}

func TestWalkAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f := drawPolicy(t), drawFacts(t)
		t.Logf("%+v", *f)
		d := p.Walk(f)
		want := naiveActions(p, f, real(p, false))
		if len(want) > 1 != (d.Action == 0) || d.Action != 0 && !want[d.Action] {
			t.Fatalf("walk says %+v, possible are %v", d, want)
		}
		if (d.Action == 0) != (d.Reason == ReasonPending) || d.Action == 0 && d.Wanted == 0 {
			t.Fatalf("an answer at odds with itself: %+v", d)
		}
		shadow := naiveActions(p, f, real(p, true))
		if len(want) == 1 && len(shadow) == 1 {
			if differs := !shadow[d.Action]; differs != (d.ShadowAction != 0) {
				t.Fatalf("walk says %+v, with shadow rules %v", d, shadow)
			}
			if d.ShadowAction != 0 && (!shadow[d.ShadowAction] || d.ShadowRule == nil || !d.ShadowRule.Shadow) {
				t.Fatalf("walk says %+v, with shadow rules %v", d, shadow)
			}
		} else if d.ShadowAction != 0 {
			t.Fatalf("shadow action while undecided: %+v", d)
		}
	})
}

// An answer that was given early must stay whatever becomes of the facts, and
// once no fact is unknown there must be an answer.
func TestEarlyAnswersStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, f := drawPolicy(t), drawFacts(t)
		d := p.Walk(f)
		for range 10 {
			later := drawFacts(t)
			settle(&later.Application, f.Application, AppOther)
			settle(&later.HTTP.Method, f.HTTP.Method, "POST")
			settle(&later.HTTP.Host, f.HTTP.Host, "b.example")
			settle(&later.TLS.ServerName, f.TLS.ServerName, "b.example")
			settle(&later.TLS.Version, f.TLS.Version, "1.2")
			settle(&later.DNS.Name, f.DNS.Name, "b.example")
			settle(&later.DNS.Type, f.DNS.Type, 28)
			settle(&later.SSH.Software, f.SSH.Software, "dropbear")
			full := *f
			// Where the protocol cannot become known, its facts stay out.
			if f.Application.State != Unobtainable {
				full.Application, full.HTTP, full.TLS, full.DNS, full.SSH = later.Application, later.HTTP, later.TLS, later.DNS, later.SSH
			}
			end := p.Walk(&full)
			if end.Action == 0 || end.Early || end.Wanted != 0 {
				t.Fatalf("all is known, but the answer is %+v", end)
			}
			if d.Action != 0 && end.Action != d.Action {
				t.Fatalf("first %+v, in the end %+v", d, end)
			}
		}
	})
}

// settle keeps what was settled before, and makes something of what is unknown.
func settle[T any](later *Fact[T], before Fact[T], other T) {
	if before.State != Unknown {
		*later = before
	} else if later.State == Unknown {
		*later = Is(other)
	}
}
