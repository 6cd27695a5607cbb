package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// load reads a policy that must be good.
func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tcp are facts of an outbound TCP connection of which nothing is known yet.
func tcp(change ...func(*policy.Facts)) *policy.Facts {
	f := &policy.Facts{
		Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Direction: policy.Outbound,
		Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("203.0.113.1"),
		Protocol: 6, SourcePort: 40000, DestinationPort: 443,
	}
	for _, c := range change {
		c(f)
	}
	return f
}

func app(a policy.Application) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Application = policy.Is(a) }
}

func lostApp(c policy.Cause) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Application = policy.Lost[policy.Application](c) }
}

func kept(f *policy.Facts) { f.Kept = true }

func TestWalk(t *testing.T) {
	serverName := func(name string) func(*policy.Facts) {
		return func(f *policy.Facts) {
			f.Application, f.TLS.ServerName = policy.Is(policy.AppTLS), policy.Is(name)
		}
	}
	names := func(names ...string) func(*policy.Facts) { return func(f *policy.Facts) { f.Names = names } }
	udp := func(f *policy.Facts) { f.Protocol = 17 }
	const tlsThenDefault = "rules: [{name: a, action: allow, layer7: {tls: .example.com}}]"
	const blockHTTP = "default_action: allow\nrules: [{name: a, action: block, layer7: {http: {methods: PUT}}}]\n"
	tests := map[string]struct {
		policy string
		facts  *policy.Facts
		action policy.Action // 0 is inspect
		rule   string
		reason string
		early  bool
		wanted string
		shadow string
	}{
		"no rules, nothing is claimed": {policy: "mode: prevent", facts: tcp(), action: policy.Allow},
		"no rules, but a default to block": {
			policy: "default_action: block", facts: tcp(), action: policy.Block, reason: "default",
		},
		"the first that is true decides": {
			policy: "rules: [{name: a, action: block, layer4: udp}, {name: b, action: allow}, {name: c, action: block}]",
			facts:  tcp(), action: policy.Allow, rule: "b", reason: "rule",
		},
		"nothing matches": {policy: "rules: [{name: a, action: allow, layer4: udp}]", facts: tcp(), action: policy.Block, reason: "default"},
		"a safeguard stands first": {
			policy: "rules: [{name: a, action: block}]", facts: tcp(func(f *policy.Facts) { f.Loopback = true }),
			action: policy.Allow, rule: "weir:loopback", reason: "safeguard",
		},
		"a safeguard that is off": {
			policy: "safeguards: {loopback: false}\nrules: [{name: a, action: block}]", facts: tcp(func(f *policy.Facts) { f.Loopback = true }),
			action: policy.Block, rule: "a", reason: "rule",
		},
		"an unknown fact stops the walk": {
			policy: tlsThenDefault, facts: tcp(), reason: "pending", wanted: "application,tls.server_name",
		},
		"the fact comes and is true":  {policy: tlsThenDefault, facts: tcp(serverName("www.example.com")), action: policy.Allow, rule: "a", reason: "rule"},
		"the fact comes and is false": {policy: tlsThenDefault, facts: tcp(serverName("example.org")), action: policy.Block, reason: "default"},
		"absent in this protocol":     {policy: tlsThenDefault, facts: tcp(app(policy.AppSSH)), action: policy.Block, reason: "default"},
		"absent on this transport": {
			policy: "rules: [{name: a, action: allow, layer7: {http: {}}}]", facts: tcp(udp), action: policy.Block, reason: "default",
		},
		"HTTP is absent on TLS": {
			policy: blockHTTP, facts: tcp(app(policy.AppTLS)), action: policy.Allow, reason: "default",
		},
		"a false criterion beside an unknown one": {
			policy: "rules: [{name: a, action: allow, layer4: {tcp: 80}, layer7: {http: {}}}]", facts: tcp(), action: policy.Block, reason: "default",
		},
		"the same action either way": {
			policy: "rules: [{name: a, action: block, layer7: {ssh: {}}}]",
			facts:  tcp(), action: policy.Block, reason: "default", early: true, wanted: "application",
		},
		"the same action by a later rule": {
			policy: "rules: [{name: a, action: allow, layer7: {tls: {}}}, {name: b, action: allow, layer3: {destination: 203.0.113.0/24}}]",
			facts:  tcp(), action: policy.Allow, rule: "b", reason: "rule", early: true, wanted: "application",
		},
		"the same action but for an error": {
			policy: "on_error: allow\nrules: [{name: a, action: block, layer7: {ssh: {}}}]",
			facts:  tcp(), reason: "pending", wanted: "application",
		},
		"unobtainable passes over allow": {
			policy: tlsThenDefault, facts: tcp(lostApp(policy.Limit)), action: policy.Block, reason: "default",
		},
		"unobtainable answers block by on_error": {
			policy: blockHTTP, facts: tcp(lostApp(policy.Malformed)), action: policy.Block, rule: "a", reason: "error.malformed",
		},
		"on_error per cause": {
			policy: blockHTTP + "on_error: {limit: allow}", facts: tcp(lostApp(policy.Limit)), action: policy.Allow, rule: "a", reason: "error.limit",
		},
		"on_error, other cause": {
			policy: blockHTTP + "on_error: {limit: allow}", facts: tcp(lostApp(policy.Overload)), action: policy.Block, rule: "a", reason: "error.overload",
		},
		"on_error, agent down": {
			policy: blockHTTP + "on_error: allow", facts: tcp(lostApp(policy.AgentDown)), action: policy.Allow, rule: "a", reason: "error.agent_down",
		},
		"not seen keeps what was open": {
			policy: blockHTTP, facts: tcp(lostApp(policy.NotSeen), kept), action: policy.Allow, rule: "a", reason: "kept",
		},
		"not seen keeps what an allow rule let pass": {
			policy: tlsThenDefault, facts: tcp(lostApp(policy.NotSeen), kept), action: policy.Allow, rule: "a", reason: "kept",
		},
		"not seen does not keep what is new": {
			policy: blockHTTP, facts: tcp(lostApp(policy.NotSeen)), action: policy.Block, rule: "a", reason: "error.not_seen",
		},
		"not seen does not keep if told so": {
			policy: blockHTTP + "on_error: {not_seen: block}", facts: tcp(lostApp(policy.NotSeen), kept), action: policy.Block, rule: "a", reason: "error.not_seen",
		},
		"kept is judged by packets all the same": {
			policy: "rules: [{name: a, action: block, layer3: {destination: 203.0.113.1}}, {name: b, action: block, layer7: {http: {}}}]",
			facts:  tcp(lostApp(policy.NotSeen), kept), action: policy.Block, rule: "a", reason: "rule",
		},
		"keep is for facts that were not seen only": {
			policy: blockHTTP, facts: tcp(lostApp(policy.Limit), kept), action: policy.Block, rule: "a", reason: "error.limit",
		},
		"a shadow rule does not decide": {
			policy: "rules: [{name: s, action: block, mode: detect}, {name: a, action: allow}]",
			facts:  tcp(), action: policy.Allow, rule: "a", reason: "rule", shadow: "s block",
		},
		"a shadow rule of the same action": {
			policy: "rules: [{name: s, action: allow, mode: detect}, {name: a, action: allow}]",
			facts:  tcp(), action: policy.Allow, rule: "a", reason: "rule",
		},
		"a shadow rule does not hold": {
			policy: "rules: [{name: s, action: block, mode: detect, layer7: {http: {}}}, {name: a, action: allow}]",
			facts:  tcp(), action: policy.Allow, rule: "a", reason: "rule", shadow: "wants application",
		},
		"a shadow rule behind the answer": {
			policy: "rules: [{name: a, action: allow}, {name: s, action: block, mode: detect}]",
			facts:  tcp(), action: policy.Allow, rule: "a", reason: "rule",
		},
		"a shadow rule that errs": {
			policy: "rules: [{name: s, action: block, mode: detect, layer7: {http: {}}}, {name: a, action: allow}]",
			facts:  tcp(lostApp(policy.Limit)), action: policy.Allow, rule: "a", reason: "rule", shadow: "s block",
		},
		"a rule that has expired": {
			policy: "rules: [{name: a, action: allow, expires: 2026-01-01T00:00:00Z}]", facts: tcp(), action: policy.Block, reason: "default",
		},
		"duration, too young": {
			policy: "default_action: allow\nrules: [{name: a, action: block, layer4: {tcp: {duration: {over: 1h}}}}]",
			facts:  tcp(func(f *policy.Facts) { f.Age = time.Hour }), action: policy.Allow, reason: "default",
		},
		"duration, over": {
			policy: "default_action: allow\nrules: [{name: a, action: block, layer4: {tcp: {duration: {over: 1h}}}}]",
			facts:  tcp(func(f *policy.Facts) { f.Age = time.Hour + 1 }), action: policy.Block, rule: "a", reason: "rule",
		},
		"destination_names without an entry is false, not unknown": {
			policy: "rules: [{name: a, action: allow, layer3: {destination_names: a.example}}]", facts: tcp(), action: policy.Block, reason: "default",
		},
		"destination_names": {
			policy: "rules: [{name: a, action: allow, layer3: {destination_names: a.example}}]", facts: tcp(names("b.example", "a.example")),
			action: policy.Allow, rule: "a", reason: "rule",
		},
		"domains: what the connection says outweighs DNS": {
			policy: "rules: [{name: a, action: allow, layer7: {domains: a.example}}]",
			facts:  tcp(serverName("b.example"), names("a.example")), action: policy.Block, reason: "default",
		},
		"domains: DNS where the connection says nothing": {
			policy: "rules: [{name: a, action: allow, layer7: {domains: a.example}}]",
			facts: tcp(app(policy.AppTLS), names("a.example"), func(f *policy.Facts) {
				f.TLS.ServerName = policy.Missing[string]()
			}), action: policy.Allow, rule: "a", reason: "rule",
		},
		"domains: DNS for a protocol without names": {
			policy: "rules: [{name: a, action: allow, layer7: {domains: a.example}}]",
			facts:  tcp(app(policy.AppSSH), names("a.example")), action: policy.Allow, rule: "a", reason: "rule",
		},
		"domains: what the connection says may still come": {
			policy: "rules: [{name: a, action: allow, layer7: {domains: a.example}}]",
			facts:  tcp(names("a.example")), reason: "pending", wanted: "application",
		},
		"domains beside a protocol": {
			policy: "rules: [{name: a, action: allow, layer7: {domains: a.example, tls: {versions: 1.3}}}]",
			facts:  tcp(serverName("a.example")), reason: "pending", wanted: "tls.version",
		},
		"protocols are alternatives": {
			policy: "rules: [{name: a, action: allow, layer7: [http, ssh]}]", facts: tcp(app(policy.AppSSH)), action: policy.Allow, rule: "a", reason: "rule",
		},
		"DNS over TLS is both": {
			policy: "rules: [{name: a, action: allow, layer7: {dns: {transports: tls}}}]", facts: tcp(app(policy.AppTLS | policy.AppDNS)),
			action: policy.Allow, rule: "a", reason: "rule",
		},
		"names are absent in DNS over TLS": {
			policy: "rules: [{name: a, action: allow, layer7: {dns: a.example}}]", facts: tcp(app(policy.AppTLS | policy.AppDNS)),
			action: policy.Block, reason: "default",
		},
		"plain DNS is not DNS over TLS": {
			policy: "rules: [{name: a, action: allow, layer7: {dns: {transports: tls}}}]", facts: tcp(app(policy.AppDNS)), action: policy.Block, reason: "default",
		},
		"QUIC is TLS": {
			policy: "rules: [{name: a, action: allow, layer7: {tls: {}}}]", facts: tcp(udp, app(policy.AppQUIC)), action: policy.Allow, rule: "a", reason: "rule",
		},
		"an address mapped into IPv6": {
			policy: "rules: [{name: a, action: allow, layer3: {source: 192.0.2.0/24}}]",
			facts:  tcp(func(f *policy.Facts) { f.Source = netip.MustParseAddr("::ffff:192.0.2.1") }), action: policy.Allow, rule: "a", reason: "rule",
		},
		"contradiction of layers": {
			policy: "rules: [{name: a, action: allow, layer4: udp, layer7: {ssh: {}}}]", facts: tcp(udp, app(policy.AppSSH)), action: policy.Block, reason: "default",
		},
		"only exceptions": {
			policy: `rules: [{name: a, action: allow, layer3: {destination: ["!203.0.113.0/24"]}}]`, facts: tcp(), action: policy.Block, reason: "default",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := load(t, tt.policy)
			d := p.Walk(tt.facts)
			rule := ""
			if d.Rule != nil {
				rule = d.Rule.Name
				if walked := p.Walked()[d.Index].Name; walked != rule {
					t.Errorf("index %d is %s", d.Index, walked)
				}
			}
			if d.Action != tt.action || rule != tt.rule || d.Reason.String() != tt.reason || d.Early != tt.early || d.Wanted.String() != tt.wanted {
				t.Errorf("%v by %q, reason %s, early %t, wanted %q", d.Action, rule, d.Reason, d.Early, d.Wanted)
			}
			shadow := ""
			if d.ShadowRule != nil {
				shadow = d.ShadowRule.Name + " " + d.ShadowAction.String()
			} else if d.ShadowWanted != 0 {
				shadow = "wants " + d.ShadowWanted.String()
			}
			if shadow != tt.shadow {
				t.Errorf("shadow %q, want %q", shadow, tt.shadow)
			}
		})
	}
}

