package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The networks by what the policies of these tests say of them.
const (
	allowed   = 0 // by a rule
	forbidden = 1 // by a rule
	unnamed   = 2 // by the default
	shadowed  = 3 // allowed, and a shadow rule would block
	answered  = 4 // blocked, with reject: true
	silenced  = 5 // blocked, with reject: false
)

// rulesFor has a rule for each transport and direction in each network.
func rulesFor() string {
	var b strings.Builder
	for _, direction := range []string{"outbound", "inbound"} {
		for _, transport := range []string{"tcp", "udp", "icmp"} {
			criteria := map[string]string{
				"tcp": "{tcp: [8000-8999]}", "udp": "{udp: [8000-8999]}", "icmp": "{icmp: {types: echo-request}}",
			}[transport]
			for _, rule := range []struct {
				name, action, more string
				network            int
			}{
				{"shadow", "block", ", mode: detect", shadowed},
				{"yes", "allow", "", allowed},
				{"even", "allow", "", shadowed},
				{"no", "block", "", forbidden},
				{"answer", "block", ", reject: true", answered},
				{"silence", "block", ", reject: false", silenced},
			} {
				fmt.Fprintf(&b, "  - {name: %s-%s-%s, action: %s%s, direction: %s, layer3: {destination: %s}, layer4: %s}\n",
					rule.name, direction, transport, rule.action, rule.more, direction, nets(rule.network), criteria)
			}
		}
	}
	return b.String()
}

// outcome is what a network's rules say of a connection.
func outcome(network int, direction, transport string) expectation {
	if transport == "icmpv6" {
		transport = "icmp"
	}
	e := expectation{direction: direction, mode: "prevent", generation: "1", reason: "rule"}
	name := map[int]string{
		allowed: "yes", forbidden: "no", shadowed: "even", answered: "answer", silenced: "silence",
	}[network]
	e.rule = fmt.Sprintf("%s-%s-%s", name, direction, transport)
	switch network {
	case allowed, shadowed:
		e.verdict, e.action = "allowed", "allow"
	default:
		e.verdict, e.action = "blocked", "block"
	}
	switch network {
	case unnamed:
		e.rule, e.reason = "", "default"
	case shadowed:
		e.shadowRule, e.shadow = fmt.Sprintf("shadow-%s-%s", direction, transport), "block"
	}
	return e
}

// TestMatrix makes a connection of each kind under each answer of a policy.
func TestMatrix(t *testing.T) {
	everything := []int{allowed, forbidden, unnamed, shadowed, answered, silenced}
	for _, c := range []struct {
		name, settings string
		detect         bool
		networks       []int
		rejects        map[string]bool // by direction, where the rule does not say
	}{
		{"outbound", "reject: outbound", false, everything, map[string]bool{"outbound": true}},
		{"always", "reject: always", false, everything, map[string]bool{"outbound": true, "inbound": true}},
		{"never", "reject: never", false, everything, map[string]bool{}},
		{"detect", "mode: detect", true, everything, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			settings := c.settings
			if !c.detect {
				settings = "mode: prevent\n" + settings
			}
			policy := newPolicy(t, settings+"\ndefault_action: block\nrules:\n"+rulesFor())
			w := start(t, l.a, config{policy: string(policy)})
			for _, network := range c.networks {
				for _, f := range families {
					for _, direction := range []string{"outbound", "inbound"} {
						from, to := l.a, l.b
						if direction == "inbound" {
							from, to = l.b, l.a
						}
						rejects := network == answered || network != silenced && c.rejects[direction]
						x := attempt{w: w, lab: l, from: from, to: to, family: f, network: network, rejects: rejects}
						for transport, try := range map[string]func(*testing.T, attempt, expectation){
							"tcp": tryTCP, "udp": tryUDP, "icmp": tryICMP,
						} {
							e := outcome(network, direction, transport)
							if c.detect {
								e.verdict, e.mode = "detected", "detect"
							}
							x.passes = c.detect || e.verdict == "allowed"
							x := x
							name := fmt.Sprintf("%s/%v/%s/%s", direction, f, transport, e.rule+e.reason)
							t.Run(name, func(t *testing.T) {
								t.Parallel()
								try(t, x, e)
							})
						}
					}
				}
			}
		})
	}
}

