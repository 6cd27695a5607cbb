package e2e

import (
	"net/netip"
	"testing"
)

// TestSwapUnderLoad changes between two policies, again and again, under a flood
// that both block and under a conversation that both allow: nothing comes
// through, nothing is lost. That a packet is never judged by parts of two
// policies is shown in internal/datapath; here the whole way from the file on.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	policies := []string{`
mode: prevent
rules:
  - {name: shut, action: block, layer4: {tcp: 8080, udp: 8080}}
  - {name: other, action: allow, layer4: {tcp: 9090, udp: 9090}}
`, `
mode: prevent
default_action: allow
rules:
  - {name: padding, action: allow, layer4: {udp: [1, 3, 5, 7]}}
  - {name: first, action: allow, layer4: {udp: [9000-9999]}}
  - {name: last, action: block, layer4: {udp: [8000-8999]}}
`}
	p := newPolicy(t, policies[0])
	w := start(t, l.a, config{policy: string(p)})
	f := l.flood(t, l.b, l.a, netip.AddrPortFrom(l.address(l.a, ipv4, 0), 8080))
	at := netip.AddrPortFrom(l.address(l.a, ipv6, 0), 9090)
	l.a.echoUDP(t, at)
	stop, talk := make(chan struct{}), make(chan int)
	talker := l.b.dialUDP(t, at)
	go func() {
		lost := 0
		for {
			select {
			case <-stop:
				talk <- lost
				return
			default:
			}
			if ask(talker, 100, patience) != nil {
				lost++
			}
		}
	}()
	for generation := 2; generation <= 12; generation++ {
		p.replace(t, policies[(generation+1)%2])
		w.awaitChange(t, "loaded", generation)
		f.await(t, 100)
	}
	close(stop)
	if lost := <-talk; lost > 0 {
		t.Errorf("%d datagrams that both policies allow were lost", lost)
	}
	f.check(t, true)
}
