package engine

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	theirs       = "Arkime's own"
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
func compare(t *testing.T, folder string, expected []expectedFlow, limits flow.Timeouts) map[string]int {
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
	return classes
}

// documented checks that a column of the tables of docs/replay.md has these figures.
func documented(t *testing.T, column string, classes map[string]int) {
	t.Helper()
	text, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	found := map[string]int{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) < 3:
			columns = nil
		case cells[1] == "class":
			columns = cells
		}
		if i := slices.Index(columns, column); i >= 0 && i < len(cells) {
			if n, err := strconv.Atoi(cells[i]); err == nil && n > 0 {
				found[cells[1]] = n
			}
		}
	}
	found[equal] = classes[equal]
	if !maps.Equal(found, classes) {
		t.Errorf("docs/replay.md says %v of %s, they are %v", found, column, classes)
	}
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
	documented(t, "Arkime", compare(t, folder, expected, limits))
}

// suricataProtocols are its names of IP protocols.
var suricataProtocols = map[any]int{
	"TCP": 6, "UDP": 17, "ICMP": 1, "IPv6-ICMP": 58, "SCTP": 132, "IPv6": 41, "IP-in-IP": 4, "ESP": 50, nil: -1,
}

func TestSuricata(t *testing.T) {
	folder := corpora.Path(t, "suricata", "flow")
	var expected []expectedFlow
	seen := map[string]bool{}
	for _, c := range corpora.Expected[suricataCheck](t, "suricata", "flow") {
		text, _ := json.Marshal(c.Match)
		key := c.Pcap + string(text)
		if !c.namesBothEnds() || c.Count == 0 || seen[key] {
			continue
		}
		seen[key] = true
		if _, ok := suricataProtocols[c.Match["proto"]]; !ok {
			t.Errorf("protocol %v", c.Match["proto"])
		}
		e := c.flow()
		e.source, e.destination = netip.MustParseAddr(c.text("src_ip")), netip.MustParseAddr(c.text("dest_ip"))
		expected = append(expected, e)
	}
	documented(t, "Suricata", compare(t, folder, expected, suricataLimits))
}
