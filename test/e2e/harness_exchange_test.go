package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// passage is a way through Weir's host that connections take.
type passage struct {
	direction string
	from, to  *host
	at        netip.Addr // of to
}

// passages are all directions and families; the lab is that of newRouter.
func passages(l *lab, c *host) (all []passage) {
	beyond := &lab{a: l.a, b: c}
	for _, f := range families {
		all = append(all,
			passage{"outbound", l.a, l.b, l.address(l.b, f, 0)},
			passage{"inbound", l.b, l.a, l.address(l.a, f, 0)},
			passage{"forwarded", l.b, c, beyond.address(c, f, networks)},
		)
	}
	return all
}

func (p passage) String() string {
	f := ipv6
	if p.at.Is4() {
		f = ipv4
	}
	return fmt.Sprintf("%s %v", p.direction, f)
}

// present stands for any value of an attribute, except an empty one.
const present = "present"

// said is what the records are to say of an exchange.
type said struct {
	attributes map[string]any
	// With the policy of the test.
	action, rule string
}

// talk is what a client says to a server, in connections of its own.
type talk struct {
	name      string
	transport string
	port      uint16
	protocol  string // of the connections' ends
	// run has client and server talk.
	run func(t *testing.T, p passage, at netip.AddrPort)
	// connections are so many; 0: one.
	connections int
	exchanges   []said
	// action and rule are those of the connections' ends, with the policy of the test.
	action, rule string
	undecided    bool // there is none
}

// expectTalk runs a talk and compares what is told of it: each exchange once, between
// the start and the end of its connection.
func (w *weir) expectTalk(t *testing.T, k *talk, p passage) {
	t.Helper()
	at := netip.AddrPortFrom(p.at, k.port)
	k.run(t, p, at)
	ends, exchanges := w.inside(t, k.transport, at, max(k.connections, 1))
	for _, end := range ends {
		if got := end.str("network.protocol.name"); got != k.protocol {
			t.Errorf("network.protocol.name of the end is %q, want %q", got, k.protocol)
		}
		w.expectJudgement(t, end, p, k.action, k.rule, k.undecided)
	}
	var got, want []map[string]any
	for i, e := range exchanges {
		got = append(got, inner(e))
		if i < len(k.exchanges) {
			w.expectJudgement(t, e, p, k.exchanges[i].action, k.exchanges[i].rule, false)
		}
	}
	for i := range k.exchanges {
		wanted := maps.Clone(k.exchanges[i].attributes)
		for key, value := range wanted {
			if value != present || i >= len(got) {
				continue
			}
			if v, ok := got[i][key]; ok && v != "" {
				wanted[key] = v
			}
		}
		want = append(want, wanted)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
}

func (w *weir) expectJudgement(t *testing.T, r record, p passage, action, rule string, undecided bool) {
	t.Helper()
	e := expectation{direction: p.direction, verdict: "detected", mode: "detect"}
	if w.config.policy != "" {
		e.action, e.rule, e.generation, e.reason = action, rule, "1", "rule"
		switch {
		case undecided:
			e.reason = "pending"
		case rule == "":
			e.reason = "default"
		}
	}
	got := map[string]any{}
	for key, value := range r.attributes {
		if isJudgement(key) {
			got[key] = value
		}
	}
	if diff := cmp.Diff(e.judgement(), got); diff != "" {
		t.Errorf("%s: judgement (-want +got):\n%s", r.event, diff)
	}
}

func isJudgement(key string) bool {
	switch key {
	case "weir.direction", "weir.verdict", "weir.action", "weir.mode", "weir.reason", "weir.shadow.rule", "weir.shadow.action":
		return true
	}
	return strings.HasPrefix(key, "security_rule.")
}

// inner are the attributes of an exchange that are not its connection's, nor its
// judgement.
func inner(r record) map[string]any {
	attributes := map[string]any{"event": r.event}
	for key, value := range r.attributes {
		switch {
		case isJudgement(key), strings.HasPrefix(key, "source."), strings.HasPrefix(key, "destination."):
		case key == "network.transport", key == "network.type", key == "network.interface.name", key == "weir.connection.id":
		default:
			attributes[key] = value
		}
	}
	return attributes
}

// inside waits for the end of so many connections to an address, and returns it with
// what was said inside of them.
func (w *weir) inside(t *testing.T, transport string, to netip.AddrPort, connections int) (ends, exchanges []record) {
	t.Helper()
	isTo := func(r record) bool {
		return r.str("network.transport") == transport && r.str("destination.address") == to.Addr().String() && r.num("destination.port") == int64(to.Port())
	}
	var all []record
	awaitOr(t, func() bool {
		all = slices.DeleteFunc(w.records(t), func(r record) bool { return !isTo(r) })
		ends, exchanges = nil, nil
		for _, r := range all {
			switch {
			case r.event == "weir.connection.end":
				ends = append(ends, r)
			case !strings.HasPrefix(r.event, "weir.connection."):
				exchanges = append(exchanges, r)
			}
		}
		return len(ends) >= connections
	}, func() {
		t.Fatalf("waited %v in vain for the end of %d connections to %s %v; told so far:\n%v", patience, connections, transport, to, story(all))
	})
	if len(ends) != connections {
		t.Fatalf("%d connections to %s %v, want %d:\n%v", len(ends), transport, to, connections, story(all))
	}
	return ends, exchanges
}
