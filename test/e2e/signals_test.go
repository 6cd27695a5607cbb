package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMetrics makes connections of several kinds and compares the metrics with
// what the peers did.
func TestMetrics(t *testing.T) {
	for _, mode := range []string{"prevent", "detect"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := start(t, l.a, config{policy: string(newPolicy(t, "mode: "+mode+`
reject: always
rules:
  - {name: shadow, action: block, mode: detect, layer4: {tcp: 9090}}
  - {name: other, action: allow, layer4: {tcp: 9090, udp: 9090}}
  - {name: unused, action: allow, layer4: {tcp: 1}}
  - {name: shut, action: block, layer4: {tcp: 8080, udp: 8080}}
`)), timeouts: "{tcp: 60s, tcp_closing: 60s, udp: 60s, icmp: 60s}"})
			verdicts, packets, bytes := points{}, points{}, points{}
			rules, durations := points{"unused": 0}, points{}
			note := func(direction, transport, verdict, action, rule string, source, destination counts) {
				if mode == "detect" {
					verdict = "detected"
				}
				verdicts[fmt.Sprint(verdict, " ", action, " rule ", transport, " ", direction)]++
				for end, sent := range map[string]counts{"source": source, "destination": destination} {
					if sent.packets > 0 {
						key := fmt.Sprint(end, " ", transport, " ", direction, " ", verdict)
						packets[key] += sent.packets
						bytes[key] += sent.bytes
					}
				}
				rules[rule]++
				if transport == "tcp" {
					durations[fmt.Sprint(transport, " ", direction, " ", verdict)]++
				}
			}
			var live int64
			for _, f := range families {
				for i, direction := range []string{"outbound", "inbound"} {
					from, to := l.a, l.b
					if direction == "inbound" {
						from, to = l.b, l.a
					}
					at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(to, f, 0), port) }
					for range 2 + i {
						source, destination := l.connect(t, from, to, at(9090)).exchange(t, 30000, 20000)
						note(direction, "tcp", "allowed", "allow", "other", source, destination)
						rules["shadow"]++
					}
					open := l.connect(t, from, to, at(9090))
					open.chat(t)
					live++
					to.echoUDP(t, at(9090))
					to.echoUDP(t, at(8080))
					for _, port := range []uint16{9090, 8080} {
						c := from.dialUDP(t, at(port))
						err := ask(c, 700, patience)
						if port == 8080 && mode == "prevent" {
							if err == nil {
								t.Error("a blocked datagram was answered")
							}
							note(direction, "udp", "blocked", "block", "shut", datagrams(f, 1, 700), counts{})
							live++ // told as blocked, and remembered until its time is up
							continue
						}
						if err != nil {
							t.Fatal(err)
						}
						action, rule := "allow", "other"
						if port == 8080 {
							action, rule = "block", "shut"
						}
						note(direction, "udp", "allowed", action, rule, datagrams(f, 1, 700), datagrams(f, 1, 700))
						live++
					}
					if mode == "prevent" {
						d := from.dialTCP(at(8080), patience)
						note(direction, "tcp", "blocked", "block", "shut", d.syn(f), counts{})
					} else {
						source, destination := l.connect(t, from, to, at(8080)).exchange(t, 1, 1)
						note(direction, "tcp", "allowed", "block", "shut", source, destination)
					}
					// The open connection ends now, so that its counts are known.
					source, destination := open.exchange(t, 5, 5)
					live--
					note(direction, "tcp", "allowed", "allow", "other", source, destination)
					rules["shadow"]++
				}
			}
			check := func(name string, want points, keys ...string) {
				t.Helper()
				var got points
				awaitOr(t, func() bool {
					got = w.metric(t, name, keys...)
					for key := range got {
						// Neighbor discovery and multicast reports are the kernel's own.
						if _, ok := want[key]; !ok && (containsAll(key, []string{"icmp"}) || containsAll(key, []string{"weir:"})) {
							delete(got, key)
						}
					}
					return cmp.Equal(want, got)
				}, func() { t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(want, got)) })
			}
			check("weir.connection.verdicts", verdicts, "weir.verdict", "weir.action", "weir.reason", "network.transport", "weir.direction")
			check("weir.connection.packets", packets, "weir.sender", "network.transport", "weir.direction", "weir.verdict")
			check("weir.connection.io", bytes, "weir.sender", "network.transport", "weir.direction", "weir.verdict")
			check("weir.rule.matches", rules, "security_rule.name")
			check("weir.connection.duration", durations, "network.transport", "weir.direction", "weir.verdict")
			var active points
			awaitOr(t, func() bool {
				active = w.metric(t, "weir.connection.active")
				return active[""] >= live && active[""] <= live+30 // and the kernel's own
			}, func() { t.Fatalf("weir.connection.active: %v, want %d and the kernel's own", active, live) })
		})
	}
}

// TestSpans: a span for each blocked connection, or for all of them.
func TestSpans(t *testing.T) {
	for _, c := range []struct {
		mode, wanted string
		allowed      bool // whether allowed connections have spans
		failed       bool // whether blocked ones are errors
	}{
		{"prevent", "", false, true},
		{"prevent", "traces: {connections: all}", true, true},
		{"detect", "traces: {connections: all}", true, false},
		{"detect", "", false, false},
	} {
		t.Run(c.mode+" "+c.wanted, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := start(t, l.a, config{
				policy: string(newPolicy(t, "mode: "+c.mode+shut8080[len("\nmode: prevent"):])), receiver: c.wanted,
			})
			at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(l.b, ipv4, 0), port) }
			good := l.connect(t, l.a, l.b, at(9090))
			good.exchange(t, 1000, 1000)
			end := w.ended(t, good.tuple)[1]

			listener := l.b.listenTCP(t, at(8080))
			d := l.a.dialTCP(at(8080), patience)
			listener.Close()
			if d.conn != nil {
				d.conn.Close()
			}
			bad := tuple{"tcp", d.source, at(8080)}
			badEnd := w.ended(t, bad)

			// Spans come in the order of the ends: when that of the blocked one is
			// there, that of the allowed one is, or will not be.
			if c.mode == "prevent" || c.allowed {
				s := w.awaitSpan(t, bad)
				checkSpan(t, s, badEnd[len(badEnd)-1], c.failed)
			}
			if c.allowed {
				checkSpan(t, w.awaitSpan(t, good.tuple), end, false)
			}
			w.stop(t)
			for _, s := range w.spans(t) {
				if !c.allowed && s.attributes["weir.verdict"] != "blocked" {
					t.Errorf("a span that nobody asked for: %v", s)
				}
			}
		})
	}
}

func checkSpan(t *testing.T, s span, end record, failed bool) {
	t.Helper()
	want := maps.Clone(end.attributes)
	if failed {
		want["error.type"] = "blocked"
	}
	if diff := cmp.Diff(want, s.attributes); diff != "" {
		t.Errorf("attributes of the span (-end +span):\n%s", diff)
	}
	if s.name != "connection tcp" || s.kind != "Internal" || s.failed != failed {
		t.Errorf("span %q, kind %s, error %t", s.name, s.kind, s.failed)
	}
	if d := s.seconds - end.attributes["weir.duration"].(float64); d < -1e-6 || d > 1e-6 {
		t.Errorf("the span takes %v s, the connection %v s", s.seconds, end.attributes["weir.duration"])
	}
}
