package e2e

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Long enough that nothing that is under way ends by it, on a busy machine either.
const recordedTimeouts = "{tcp: 6s, tcp_closing: 4s, udp: 4s, icmp: 4s}"

// What is blocked comes in, where the recorder sees it before Weir does, and is not
// answered: what Weir sends itself would be part of the recording.
const recordedPolicy = `
reject: never
default_action: allow
rules:
  - {name: shut, action: block, layer4: {tcp: 8081, udp: 8081}}
  - {name: web, action: allow, direction: inbound, layer4: {tcp: 8080}}
  - {name: other-web, action: allow, layer4: {tcp: 8000-9000}}
  - {name: shadow, action: block, mode: detect, layer4: udp}
  - {name: datagrams, action: allow, layer4: udp}
  - {name: ping, action: allow, layer4: {icmp: echo-request, icmpv6: echo-request}}
`

// TestCaptureAgrees: what Weir tells of a host's traffic, and what it tells of a
// recording of it, is the same, connection by connection.
func TestCaptureAgrees(t *testing.T) {
	for _, mode := range []string{"detect", "prevent"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.a.segmented(t, nearName)
			l.b.segmented(t, farName)
			policy := string(newPolicy(t, "mode: "+mode+recordedPolicy))
			recording := l.a.record(t, nearName)
			live := start(t, l.a, config{policy: policy, timeouts: recordedTimeouts})
			for _, f := range families {
				l.traffic(t, f)
			}
			// Of the other end's clock nothing is known, so that all that began must end.
			var told []record
			await(t, "the ends of all connections", func() bool {
				told = live.records(t)
				return len(ids(told, "start")) > 30 && maps.Equal(ids(told, "start"), ids(told, "end"))
			})
			recording.stop(t, l.a, nearName)
			replayed := start(t, newHost(t), config{
				policy: policy, timeouts: recordedTimeouts,
				receiver: fmt.Sprintf("capture_file: %q\ncapture_addresses: %s", recording.path, l.own()),
			})
			replayed.awaitLog(t, "The capture is replayed.", fmt.Sprintf(`"packets": %d`, recording.frames))
			replayed.stop(t)
			want := summaries(t, replayed.records(t), mode)
			got := summaries(t, told, mode)
			t.Logf("%d frames, %d connections", recording.frames, len(got))
			for line, n := range got {
				if want[line] != n {
					t.Errorf("live %d times, replayed %d times: %s", n, want[line], line)
				}
			}
			for line, n := range want {
				if got[line] == 0 {
					t.Errorf("replayed %d times, never live: %s", n, line)
				}
			}
		})
	}
}