func TestSafeguards(t *testing.T) {
	p := load(t, "rules: [{name: a, action: block}]")
	from := func(protocol uint8, a, b uint16, change func(*policy.Facts)) *policy.Facts {
		f := tcp(func(f *policy.Facts) { f.Protocol, f.SourcePort, f.DestinationPort = protocol, a, b })
		if protocol == 1 || protocol == 58 {
			f.SourcePort, f.DestinationPort, f.ICMPType, f.ICMPCode = 0, 0, uint8(a), uint8(b)
		}
		if change != nil {
			change(f)
		}
		return f
	}
	hop255 := func(f *policy.Facts) { f.HopLimit = 255 }
	quotes := func(f *policy.Facts) { f.QuotesAllowed = true }
	tests := map[string]struct {
		facts *policy.Facts
		rule  string
	}{
		"dhcp request":                  {from(17, 68, 67, nil), "weir:dhcp"},
		"dhcp answer":                   {from(17, 67, 68, nil), "weir:dhcp"},
		"dhcpv6 request":                {from(17, 546, 547, nil), "weir:dhcp"},
		"not dhcp":                      {from(17, 68, 53, nil), "a"},
		"neighbor solicitation":         {from(58, 135, 0, hop255), "weir:neighbor-discovery"},
		"neighbor solicitation, routed": {from(58, 135, 0, nil), "a"},
		"echo at hop limit 255":         {from(58, 128, 0, hop255), "a"},
		"unreachable":                   {from(1, 3, 1, quotes), "weir:icmp-errors"},
		"unreachable, unasked":          {from(1, 3, 1, nil), "a"},
		"redirect":                      {from(1, 5, 1, quotes), "a"},
		"packet too big":                {from(58, 2, 0, quotes), "weir:icmp-errors"},
		"own socket":                    {from(6, 1, 2, func(f *policy.Facts) { f.OwnSocket = true }), "weir:export"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := p.Walk(tt.facts); d.Rule == nil || d.Rule.Name != tt.rule {
				t.Errorf("%+v, want %s", d, tt.rule)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	p := load(t, `rules:
- {name: a, action: allow, expires: 2026-01-02T00:00:00Z}
- {name: b, action: allow, expires: 2026-01-01T00:00:00Z, layer4: tcp}`)
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	if next := p.NextExpiry(at(1).Add(-1)); !next.Equal(at(1)) {
		t.Errorf("next expiry %v", next)
	}
	if next := p.NextExpiry(at(2)); !next.IsZero() {
		t.Errorf("next expiry %v", next)
	}
	if left := p.Without(at(1)); len(left.Rules) != 1 || left.Rules[0].Name != "a" || len(p.Rules) != 2 {
		t.Errorf("left %v of %v", left.Rules, p.Rules)
	}
	if same := p.Without(at(1).Add(-1)); same != p {
		t.Error("a copy where nothing expired")
	}
	if none := p.Without(at(3)); none.Empty() || none.Walk(tcp()).Action != policy.Block {
		t.Error("a policy opens up when its last rule runs out")
	}
}
