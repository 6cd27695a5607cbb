package inspector_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

var (
	start    = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	hostA    = netip.MustParseAddr("192.0.2.1")
	hostB    = netip.MustParseAddr("198.51.100.7")
	resolver = netip.MustParseAddr("192.0.2.53")
)

// world is an inspector with what it said.
type world struct {
	t testing.TB
	*inspector.Inspector
	now      time.Time
	ids      uint64
	rules    []string
	tables   uint32
	said     []telemetry.Exchange
	settled  map[uint64]inspector.Settlement
	settling []inspector.Settlement
	asked    map[uint64]inspector.Question
}

var everything = inspector.Report{HTTP: true, TLS: true, DNS: true, SSH: true, Query: true, Answers: true, Headers: []string{"x-env"}}

func newWorld(t testing.TB, text string, change func(*inspector.Config)) *world {
	t.Helper()
	config := inspector.Config{Report: everything, Names: names.NewTable(names.Limits{})}
	config.Names.SetResolvers([]netip.AddrPort{netip.AddrPortFrom(resolver, 53)})
	if change != nil {
		change(&config)
	}
	w := &world{t: t, Inspector: inspector.New(config), now: start, settled: map[uint64]inspector.Settlement{}, asked: map[uint64]inspector.Question{}}
	w.apply(text)
	return w
}

func (w *world) apply(text string) {
	w.t.Helper()
	p := policy.Observe()
	if text != "" {
		var err error
		if p, _, err = policy.Load(policy.Document{Name: "policy.yaml", Content: []byte(text)}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.rules = nil
	for _, r := range p.Walked() {
		w.rules = append(w.rules, r.Name)
	}
	w.tables++
	w.SetPolicy(inspector.Version{Tables: w.tables, Generation: uint64(w.tables), Policy: p, Rules: w.rules}, w.now)
	w.take()
}

func (w *world) take() {
	w.said = append(w.said, w.Exchanges()...)
	for _, s := range w.Settlements() {
		w.settled[s.ID] = s
		w.settling = append(w.settling, s)
	}
	for _, q := range w.Questions() {
		w.asked[q.ID] = q
	}
	w.Reset()
}

// verdict is what the flow table was told last of a connection.
func (w *world) verdict(id uint64) string {
	s, ok := w.settled[id]
	if !ok {
		return "nothing"
	}
	text := fmt.Sprintf("%v %v", s.Action, s.Reason)
	if s.Action == 0 {
		text = fmt.Sprintf("%v", s.Reason)
	}
	if int64(s.Rule) < int64(len(w.rules)) {
		text += " " + w.rules[s.Rule]
	}
	if s.ShadowAction != 0 {
		text += fmt.Sprintf(", shadow %v %s", s.ShadowAction, w.rules[s.ShadowRule])
	}
	return text
}

// talk is a TCP connection of which every segment is seen, as a client on host A and
// a server on host B have it.
type talk struct {
	w    *world
	c    inspector.Connection
	next [2]uint32
	// size is that of segments; 0: as large as what is said.
	size int
}

func (w *world) connect(port uint16, change func(*inspector.Connection)) *talk {
	w.ids++
	k := &talk{w: w, next: [2]uint32{1000, 5000}, c: inspector.Connection{
		ID: w.ids, Direction: packet.Outbound, FirstSeen: w.now, Interface: "eth0",
		Tuple: packet.Tuple{
			Source: hostA, SourcePort: uint16(40000 + w.ids), Destination: hostB, DestinationPort: port, Protocol: packet.TCP,
		},
	}}
	if change != nil {
		change(&k.c)
	}
	return k
}

// open is connect with the handshake.
func (w *world) open(port uint16) *talk {
	k := w.connect(port, nil)
	k.segment(0, packet.SYN, "")
	k.segment(1, packet.SYN|packet.ACK, "")
	k.segment(0, packet.ACK, "")
	return k
}

func (k *talk) segment(end int, flags uint8, payload string) {
	k.w.now = k.w.now.Add(time.Millisecond)
	p := inspector.Packet{Time: k.w.now, End: end, Seq: k.next[end], Flags: flags, Payload: []byte(payload)}
	if flags&packet.ACK != 0 {
		p.Ack = k.next[end^1]
	}
	k.w.Packet(&k.c, &p)
	for i := range p.Payload {
		p.Payload[i] = 'x' // it belongs to the caller again
	}
	k.next[end] += uint32(len(payload))
	if flags&(packet.SYN|packet.FIN) != 0 {
		k.next[end]++
	}
	k.w.take()
}

func (k *talk) say(end int, text string) *talk {
	for size := max(k.size, 0); size > 0 && len(text) > size; text = text[size:] {
		k.segment(end, packet.ACK|packet.PSH, text[:size])
	}
	k.segment(end, packet.ACK|packet.PSH, text)
	return k
}

func (k *talk) client(text string) *talk { return k.say(0, text) }
func (k *talk) server(text string) *talk { return k.say(1, text) }

func (k *talk) close() {
	k.segment(0, packet.FIN|packet.ACK, "")
	k.segment(1, packet.FIN|packet.ACK, "")
	k.segment(0, packet.ACK, "")
	k.w.Ended(k.c.ID, k.w.now)
	k.w.take()
}

func (k *talk) verdict() string { return k.w.verdict(k.c.ID) }

// brief is a record in a line.
func brief(e *telemetry.Exchange) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Connection.ID, strings.TrimSpace(e.Protocol+" "+e.Version))
	switch {
	case e.HTTP != nil:
		h := e.HTTP
		b.WriteString(strings.TrimRight(" "+h.Method+" "+h.Host+h.Path, " "))
		fmt.Fprintf(&b, " %d", h.Status)
		if h.Query != "" {
			fmt.Fprintf(&b, " ?%s", h.Query)
		}
		for name, values := range h.Headers {
			fmt.Fprintf(&b, " %s=%s", name, strings.Join(values, ","))
		}
	case e.TLS != nil:
		fmt.Fprintf(&b, " %s %s %s", e.TLS.ServerName, e.TLS.Version, e.TLS.Subject)
		if e.TLS.Established {
			b.WriteString(" established")
		}
	case e.DNS != nil:
		d := e.DNS
		fmt.Fprintf(&b, " %s %s %s %s %s %v", d.Service, d.Transport, d.Name, d.Type, d.ResponseCode, d.Answers)
	case e.SSH != nil:
		fmt.Fprintf(&b, " %s %s", e.SSH.ClientSoftware, e.SSH.ServerSoftware)
	}
	j := &e.Judgement
	if j.Reason != 0 {
		fmt.Fprintf(&b, " | %s", strings.Join(strings.Fields(fmt.Sprintf("%v %v %s", j.Action, j.Reason, j.Rule)), " "))
	}
	if j.ShadowAction != 0 {
		fmt.Fprintf(&b, ", shadow %v %s", j.ShadowAction, j.ShadowRule)
	}
	if e.Problem != "" {
		fmt.Fprintf(&b, " (%s)", e.Problem)
	}
	return b.String()
}

func (w *world) briefs() string {
	var all []string
	for i := range w.said {
		all = append(all, brief(&w.said[i]))
	}
	return strings.Join(all, "\n")
}

func (w *world) expect(what, got, want string) {
	w.t.Helper()
	if want = strings.TrimSpace(want); strings.TrimSpace(got) != want {
		w.t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}
