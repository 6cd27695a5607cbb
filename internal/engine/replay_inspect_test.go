package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// reportAll is a report of everything.
var reportAll = InspectConfig{Report: Report{HTTP: true, TLS: true, DNS: true, SSH: true, Query: true, Answers: true}}

// brief is an exchange in a line.
func brief(e *telemetry.Exchange) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Protocol, e.Version)
	switch {
	case e.HTTP != nil:
		h := e.HTTP
		fmt.Fprintf(&b, " %s %s://%s%s?%s %d", h.Method, h.Scheme, h.Host, h.Path, h.Query, h.Status)
	case e.TLS != nil:
		t := e.TLS
		fmt.Fprintf(&b, " %s %s %s %q by %q established %v", t.ServerName, t.Version, t.NextProtocol, t.Subject, t.Issuer, t.Established)
	case e.DNS != nil:
		d := e.DNS
		fmt.Fprintf(&b, " %s %s %s %s %v", d.Service, d.Transport, d.Name, d.Type, d.Answers)
		fmt.Fprintf(&b, " %s", d.ResponseCode)
	case e.SSH != nil:
		s := e.SSH
		fmt.Fprintf(&b, " %s %s %s", s.ClientSoftware, s.ServerSoftware, s.HostKey)
	}
	fmt.Fprintf(&b, " | %v %v %s %s", e.Judgement.Action, e.Judgement.Reason, e.Judgement.Rule, e.Problem)
	return strings.TrimRight(b.String(), " ")
}

func (r *replayed) briefs() (all []string) {
	for i := range r.told.said {
		all = append(all, brief(&r.told.said[i]))
	}
	return all
}

// What a replay says of what was said: records of requests and queries with their own
// verdicts, and the connections' verdicts once they are known.
func TestReplayExchanges(t *testing.T) {
	r := replay(t, samplePath, `
default_action: block
rules:
  - {name: pages, action: allow, layer7: {http: {hosts: [www.example.com], methods: [GET]}}}
  - {name: names, action: allow, layer7: {dns: {names: [.example.com]}}}
  - {name: resolved, action: allow, layer3: {destination_names: [www.example.com]}, layer4: {tcp: 443}}
`, func(c *ReplayConfig) { c.Inspect = reportAll })
	want := `
dns  dns udp www.example.com A [198.51.100.7] NOERROR | allow rule names
http 1.1 GET http://www.example.com/? 200 | allow rule pages
http 1.1 HEAD http://www.example.com/? 200 | block default`
	if got := "\n" + strings.Join(r.briefs(), "\n"); got != want {
		t.Errorf("got:%s", got)
	}
	want = `
detected  forwarded udp 192.0.2.20:53211 → 192.0.2.1:53
verdict   forwarded udp 192.0.2.20:53211 → 192.0.2.1:53 dns now detected rule=names
detected  forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80
verdict   forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 http now detected rule=pages
end       forwarded tcp 192.0.2.20:41822 → 198.51.100.7:80 http rule=pages fin 28ms ↑ 281 B/6 ↓ 164 B/3
detected  forwarded tcp [2001:db8::20]:50504 → [2001:db8:1::7]:80
verdict   forwarded tcp [2001:db8::20]:50504 → [2001:db8:1::7]:80 http now detected would block reason=default
end       forwarded tcp [2001:db8::20]:50504 → [2001:db8:1::7]:80 http would block reason=default fin 28ms ↑ 402 B/6 ↓ 199 B/3`
	lines := r.lines()
	if got := "\n" + strings.Join(lines[:8], "\n"); got != want {
		t.Errorf("got:%s", got)
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, "198.51.100.7:443 tls rule=resolved") {
		t.Error(last)
	}
	protocols := map[string]int{}
	for _, e := range r.told.records {
		if e.Kind == telemetry.ConnectionEnd {
			protocols[e.Protocol]++
		}
	}
	if protocols["http"] != 2 || protocols["dns"] != 1 {
		t.Error(protocols)
	}
}

// fragments records a UDP datagram over IPv4 in fragments of so many bytes; those at the
// places of order, in that order.
func (r *recording) fragments(from, to netip.AddrPort, id uint16, payload string, size int, order ...int) {
	datagram := binary.BigEndian.AppendUint16(nil, from.Port())
	datagram = binary.BigEndian.AppendUint16(datagram, to.Port())
	datagram = binary.BigEndian.AppendUint16(datagram, uint16(8+len(payload)))
	datagram = append(append(datagram, 0, 0), payload...)
	for _, place := range order {
		at := place * size
		end := min(at+size, len(datagram))
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, packet.UDP
		binary.BigEndian.PutUint16(ip[2:], uint16(20+end-at))
		binary.BigEndian.PutUint16(ip[4:], id)
		field := uint16(at / 8)
		if end < len(datagram) {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[6:], field)
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
		r.frame(packet.EtherTypeIPv4, append(ip, datagram[at:end]...))
	}
}

// Fragmented answers are read whole in whatever order they came, and their beginning
// where a part never came.
func TestReplayFragments(t *testing.T) {
	message := func(id uint16, answers int) string {
		m := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: id, Response: answers > 0},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("www.example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		}
		for i := range answers {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(i)}},
			})
		}
		data, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	rec := newRecording(sampleAt)
	client, server := netip.AddrPortFrom(laptop, 5000), netip.AddrPortFrom(router, 53)
	for id, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {0, 2}} {
		rec.udp(client, server, message(uint16(id), 0))
		rec.fragments(server, client, uint16(id), message(uint16(id), 6), 48, order...)
	}
	r := replay(t, write(t, rec.bytes()), "", func(c *ReplayConfig) { c.Inspect = reportAll })
	all := "[192.0.2.0 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5]"
	want := strings.Repeat("dns  dns udp www.example.com A "+all+" NOERROR |\n", 3)
	got := strings.Join(r.briefs(), "\n")
	if rest, ok := strings.CutPrefix(strings.ReplaceAll(got, " | ", " |"), want); !ok || !strings.HasPrefix(rest, "dns  dns udp www.example.com A [] NOERROR |") {
		t.Errorf("got:\n%s", got)
	}
}
