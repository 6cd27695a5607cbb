package policy_test

import (
	"fmt"

	"pgregory.net/rapid"
)

// object and list are what a generated policy is made of.
type (
	object = map[string]any
	list   = []any
)

// generator draws policies that the loader must accept.
type generator struct{ t *rapid.T }

func (g generator) chance(percent int) bool {
	return rapid.IntRange(0, 99).Draw(g.t, "chance") < percent
}

func pick[T any](g generator, values ...T) T { return rapid.SampledFrom(values).Draw(g.t, "pick") }

// some is a value, or a list of one to three.
func (g generator) some(value func() any) any {
	if g.chance(40) {
		return value()
	}
	var l list
	for range rapid.IntRange(1, 3).Draw(g.t, "length") {
		l = append(l, value())
	}
	return l
}

// optional fills a mapping with some of the keys.
func (g generator) optional(keys object, draw map[string]func() any) object {
	for _, key := range sorted(draw) {
		if g.chance(40) {
			keys[key] = draw[key]()
		}
	}
	return keys
}

func (g generator) policy() object {
	n := 0
	p := g.optional(object{}, map[string]func() any{
		"mode":           func() any { return pick(g, "detect", "prevent") },
		"default_action": g.action,
		"on_error": func() any {
			if g.chance(50) {
				return g.action()
			}
			return g.optional(object{}, map[string]func() any{
				"malformed": g.action, "limit": g.action, "overload": g.action, "agent_down": g.action,
				"not_seen": func() any { return pick(g, "allow", "block", "keep") },
			})
		},
		"reject": func() any { return pick(g, "outbound", "always", "never") },
		"non_ip": g.action,
		"safeguards": func() any {
			return g.optional(object{}, map[string]func() any{
				"loopback": g.bool, "dhcp": g.bool, "neighbor-discovery": g.bool, "icmp-errors": g.bool, "export": g.bool,
			})
		},
	})
	// Rules draw from these two groups, so they are always there.
	p["groups"] = object{
		"addresses": object{"office": g.some(func() any { return pick[any](g, "192.0.2.0/24", "2001:db8::1", "198.51.100.7-198.51.100.90") })},
		"domains":   object{"trackers": g.some(func() any { return pick[any](g, ".example.org", "*.example.com") }), "none": list{}},
	}
	rules := list{}
	for range rapid.IntRange(0, 3).Draw(g.t, "rules") {
		n++
		rules = append(rules, g.rule(n))
	}
	p["rules"] = rules
	return p
}

func (g generator) action() any { return pick(g, "allow", "block") }
func (g generator) bool() any   { return pick(g, true, false) }

func (g generator) rule(n int) any {
	return g.optional(object{"name": fmt.Sprintf("rule-%d", n), "action": g.action()}, map[string]func() any{
		"description": func() any { return pick[any](g, "a rule", 7, true) },
		"mode":        func() any { return "detect" },
		"direction":   func() any { return pick(g, "outbound", "inbound", "forwarded", "any") },
		"expires":     func() any { return pick(g, "2027-01-31T00:00:00Z", "2027-01-31T23:59:59.5+02:00") },
		"reject":      g.bool,
		"layer3": func() any {
			return g.optional(object{}, map[string]func() any{
				"source": g.addresses, "destination": g.addresses, "destination_names": g.names,
				"other_protocols": func() any {
					return g.some(func() any { return pick[any](g, "gre", 132, "0", "255") })
				},
			})
		},
		"layer4": g.layer4,
		"layer7": g.layer7,
	})
}

func (g generator) addresses() any {
	return g.some(func() any {
		return pick(g, "", "!") + pick(g, "192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "fe80::1",
			"10.0.0.1-10.0.0.9", "2001:db8::1-2001:db8::9", "group:office", "::ffff:192.0.2.0/120")
	})
}