// attempt is one connection to be tried.
type attempt struct {
	w        *weir
	lab      *lab
	from, to *host
	family   family
	network  int
	passes   bool
	rejects  bool // what is blocked is answered
}

func (x attempt) addresses() (from, to netip.Addr) {
	return x.lab.address(x.from, x.family, x.network), x.lab.address(x.to, x.family, x.network)
}

func tryTCP(t *testing.T, x attempt, e expectation) {
	_, to := x.addresses()
	at := netip.AddrPortFrom(to, 8080)
	if x.passes {
		p := x.lab.connect(t, x.from, x.to, at)
		e.source, e.destination = p.exchange(t, 5000, 70000)
		e.end = "fin"
		x.w.expect(t, p.tuple, e)
		return
	}
	listener := x.to.listenTCP(t, at)
	d := x.from.dialTCP(at, silence)
	switch {
	case d.err == nil:
		t.Fatal("connected")
	case x.rejects && !errors.Is(d.err, unix.ECONNREFUSED):
		t.Errorf("connect: %v, want it refused", d.err)
	case !x.rejects && !isTimeout(d.err):
		t.Errorf("connect: %v after %v, want silence", d.err, d.took)
	}
	e.end, e.source = "blocked", d.syn(x.family)
	x.w.expect(t, tuple{"tcp", d.source, at}, e)
	listener.SetDeadline(time.Unix(1, 0))
	if _, err := listener.Accept(); err == nil {
		t.Error("the server was reached")
	}
}

func tryUDP(t *testing.T, x attempt, e expectation) {
	_, to := x.addresses()
	echo := x.to.echoUDP(t, netip.AddrPortFrom(to, 8080))
	c := x.from.dialUDP(t, netip.AddrPortFrom(to, 8080))
	e.end = "timeout"
	if x.passes {
		for size := range 5 {
			if err := ask(c, 100*size, patience); err != nil {
				t.Fatal(err)
			}
			e.source.add(datagrams(x.family, 1, int64(100*size)))
		}
		e.destination = e.source
		x.w.expect(t, udpTuple(c), e)
		return
	}
	err := ask(c, 33, silence)
	// Administratively prohibited: a host is unreachable (RFC 1122 section
	// 3.2.2.1), in IPv6 access is denied (RFC 4443 section 3.1).
	prohibited := unix.EHOSTUNREACH
	if x.family == ipv6 {
		prohibited = unix.EACCES
	}
	switch {
	case x.rejects && !errors.Is(err, prohibited):
		t.Errorf("the socket says %v, want %v", err, prohibited)
	case !x.rejects && !isTimeout(err):
		t.Errorf("the socket says %v, want silence", err)
	}
	e.end, e.source = "blocked", datagrams(x.family, 1, 33)
	x.w.expect(t, udpTuple(c), e)
	if n := echo.received.Load(); n != 0 {
		t.Errorf("%d datagrams came through", n)
	}
}

func tryICMP(t *testing.T, x attempt, e expectation) {
	from, to := x.addresses()
	p, server := x.from.pinger(t, from), x.to.pinger(t, to)
	request, reply := p.types()
	const size = 48
	wait, n := patience, int64(3)
	if !x.passes {
		wait, n = silence, 1
	}
	for sequence := range n {
		// IPv6 tells a raw socket that its packet was dropped on the way out.
		if err := p.send(to, uint16(sequence), size); err != nil && (x.passes || !errors.Is(err, unix.ENOBUFS)) {
			t.Fatal(err)
		}
		if answered := p.saw(reply, p.id, wait); answered != x.passes {
			t.Errorf("answered: %t", answered)
		}
	}
	if reached := server.saw(request, p.id, silence/10); reached != x.passes {
		t.Errorf("the other host saw the request: %t", reached)
	}
	e.end, e.source = "timeout", datagrams(x.family, n, size) // its header has 8 bytes too
	if x.passes {
		e.destination = e.source
	} else {
		e.end = "blocked"
	}
	x.w.expect(t, icmpTuple(from, to), e)
}
