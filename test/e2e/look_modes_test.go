package e2e

import (
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eventsOff switches off all that is told of what is said inside connections.
const eventsOff = `events: {weir.http.request: {enabled: false}, weir.tls.handshake: {enabled: false}, weir.dns.query: {enabled: false}, weir.ssh.handshake: {enabled: false}}
metrics: {weir.http.requests: {enabled: false}, weir.dns.queries: {enabled: false}, weir.dns.duration: {enabled: false}}
traces: {trust_traceparent: none}`

// program is how many programs of the name a process has in the kernel.
func program(t *testing.T, pid int, name string) int {
	t.Helper()
	n := 0
	for o := range objects(t, pid) {
		if o.kind == "prog" && o.name(t) == name {
			n++
		}
	}
	return n
}

// TestLookNotWanted: where nothing is to be told, and no rule asks for anything, the
// program that copies packets is not in the kernel; it comes and goes with the rules.
func TestLookNotWanted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	policy := newPolicy(t, "mode: detect\nrules: [{name: all, action: allow, layer4: [tcp, udp]}]")
	w := start(t, l.a, config{policy: string(policy), receiver: eventsOff + "\n"})
	if n := program(t, w.pid(), "look"); n != 0 {
		t.Errorf("%d programs copy packets, and nobody asks for anything", n)
	}
	policy.replace(t, "mode: detect\nrules: [{name: web, action: allow, layer7: {http: [www.example.com]}}]")
	w.awaitChange(t, "loaded", 2)
	if n := program(t, w.pid(), "look"); n != 1 {
		t.Errorf("%d programs copy packets, and a rule asks for HTTP", n)
	}
	p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
	at := netip.AddrPortFrom(p.at, 8003)
	pipelinedHTTP(t, p, at)
	ends, exchanges := w.inside(t, "tcp", at, 1)
	if len(exchanges) != 0 || ends[0].str("security_rule.name") != "web" || ends[0].str("network.protocol.name") != "http" {
		t.Errorf("%d exchanges are told of; the end: %v", len(exchanges), ends[0].attributes)
	}
	policy.replace(t, "mode: detect\nrules: [{name: all, action: allow, layer4: [tcp, udp]}]")
	w.awaitChange(t, "loaded", 3)
	await(t, "the program's end", func() bool { return program(t, w.pid(), "look") == 0 })
}

// TestLookInPrevent: what is said is told of where rules of layers 3 and 4 are
// enforced, too.
func TestLookInPrevent(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{
		policy:   string(newPolicy(t, "mode: prevent\nrules: [{name: web, action: allow, layer4: {tcp: 8003}}]")),
		receiver: "on_shutdown: unload",
	})
	p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
	at := netip.AddrPortFrom(p.at, 8003)
	pipelinedHTTP(t, p, at)
	ends, exchanges := w.inside(t, "tcp", at, 1)
	if len(exchanges) != 3 || ends[0].str("weir.verdict") != "allowed" || ends[0].str("network.protocol.name") != "http" {
		t.Errorf("%d exchanges are told of; the end: %v", len(exchanges), ends[0].attributes)
	}
	for _, e := range exchanges {
		if e.str("weir.verdict") != "allowed" || e.str("security_rule.name") != "web" {
			t.Errorf("%v", e.attributes)
		}
	}
}

