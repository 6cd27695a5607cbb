package engine

import (
	"crypto/tls"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/packet"
)

var restarts = flag.Int("restarts", 6, "how often TestRestarts kills the agent")

// mailPolicies say the same of port 2525, whose server speaks first: text may pass, and
// requests of HTTP may not.
func mailPolicies(agentDown, notSeen string) [2]string {
	form := fmt.Sprintf("mode: prevent\nreject: always\non_error: {malformed: block, limit: block, overload: block, agent_down: %s, not_seen: %s}\n", agentDown, notSeen)
	return [2]string{
		form + `
rules:
  - {name: reads, action: allow, layer4: {tcp: 8080}, layer7: {http: {paths: /ok/**}}}
  - {name: no-pages, action: block, layer4: {tcp: 2525}, layer7: {http: {}}}
  - {name: mail, action: allow, layer4: {tcp: 2525}}
`,
		form + `
default_action: allow
rules:
  - {name: no-pages, action: block, layer4: {tcp: 2525}, layer7: {http: {paths: "/**"}}}
  - {name: no-reads, action: block, layer4: {tcp: 8080}, layer7: {http: {paths: /no/**}}}
`,
	}
}

const greeting = "220 mail.example\r\n"

// killable is a road that an agent watches which can be killed.
func killable(t *testing.T, text string) (*road, *agent) {
	t.Helper()
	r := bareRoad(t)
	t.Cleanup(func() {
		if _, err := datapath.Unload(false, false); err != nil {
			t.Error(err)
		}
	})
	a := startAgent(t, text)
	a.inForce(t)
	return r, a
}

// mail opens a connection and has its server greet; deaf clients do not hear it.
func (r *road) mail(t *testing.T, greets bool) *saying {
	t.Helper()
	client, server := r.connect(t, 4+2*rand.IntN(2), 2525)
	if greets {
		server.say(0, []byte(greeting))
		within(t, "the greeting", func() bool { said, _ := client.heard(); return said == greeting })
	}
	return &saying{from: client, to: server}
}

// TestRestarts kills the agent amid connections whose servers speak first, and which ask
// for what is forbidden right then: nothing of that comes.
func TestRestarts(t *testing.T) {
	policies := mailPolicies("block", "block")
	r, a := killable(t, policies[0])
	for n := range *restarts {
		var all []*saying
		for i := range 12 {
			all = append(all, r.mail(t, i%4 != 3))
		}
		for range rand.IntN(4) { // their tables are older than what is in force
			a.apply(t, policies[rand.IntN(2)])
		}
		saying := make(chan struct{})
		said := make(chan struct{})
		go func() {
			defer close(said)
			for {
				for i, s := range all {
					if i%4 == 2 && rand.IntN(40) != 0 {
						continue // it begins later
					}
					s.from.say(0, []byte(get(fmt.Sprintf("/no/%d", n))))
				}
				select {
				case <-saying:
					return
				case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
				}
			}
		}()
		if rand.IntN(2) == 0 {
			go a.tell(policies[rand.IntN(2)]) // amid a change
		}
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
		a.kill()
		if rand.IntN(3) == 0 {
			time.Sleep(1200 * time.Millisecond) // nobody is thought to read any more
		}
		a = startAgent(t, policies[rand.IntN(2)])
		a.inForce(t)
		time.Sleep(300 * time.Millisecond)
		close(saying)
		<-said
		within(t, "the end of what is blocked", func() bool {
			over := true
			for _, s := range all {
				if _, reset := s.from.heard(); !reset {
					over = false
					s.from.say(0, []byte(get("/no/again")))
				}
			}
			time.Sleep(pause)
			return over
		})
		for i, s := range all {
			if reached := s.to.reached(s.from); reached > 0 {
				t.Errorf("round %d: %d bytes of connection %d came", n, reached, i)
			}
		}
	}
}

// pagesOnly allows what begins as it should, and nothing else.
func pagesOnly(agentDown, notSeen string) string {
	return fmt.Sprintf(`
mode: prevent
on_error: {agent_down: %s, not_seen: %s}
rules:
  - {name: reads, action: allow, layer7: {http: {paths: /ok}}}
  - {name: secure, action: allow, layer7: {tls: a.example}}
  - {name: names, action: allow, layer7: {dns: a.example}}
`, agentDown, notSeen)
}

// goesOn says whether more of a connection comes, whatever is said; else nothing does, and
// it ends.
func (s *saying) goesOn(t *testing.T, more string) bool {
	t.Helper()
	before := len(s.said)
	s.say(more)
	again := time.Now().Add(4 * pause)
	within(t, "more of a connection, or its end", func() bool {
		_, reset := s.from.heard()
		return s.hasCome(&again) || reset
	})
	if said, _ := s.to.heard(); said == s.said {
		return true
	}
	if reached := s.to.reached(s.from); reached > before {
		t.Errorf("%d bytes came of what is cut", reached-before)
	}
	return false
}

// TestAllowedBeforeARestart: what follows in a connection that was allowed before a restart
// passes with on_error.not_seen: keep, a request that is forbidden too, since nobody knows
// any more what came before it. With block it is cut.
func TestAllowedBeforeARestart(t *testing.T) {
	for _, notSeen := range []string{"keep", "block"} {
		t.Run(notSeen, func(t *testing.T) {
			text := pagesOnly("block", notSeen)
			r, a := killable(t, text)
			var all []*saying
			for range 8 {
				client, server := r.connect(t, 4, 80)
				s := &saying{from: client, to: server}
				s.say(get("/ok"))
				all = append(all, s)
			}
			arrive(t, all)
			silent, behindSilent := r.connect(t, 4, 80)
			a.kill()
			a = startAgent(t, text)
			a.inForce(t)
			for _, s := range all {
				if goes := s.goesOn(t, get("/no")); goes != (notSeen == "keep") {
					t.Errorf("what was allowed goes on: %v", goes)
				}
			}
			// What has said nothing yet is judged as any other.
			if (&saying{from: silent, to: behindSilent}).goesOn(t, get("/no")) {
				t.Error("a request that is forbidden came")
			}
		})
	}
}

