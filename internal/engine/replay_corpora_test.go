package engine

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// The classes of docs/replay.md.
const (
	equal        = "equal"
	encapsulated = "encapsulated"
	afterEnd     = "after the end"
	icmpPairs    = "ICMP pairs"
	icmpErrors   = "ICMP errors"
	vlans        = "VLANs"
	idleTime     = "idle time"
	datagrams    = "datagrams"
	direction    = "direction"
	closing      = "closing"
	spi          = "ESP"
	theirs       = "theirs"
	unexplained  = "unexplained"
)

// explained are the records whose class is not told from the packets.
var explained = map[string]string{
	// Arkime turns the ends round where the first bytes are an HTTP answer, and
	// counts as if it had not.
	"pcap/single-packets.pcap": theirs,
	// The SYN is the file's last frame.
	"pcap/tcp-reassembly-synthetic.pcap": afterEnd,
	// Arkime counts the datagrams that it put together, not their fragments.
	"pcap/socks5-http-302-frag.pcap": datagrams,
	// Arkime joins a question to a multicast address and its answer.
	"pcap/wireshark-dhcpv6.pcap": theirs,
	// Suricata tells associations of IPsec apart by their numbers.
	"pcap/eve-flow-esp__input.pcap": spi,
}

// classOf says why our record of e, f, differs from it.
func (r *recorded) classOf(e *expectedFlow, f *seenFlow, differences []string, packets [2]int64) string {
	sent := r.between(e)
	missing := int64(sent[0].Packets+sent[1].Packets) - packets[0] - packets[1]
	zones := map[packet.Zone]bool{}
	flows := 0
	for i := range r.flows {
		same, reversed := e.isOf(r.flows[i].party())
		if same || reversed {
			zones[r.flows[i].tuple.Zone] = true
			flows++
		}
	}
	isICMP := e.protocol == int(packet.ICMP) || e.protocol == int(packet.ICMPv6)
	switch {
	case f != nil && len(differences) == 0:
		return equal
	case explained[e.file] != "":
		return explained[e.file]
	case sent == [2]flow.Counts{}:
		return encapsulated // no packet bears these addresses outside
	case f == nil && flows > 0 && !isICMP:
		return direction
	case len(differences) == 1 && strings.HasPrefix(differences[0], "end reason"):
		return closing
	case e.packets[0] < 0:
		return unexplained
	case -missing == int64(r.counters["related_icmp"]) && missing < 0:
		return icmpErrors
	case missing != 0 && (r.outcomes[packet.NotIP] > 0 && -missing <= int64(r.outcomes[packet.NotIP])):
		return encapsulated // in one direction
	case missing != 0:
		return unexplained
	case isICMP:
		return icmpPairs
	case len(zones) > 1:
		return vlans
	case flows > 1:
		return idleTime
	case f != nil && (f.end == flow.EndFIN || f.end == flow.EndRST) && r.counters["late"] > 0:
		return afterEnd
	}
	return unexplained
}

// compare matches the records of a tool with replays, and counts by class how they
// differ: in all, the packets of each must be the same.
func compare(t *testing.T, folder string, expected []expectedFlow, limits flow.Timeouts) {
	files := map[string]*recorded{}
	classes := map[string]int{}
	for i := range expected {
		e := &expected[i]
		if files[e.file] == nil {
			files[e.file] = record(t, filepath.Join(folder, e.file), limits)
		}
		r := files[e.file]
		f := r.find(e)
		var differences []string
		if f != nil {
			f.taken = true
			differences = e.differences(f)
		}
		var packets [2]int64 // of all their records between the two ends
		for j := range expected {
			o := &expected[j]
			from := partyOf(o.source, o.destination, o.sourcePort, o.destinationPort, o.protocol)
			same, reversed := e.isOf(from)
			if o.file != e.file || e.partial && j != i {
				continue
			}
			if same {
				packets[0] += o.packets[0]
				packets[1] += o.packets[1]
			} else if reversed {
				packets[0] += o.packets[1]
				packets[1] += o.packets[0]
			}
		}
		class := r.classOf(e, f, differences, packets)
		classes[class]++
		if class == equal {
			continue
		}
		report := t.Logf
		if class == unexplained {
			report = t.Errorf
		}
		report("%s: %s (%s) %d %v:%d → %v:%d: %s", class, e.file, e.what, e.protocol,
			e.source, e.sourcePort, e.destination, e.destinationPort, strings.Join(differences, "; "))
	}
	t.Logf("%d records of %d captures: %v", len(expected), len(files), classes)
}

