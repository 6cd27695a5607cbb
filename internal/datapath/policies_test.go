package datapath

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

// policyText is a generated policy, in parts that can be left out.
type policyText struct {
	settings []string // a top-level key each
	rules    []string
}

func (p policyText) String() string {
	var b strings.Builder
	for _, s := range p.settings {
		b.WriteString(s + "\n")
	}
	if len(p.rules) > 0 {
		b.WriteString("rules:\n")
	}
	for _, r := range p.rules {
		b.WriteString("  - " + r + "\n")
	}
	return b.String()
}

// without is p without its i-th part; the last parts are the rules.
func (p policyText) without(i int) policyText {
	settings, rules := p.settings, p.rules
	if i < len(settings) {
		return policyText{append(append([]string(nil), settings[:i]...), settings[i+1:]...), rules}
	}
	i -= len(settings)
	return policyText{settings, append(append([]string(nil), rules[:i]...), rules[i+1:]...)}
}

func (p policyText) parts() int { return len(p.settings) + len(p.rules) }

// load reads the policy; an error where parts that others need were left out.
func (p policyText) load() (*policy.Policy, error) {
	loaded, _, err := policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(p.String())})
	return loaded, err
}

// policies draws policies about the addresses and ports that traffic has.
type policies struct{ *rand.Rand }

func (g policies) word(of ...string) string { return of[g.IntN(len(of))] }

// often is true in so many of a hundred.
func (g policies) often(percent int) bool { return g.IntN(100) < percent }

func (g policies) policy() (p policyText) {
	set := func(percent int, key, value string) {
		if g.often(percent) {
			p.settings = append(p.settings, key+": "+value)
		}
	}
	set(85, "mode", g.word("prevent", "prevent", "prevent", "detect"))
	set(50, "default_action", g.word("allow", "block"))
	set(60, "reject", g.word("outbound", "always", "never"))
	set(40, "non_ip", g.word("allow", "block"))
	set(50, "on_error", g.word("allow", "block",
		fmt.Sprintf("{malformed: %s}", g.action()),
		fmt.Sprintf("{malformed: %s, limit: %s, overload: %s, agent_down: %s, not_seen: %s}",
			g.action(), g.action(), g.action(), g.action(), g.word("allow", "block", "keep"))))
	var guards []string
	for _, name := range []string{"loopback", "dhcp", "neighbor-discovery", "icmp-errors", "export"} {
		if g.often(25) {
			guards = append(guards, name+": "+g.word("false", "false", "true"))
		}
	}
	if len(guards) > 0 {
		set(100, "safeguards", "{"+strings.Join(guards, ", ")+"}")
	}
	set(100, "groups", fmt.Sprintf("{addresses: {office: %s}}", g.some(g.address)))
	if g.often(40) { // what is open already cannot be decided by it
		p.rules = append(p.rules, fmt.Sprintf("{name: inspected, action: %s, layer7: %s}", g.action(), g.protocols()))
	}
	for n := range g.IntN(9) {
		p.rules = append(p.rules, g.rule(n))
	}
	return p
}

func (g policies) action() string { return g.word("allow", "block") }

func (g policies) some(draw func() string) string {
	if g.often(40) {
		return draw()
	}
	var all []string
	for range 1 + g.IntN(3) {
		all = append(all, draw())
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (g policies) rule(n int) string {
	keys := []string{fmt.Sprintf("name: r%d", n), "action: " + g.action()}
	add := func(percent int, key string, draw func() string) {
		if g.often(percent) {
			keys = append(keys, key+": "+draw())
		}
	}
	add(12, "mode", func() string { return "detect" })
	add(30, "direction", func() string { return g.word("inbound", "outbound", "forwarded", "any") })
	add(20, "reject", func() string { return g.word("true", "false") })
	add(45, "layer3", g.layer3)
	add(70, "layer4", g.layer4)
	if g.often(6) {
		keys = append(keys, "layer7: "+g.protocols())
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

func (g policies) protocols() string { return g.word("http", "tls", "[dns, ssh]") }

func (g policies) address() string {
	return g.word("10.0.0.1", "10.0.0.2", "10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/8", "10.0.0.2-10.0.1.2", "0.0.0.0/0", `"::/0"`,
		`"fd00::1"`, `"fd00::2"`, `"fd00::/64"`, `"fd00:1::/64"`, `"fd00::2-fd00:1::2"`, "127.0.0.0/8", `"::1"`, "192.0.2.1")
}

func (g policies) addresses() string {
	return g.some(func() string {
		switch g.IntN(8) {
		case 0, 1:
			return `"!` + strings.Trim(g.address(), `"`) + `"`
		case 2:
			return g.word("group:office", `"!group:office"`)
		}
		return g.address()
	})
}

func (g policies) layer3() string {
	var keys []string
	if g.often(60) {
		keys = append(keys, "source: "+g.addresses())
	}
	if g.often(60) {
		keys = append(keys, "destination: "+g.addresses())
	}
	if g.often(12) {
		keys = append(keys, "other_protocols: "+g.some(func() string { return g.word("gre", "132", "255", "0") }))
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

func (g policies) ports() string {
	return g.some(func() string {
		return g.word("1", "2", "22", "53", "80", "443", "8080", "1-100", "40000-40001", "40001-65535", "50000", "0-65535")
	})
}

func (g policies) layer4() string {
	if g.often(30) {
		return g.some(func() string { return g.word("tcp", "udp", "icmp", "icmpv6") })
	}
	var keys []string
	if g.often(60) {
		keys = append(keys, "tcp: "+g.transport(true))
	}
	if g.often(30) {
		keys = append(keys, "udp: "+g.transport(false))
	}
	if g.often(20) {
		keys = append(keys, "icmp: "+g.messages("8", "0", "3", "13", "echo-request", "1-12"))
	}
	if g.often(20) {
		keys = append(keys, "icmpv6: "+g.messages("128", "1", "133-137", "echo-request", "packet-too-big"))
	}
	if len(keys) == 0 {
		return "tcp"
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

func (g policies) transport(tcp bool) string {
	if g.often(50) {
		return g.ports()
	}
	var keys []string
	if g.often(30) {
		keys = append(keys, "source_ports: "+g.ports())
	}
	if g.often(60) {
		keys = append(keys, "destination_ports: "+g.ports())
	}
	if tcp && g.often(20) {
		keys = append(keys, "duration: {over: "+g.word("1h", "1ns", "30ms")+"}")
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

func (g policies) messages(types ...string) string {
	if g.often(60) {
		return g.some(func() string { return g.word(types...) })
	}
	return fmt.Sprintf("{types: %s, codes: %s}", g.word(types...), g.word("0", "1", "0-255"))
}