func (g generator) names() any {
	return g.some(func() any {
		return pick(g, "", "!") + pick(g, "example.com", "*.example.com", "**.Example.com.", ".zip", "**", "a.*.example",
			"_sip._tcp.example", "bücher.example", "group:trackers", "group:none", "192.0.2.1", "[2001:db8::1]", "2001:db8::1")
	})
}

func (g generator) layer4() any {
	if g.chance(30) {
		return g.some(func() any { return pick(g, "tcp", "udp", "icmp", "icmpv6") })
	}
	ports := func() any {
		return g.some(func() any { return pick[any](g, 0, 80, 65535, "443", "8000-8100", "0-65535") })
	}
	codes := func() any { return g.some(func() any { return pick[any](g, 0, 255, "1-3") }) }
	types := func(names ...any) func() any {
		return func() any { return g.some(func() any { return pick(g, append(names, 3, "128", "1-4")...) }) }
	}
	either := func(short, long func() any) func() any {
		return func() any {
			if g.chance(30) {
				return short()
			}
			return long()
		}
	}
	icmp, icmpv6 := types("echo-request", "source-quench", "packet-too-big"), types("packet-too-big", "redirect")
	return g.optional(object{}, map[string]func() any{
		"tcp": either(ports, func() any {
			return g.optional(object{}, map[string]func() any{
				"source_ports": ports, "destination_ports": ports,
				"duration": func() any { return object{"over": g.duration()} },
			})
		}),
		"udp": either(ports, func() any {
			return g.optional(object{}, map[string]func() any{"source_ports": ports, "destination_ports": ports})
		}),
		"icmp": either(icmp, func() any {
			return g.optional(object{}, map[string]func() any{"types": icmp, "codes": codes})
		}),
		"icmpv6": either(icmpv6, func() any {
			return g.optional(object{}, map[string]func() any{"types": icmpv6, "codes": codes})
		}),
	})
}

func (g generator) duration() any {
	return pick(g, "1h", "14d", "1.5d", "1d12h30m", ".5h", "90s", "250ms")
}

func (g generator) texts() any {
	return g.some(func() any { return pick[any](g, "prod", "stag*", "Let's Encrypt", "a!b", "group", 5, true) })
}

func (g generator) layer7() any {
	if g.chance(20) {
		return g.some(func() any { return pick(g, "http", "tls", "dns", "ssh") })
	}
	of := func(values ...any) func() any {
		return func() any { return g.some(func() any { return pick(g, values...) }) }
	}
	either := func(draw map[string]func() any) func() any {
		return func() any {
			if g.chance(30) {
				return g.names()
			}
			return g.optional(object{}, draw)
		}
	}
	sum := "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789"
	return g.optional(object{}, map[string]func() any{
		"domains": g.names,
		"http": either(map[string]func() any{
			"hosts":    g.names,
			"paths":    of("/", "/v1/**", "/a/*/b", "~^/v[0-9]+$", "**", "*", "**/x", "/%41"),
			"methods":  of("GET", "propfind", "M-SEARCH"),
			"headers":  func() any { return g.optional(object{}, map[string]func() any{"x-env": g.texts, "Accept": g.texts}) },
			"versions": of("1.0", "1.1", "2", 1.1, 2),
		}),
		"tls": either(map[string]func() any{
			"server_names": g.names,
			"versions":     of("1.0", "1.2", 1.3),
			"ech":          g.bool,
			"certificate": func() any {
				return g.optional(object{}, map[string]func() any{
					"subject_names": g.names, "issuer_names": g.texts, "issuer_organizations": g.texts,
					"authority_sha256": of(sum), "expired": g.bool, "expires_within": g.duration, "self_signed": g.bool,
				})
			},
		}),
		"dns": either(map[string]func() any{
			"names": g.names, "types": of("A", "TYPE65", 28, "257"), "transports": of("udp", "tcp", "tls"),
		}),
		"ssh": func() any {
			return g.optional(object{}, map[string]func() any{
				"public_keys": of("SHA256:uNiVztksCsDhcc0u9e8BrDaOKVPYMSHAsKoeEUlQnSk"), "software": g.texts,
			})
		},
	})
}