// TestLookSpansAndMetrics: an exchange is one span and counts once.
func TestLookSpansAndMetrics(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{receiver: "traces: {connections: all}"})
	p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
	pipelinedHTTP(t, p, netip.AddrPortFrom(p.at, 8003))
	digs("+notcp", "www.example.com", "A")(t, p, netip.AddrPortFrom(p.at, 8021))
	goTLS(t, p, netip.AddrPortFrom(p.at, 8013))
	want := map[string]int{
		"connection tcp": 2, "connection udp": 1, "GET": 1, "POST": 1, "HEAD": 1, "dns query": 1, "tls handshake": 1,
	}
	var got map[string]int
	awaitOr(t, func() bool {
		got = map[string]int{}
		for _, s := range w.spans(t) {
			if s.str("network.transport") == "tcp" || s.str("network.transport") == "udp" {
				got[s.name]++
			}
		}
		return maps.Equal(got, want)
	}, func() { t.Fatalf("spans %v, want %v", got, want) })
	await(t, "metrics", func() bool {
		return maps.Equal(w.metric(t, "weir.http.requests", "http.request.method", "http.response.status_code", "weir.verdict"),
			points{"GET 200 detected": 1, "POST 200 detected": 1, "HEAD 200 detected": 1})
	})
	if got := w.metric(t, "weir.dns.queries", "weir.dns.question.type", "weir.dns.response_code"); !maps.Equal(got, points{"A NOERROR": 1}) {
		t.Errorf("weir.dns.queries %v", got)
	}
	if got := w.metric(t, "weir.dns.duration", "weir.dns.response_code"); !maps.Equal(got, points{"NOERROR": 1}) {
		t.Errorf("weir.dns.duration %v", got)
	}
}

func (s span) str(key string) string { v, _ := s.attributes[key].(string); return v }

// keepAlive is a client that keeps its connection.
type keepAlive struct {
	client http.Client
	url    string
}