// TestNotTheBeginning: what is said after a restart, in a connection that was decided before,
// is not taken for its first bytes, even where nobody has acknowledged those.
func TestNotTheBeginning(t *testing.T) {
	certificate := newAuthority(t, "CA").issue(t, "a.example", -time.Hour, time.Hour)
	hello, _ := greetings(t, &tls.Config{ServerName: "a.example"}, certificate)
	text := pagesOnly("block", "block")
	r, a := killable(t, text)
	client, server := r.connect(t, 4, 80)
	server.set(func(p *peer) { p.deaf = true })
	client.say(0, []byte(hello))
	within(t, "the hello", func() bool { said, _ := server.heard(); return said == hello })
	a.kill()
	a = startAgent(t, text)
	a.inForce(t)
	within(t, "the end of what was not seen", func() bool {
		client.say(0, []byte(get("/ok")))
		time.Sleep(pause)
		_, reset := client.heard()
		return reset
	})
	for _, s := range server.wire.sights(server.tuple) {
		if strings.Contains(string(s.payload), "GET") {
			t.Errorf("%q came", s.payload)
		}
	}
}

// TestBegunWhileAway: what on_error.agent_down has allowed is, for the agent that comes
// back, a connection like any that was allowed before: on_error.not_seen says whether it
// goes on, over changes of policy too. What has said nothing meanwhile is judged.
func TestBegunWhileAway(t *testing.T) {
	for _, notSeen := range []string{"keep", "block"} {
		for _, way := range []string{"killed", "stopped"} {
			t.Run(notSeen+" "+way, func(t *testing.T) {
				text := pagesOnly("allow", notSeen)
				r, a := killable(t, text)
				half, behindHalf := r.connect(t, 4, 80)
				half.say(0, []byte(get("/ok")[:9])) // the agent that is stopped has seen this
				time.Sleep(pause)
				if way == "killed" {
					a.kill()
				} else if err := a.process.Process.Signal(unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				time.Sleep(1100 * time.Millisecond) // from then on nobody is thought to read
				all := []*saying{{from: half, to: behindHalf}}
				all[0].say(get("/ok"))
				for _, text := range []string{get("/ok"), get("/no"), "\x16\x03\x01\x02\x00\x01", "EHLO\r\n"} {
					client, server := r.connect(t, 4+2*rand.IntN(2), 80)
					s := &saying{from: client, to: server}
					s.say(text)
					all = append(all, s)
				}
				arrive(t, all)
				silent, greeted := r.mail(t, false), r.mail(t, true)
				if way == "killed" {
					a = startAgent(t, text)
					a.inForce(t)
				} else if err := a.process.Process.Signal(unix.SIGCONT); err != nil {
					t.Fatal(err)
				}
				a.apply(t, text)
				within(t, "an agent that reads again", func() bool {
					client, server := r.connect(t, 4, 80)
					return !(&saying{from: client, to: server}).goesOn(t, get("/no"))
				})
				for i, s := range all {
					if goes := s.goesOn(t, "more"); goes != (notSeen == "keep") {
						t.Errorf("connection %d goes on: %v", i, goes)
					}
				}
				if notSeen == "keep" {
					a.apply(t, text+"reject: always\n")
					for i, s := range all {
						if !s.goesOn(t, get("/ok")) {
							t.Errorf("connection %d ends by another policy", i)
						}
					}
				}
				if silent.goesOn(t, get("/no")) || greeted.goesOn(t, get("/no")) {
					t.Error("a request that is forbidden came")
				}
			})
		}
	}
}

// TestDatagramsWhileAway: likewise what is no connection; but queries are judged one by one,
// as ever.
func TestDatagramsWhileAway(t *testing.T) {
	for _, notSeen := range []string{"keep", "block"} {
		t.Run(notSeen, func(t *testing.T) {
			text := pagesOnly("allow", notSeen)
			r, a := killable(t, text)
			a.kill()
			time.Sleep(1100 * time.Millisecond)
			names, other := r.tuple(4, packet.UDP, 53), r.tuple(6, packet.UDP, 4433)
			// comes sends a datagram until it comes, or long enough for one that does not.
			comes := func(tuple packet.Tuple, payload string) bool {
				t.Helper()
				for range 20 {
					r.client.send(ipPacket(tuple, udpDatagram(tuple, []byte(payload))))
					time.Sleep(pause)
					for _, s := range r.server.sights(tuple.Reversed()) {
						if string(s.payload) == payload {
							return true
						}
					}
				}
				return false
			}
			if !comes(names, query(1, "b.example", 1)) || !comes(other, "\x40 amid QUIC") {
				t.Fatal("what on_error.agent_down allows does not come")
			}
			a = startAgent(t, text)
			a.inForce(t)
			if comes(names, query(2, "b.example", 1)) {
				t.Error("a query that is forbidden came")
			}
			if !comes(names, query(3, "a.example", 1)) {
				t.Error("a query that is allowed did not come")
			}
			if comes(other, "\x41 amid QUIC") != (notSeen == "keep") {
				t.Error("what is no query is not answered by on_error.not_seen")
			}
		})
	}
}