func TestArkime(t *testing.T) {
	type end struct {
		IP      string
		Port    int
		Packets int64
		Bytes   int64
	}
	type session struct {
		Pcap                    string
		IPProtocol              int
		Source, Destination     end
		FirstPacket, LastPacket int64
		Protocol                []string
	}
	folder := corpora.Path(t, "arkime")
	var expected []expectedFlow
	for _, s := range corpora.Expected[session](t, "arkime") {
		if s.Source.IP == "" {
			continue // frames that hold no IP packet
		}
		expected = append(expected, expectedFlow{
			file: "pcap/" + s.Pcap, what: strings.Join(s.Protocol, " "),
			source: netip.MustParseAddr(s.Source.IP), destination: netip.MustParseAddr(s.Destination.IP),
			sourcePort: s.Source.Port, destinationPort: s.Destination.Port, protocol: s.IPProtocol,
			packets: [2]int64{s.Source.Packets, s.Destination.Packets},
			bytes:   [2]int64{s.Source.Bytes, s.Destination.Bytes},
			first:   time.UnixMilli(s.FirstPacket), last: time.UnixMilli(s.LastPacket), within: time.Millisecond, age: -1,
		})
	}
	// Near the tools' own: what is compared are the rules, not the settings.
	limits := flow.Timeouts{TCP: 8 * time.Minute, TCPClosing: 8 * time.Minute, UDP: 5 * time.Minute, ICMP: 5 * time.Minute}
	compare(t, folder, expected, limits)
}

// suricataProtocols are its names of IP protocols.
var suricataProtocols = map[any]int{
	"TCP": 6, "UDP": 17, "ICMP": 1, "IPv6-ICMP": 58, "SCTP": 132, "IPv6": 41, "IP-in-IP": 4, "ESP": 50, nil: -1,
}

func TestSuricata(t *testing.T) {
	folder := corpora.Path(t, "suricata", "flow")
	var expected []expectedFlow
	seen := map[string]bool{}
	for _, c := range corpora.Expected[corpora.Check](t, "suricata", "flow") {
		source, _ := c.Match["src_ip"].(string)
		destination, _ := c.Match["dest_ip"].(string)
		text, _ := json.Marshal(c.Match)
		key := c.Pcap + string(text)
		if source == "" || destination == "" || c.Count == 0 || seen[key] {
			continue
		}
		seen[key] = true
		number := func(key string) int64 {
			if n, ok := c.Match[key].(float64); ok {
				return int64(n)
			}
			return -1
		}
		at := func(key string) (at time.Time) {
			if s, ok := c.Match[key].(string); ok {
				at, _ = time.Parse("2006-01-02T15:04:05.999999-0700", s)
			}
			return at
		}
		e := expectedFlow{
			file: "pcap/" + c.Pcap, what: c.Test, partial: true,
			source: netip.MustParseAddr(source), destination: netip.MustParseAddr(destination),
			sourcePort: int(number("src_port")), destinationPort: int(number("dest_port")),
			packets: [2]int64{number("flow.pkts_toserver"), number("flow.pkts_toclient")},
			bytes:   [2]int64{number("flow.bytes_toserver"), number("flow.bytes_toclient")},
			first:   at("flow.start"), last: at("flow.end"), within: time.Microsecond, age: number("flow.age"),
		}
		e.state, _ = c.Match["flow.state"].(string)
		protocol, ok := suricataProtocols[c.Match["proto"]]
		if !ok {
			t.Errorf("protocol %v", c.Match["proto"])
		}
		e.protocol = protocol
		expected = append(expected, e)
	}
	limits := flow.Timeouts{TCP: 10 * time.Minute, TCPClosing: time.Minute, UDP: 5 * time.Minute, ICMP: 5 * time.Minute}
	compare(t, folder, expected, limits)
}