func (h *host) keepAlive(t *testing.T, at netip.AddrPort) *keepAlive {
	t.Helper()
	transport := &http.Transport{DialContext: h.dialer(), MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &keepAlive{http.Client{Transport: transport, Timeout: patience}, "http://" + at.String()}
}

func (k *keepAlive) get(t *testing.T, path string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, k.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "www.example.com"
	response, err := k.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
}

// TestLookPolicySwap: connections that are looked into are judged again by a new
// policy, with what is known of them, and by the one that returns.
func TestLookPolicySwap(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const first = "mode: detect\ndefault_action: block\nrules: [{name: web, action: allow, layer7: {http: [www.example.com]}}]"
	policy := newPolicy(t, first)
	w := start(t, l.a, config{policy: string(policy), extension: "confirm_within: 3s"})
	p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
	at := netip.AddrPortFrom(p.at, 8003)
	p.to.serveHTTP(t, at)
	client := p.from.keepAlive(t, at)
	client.get(t, "/1")
	w.awaitRecord(t, "the first request", func(r record) bool { return r.str("url.path") == "/1" && r.str("security_rule.name") == "web" })
	policy.replace(t, "mode: detect\ndefault_action: allow\nrules: [{name: not-this, action: block, layer7: {http: {paths: [/2]}}}, {name: that, action: allow, layer7: {http: {hosts: [www.example.com]}}}]")
	w.awaitChange(t, "loaded", 2)
	client.get(t, "/2")
	w.awaitRecord(t, "a request by the second policy", func(r record) bool {
		return r.str("url.path") == "/2" && r.str("security_rule.name") == "not-this" && r.str("security_rule.version") == "2" && r.str("weir.action") == "block"
	})
	// It is not confirmed.
	w.awaitChange(t, "rolled_back", 3)
	client.get(t, "/3")
	w.awaitRecord(t, "a request by the first policy again", func(r record) bool {
		return r.str("url.path") == "/3" && r.str("security_rule.name") == "web" && r.str("weir.action") == "allow"
	})
	client.client.CloseIdleConnections()
	ends, exchanges := w.inside(t, "tcp", at, 1)
	if len(exchanges) != 3 || ends[0].str("security_rule.name") != "web" || ends[0].str("weir.action") != "allow" {
		t.Errorf("%d exchanges; the end: %v", len(exchanges), ends[0].attributes)
	}
}

// TestLookReload: a connection that is looked into when the Collector is reloaded, or
// restarted, gets no wrong verdict by it, and what it says is told of again.
func TestLookReload(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(*testing.T, *weir){
		"reload": func(t *testing.T, w *weir) {
			ready := strings.Count(w.log(), readyLine)
			w.signal(t, unix.SIGHUP)
			w.awaitReady(t, ready+1)
		},
		"restart": func(t *testing.T, w *weir) { w.stop(t); w.restart(t) },
		"kill":    func(t *testing.T, w *weir) { w.kill(t); w.restart(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			w := start(t, l.a, config{
				policy: string(newPolicy(t, "mode: detect\ndefault_action: block\nrules: [{name: web, action: allow, layer7: {http: [www.example.com]}}, {name: tls, action: allow, layer7: {tls: [www.example.com]}}]")),
				// So that the kernel knows the connections afterwards.
				receiver: "on_shutdown: keep",
			})
			w.partial = true
			p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
			at := netip.AddrPortFrom(p.at, 8003)
			p.to.serveHTTP(t, at)
			client := p.from.keepAlive(t, at)
			client.get(t, "/1")
			// One that has not said anything yet.
			silent := netip.AddrPortFrom(p.at, 8013)
			listener := p.to.listenTCP(t, silent)
			pending := p.from.dial(t, silent)
			w.awaitRecord(t, "the first request", func(r record) bool { return r.str("url.path") == "/1" })
			w.awaitRecord(t, "the start", func(r record) bool {
				return r.event == "weir.connection.start" && r.num("destination.port") == 8013 && r.str("weir.reason") == "pending"
			})
			again(t, w)
			client.get(t, "/2")
			client.get(t, "/3")
			w.awaitRecord(t, "a request afterwards", func(r record) bool {
				return r.str("url.path") == "/3" && r.str("security_rule.name") == "web" && r.str("weir.action") == "allow"
			})
			go func() {
				c, err := listener.Accept()
				if err == nil {
					tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}).Handshake()
					c.Close()
				}
			}()
			if err := tls.Client(pending, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true}).Handshake(); err != nil {
				t.Fatal(err)
			}
			w.awaitRecord(t, "the handshake", func(r record) bool {
				return r.event == "weir.tls.handshake" && r.str("weir.tls.server_name") == "www.example.com" && r.str("security_rule.name") == "tls"
			})
			pending.Close()
			client.client.CloseIdleConnections()
			for port, rule := range map[uint16]string{8003: "web", 8013: "tls"} {
				ends, _ := w.inside(t, "tcp", netip.AddrPortFrom(p.at, port), 1)
				if e := ends[0]; e.str("weir.action") != "allow" || e.str("security_rule.name") != rule {
					t.Errorf("%d ends with %v", port, e.attributes)
				}
			}
			for _, r := range w.records(t) {
				if r.event == "weir.connection.verdict" && r.str("weir.action") != "allow" {
					t.Errorf("%s: %v", r.body, r.attributes)
				}
			}
			// Nothing is left of them in the kernel.
			await(t, "an empty table of what is looked into", func() bool { return entries(t, w.pid(), "looks") == 0 })
		})
	}
}

// TestLookDelaysNothing: what is copied does not wait for user space, which is stopped.
func TestLookDelaysNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l.a, config{policy: string(newPolicy(t, lookPolicy))})
	p := passage{"outbound", l.a, l.b, l.address(l.b, ipv4, 0)}
	w.signal(t, unix.SIGSTOP)
	began := time.Now()
	pipelinedHTTP(t, p, netip.AddrPortFrom(p.at, 8003))
	goTLS(t, p, netip.AddrPortFrom(p.at, 8013))
	digs("+notcp", "www.example.com", "A")(t, p, netip.AddrPortFrom(p.at, 8021))
	took := time.Since(began)
	w.signal(t, unix.SIGCONT)
	t.Logf("without the agent they took %v", took)
	for transport, port := range map[string]uint16{"tcp": 8003, "udp": 8021} {
		if _, exchanges := w.inside(t, transport, netip.AddrPortFrom(p.at, port), 1); len(exchanges) == 0 {
			t.Errorf("nothing is told of %s %d", transport, port)
		}
	}
}