// own are the addresses of the host that Weir runs on, as YAML.
func (l *lab) own() string {
	var all []string
	for _, f := range families {
		for network := range networks {
			all = append(all, fmt.Sprintf("%q", l.address(l.a, f, network)))
		}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// tagged sends UDP datagrams with a VLAN tag, a question and its answer each. No
// socket takes them: the hosts have no VLAN devices, which not every kernel can.
func (l *lab) tagged(t *testing.T, from, to *host) {
	t.Helper()
	source, destination := l.address(from, ipv4, 0).As4(), l.address(to, ipv4, 0).As4()
	for range 3 {
		from.sendTagged(t, l, source, destination, 5000, 53)
		to.sendTagged(t, l, destination, source, 53, 5000)
	}
}

func (h *host) sendTagged(t *testing.T, l *lab, source, destination [4]byte, sourcePort, destinationPort uint16) {
	t.Helper()
	name, far, farName := nearName, l.b, farName
	if h == l.b {
		name, far, farName = farName, l.a, nearName
	}
	const vlan, payload = 5, 100
	udp := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(udp, sourcePort)
	binary.BigEndian.PutUint16(udp[2:], destinationPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	ip = append(append(ip, source[:]...), destination[:]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	frame := append([]byte(nil), far.link(t, farName).HardwareAddr...)
	frame = append(frame, h.link(t, name).HardwareAddr...)
	frame = append(frame, 0x81, 0, 0, vlan, 0x08, 0)
	h.sendFrame(t, name, append(append(frame, ip...), udp...))
}

// traffic is some of many kinds, both ways.
func (l *lab) traffic(t *testing.T, f family) {
	t.Helper()
	for _, hosts := range [][2]*host{{l.a, l.b}, {l.b, l.a}} {
		from, to := hosts[0], hosts[1]
		at := func(network int, port uint16) netip.AddrPort {
			return netip.AddrPortFrom(l.address(to, f, network), port)
		}
		l.connect(t, from, to, at(0, 8080)).exchange(t, 100000, 30000)
		p := l.connect(t, from, to, at(0, 8082)) // reset
		p.chat(t)
		p.client.SetLinger(0)
		p.client.Close()
		p.server.Close()
		l.connect(t, from, to, at(0, 8083)).chat(t) // stays open
		from.dialTCP(at(0, 9), patience)            // refused
		to.deaf(t, f, 8084)                         // half open
		from.dialTCP(at(1, 8084), silence)
		to.echoUDP(t, at(0, 53))
		c := from.dialUDP(t, at(0, 53))
		for _, size := range []int{10, 1400, 5000, 0} { // the third in fragments
			if err := ask(c, size, patience); err != nil {
				t.Fatalf("%v: %d bytes: %v", udpTuple(c), size, err)
			}
		}
		l.tagged(t, from, to)
		if err := ask(from.dialUDP(t, at(0, 54)), 10, patience); err == nil { // answered with an ICMP error
			t.Error("a closed port answers")
		}
		ping := from.pinger(t, l.address(from, f, 0))
		_, reply := ping.types()
		for sequence, size := range []int{56, 3000} {
			if err := ping.send(l.address(to, f, 0), uint16(sequence), size); err != nil {
				t.Fatal(err)
			}
			if !ping.saw(reply, ping.id, patience) {
				t.Fatal("no answer")
			}
		}
		if from == l.b { // blocked, in prevent
			from.dialTCP(at(0, 8081), 1200*time.Millisecond) // a second SYN
			c := from.dialUDP(t, at(0, 8081))
			for range 3 {
				if _, err := c.Write(make([]byte, 3000)); err != nil && !isRefused(err) {
					t.Fatal(err)
				}
			}
		}
	}
}

func isRefused(err error) bool {
	_, ok := err.(*net.OpError)
	return ok && strings.Contains(err.Error(), "refused")
}

// ids are the connections that an event was told of.
func ids(records []record, event string) map[string]bool {
	all := map[string]bool{}
	for _, r := range records {
		if r.event == "weir.connection."+event {
			all[r.str("weir.connection.id")] = true
		}
	}
	return all
}

// summaries are the ends of connections, without what differs by nature: times and
// ids. A replay enforces nothing, so that of a prevent policy's verdicts it tells
// the action.
func summaries(t *testing.T, records []record, mode string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, r := range records {
		if r.event != "weir.connection.end" {
			continue
		}
		// Neighbor discovery and multicast listener reports went on before the
		// recording began, and after it ended.
		if r.str("network.transport") == "icmpv6" && r.num("weir.icmp.type") > 129 {
			continue
		}
		verdict, end := r.str("weir.verdict"), r.str("weir.end_reason")
		if mode == "prevent" {
			if want := map[string]string{"allow": "allowed", "block": "blocked"}[r.str("weir.action")]; verdict != want && verdict != "detected" {
				t.Errorf("%s: verdict %s", r.body, verdict)
			}
			verdict = ""
			if end == "blocked" {
				end = "timeout"
			}
		}
		var line []string
		for _, key := range []string{
			"network.transport", "network.type", "weir.direction", "source.address", "source.port", "destination.address", "destination.port",
			"weir.icmp.type", "weir.icmp.code", "weir.source.packets", "weir.source.bytes", "weir.destination.packets",
			"weir.destination.bytes", "weir.action", "weir.reason", "security_rule.name", "security_rule.version",
			"weir.shadow.rule", "weir.shadow.action",
		} {
			if value, ok := r.attributes[key]; ok {
				line = append(line, fmt.Sprintf("%s=%v", key[strings.LastIndex(key, "weir.")+1:], value))
			}
		}
		all[strings.Join(slices.Concat(line, []string{verdict, end}), " ")]++
	}
	return all
}
