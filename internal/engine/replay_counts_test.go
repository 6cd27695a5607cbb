package engine

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/flow"
)

// suricataCheck is one of Suricata's checks: so many of its records match.
type suricataCheck struct {
	Pcap  string
	Test  string
	Count int
	Match map[string]any
}

// suricataLimits are near its own: what is compared are the rules, not the settings.
var suricataLimits = flow.Timeouts{TCP: 10 * time.Minute, TCPClosing: time.Minute, UDP: 5 * time.Minute, ICMP: 5 * time.Minute}

// namesBothEnds: what is compared are records then, not their number.
func (c *suricataCheck) namesBothEnds() bool {
	return c.Match["src_ip"] != nil && c.Match["dest_ip"] != nil
}

func (c *suricataCheck) text(key string) string {
	s, _ := c.Match[key].(string)
	return s
}

func (c *suricataCheck) number(key string) int64 {
	if n, ok := c.Match[key].(float64); ok {
		return int64(n)
	}
	return -1
}

func (c *suricataCheck) time(key string) (at time.Time) {
	at, _ = time.Parse("2006-01-02T15:04:05.999999-0700", c.text(key)) // or none
	return at
}

// flow is what the check says of a record, but for its ends.
func (c *suricataCheck) flow() expectedFlow {
	return expectedFlow{
		file: "pcap/" + c.Pcap, what: c.Test, partial: true, protocol: suricataProtocols[c.Match["proto"]],
		sourcePort: int(c.number("src_port")), destinationPort: int(c.number("dest_port")),
		packets: [2]int64{c.number("flow.pkts_toserver"), c.number("flow.pkts_toclient")},
		bytes:   [2]int64{c.number("flow.bytes_toserver"), c.number("flow.bytes_toclient")},
		first:   c.time("flow.start"), last: c.time("flow.end"), within: time.Microsecond,
		age: c.number("flow.age"), state: c.text("flow.state"),
	}
}

// isOfFlows says whether the check asks for nothing but what a flow has: not for
// what rules, protocols or Suricata's own settings make of it.
func (c *suricataCheck) isOfFlows() bool {
	for key := range c.Match {
		switch key {
		case "event_type", "proto", "src_ip", "dest_ip", "src_port", "dest_port", "flow.pkts_toserver", "flow.pkts_toclient",
			"flow.bytes_toserver", "flow.bytes_toclient", "flow.age", "flow.start", "flow.end":
		case "flow.state":
			if c.text(key) == "bypassed" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// matches says whether a connection is one that the check counts.
func (c *suricataCheck) matches(f *seenFlow) bool {
	e, t := c.flow(), &f.tuple
	is := func(key string, a netip.Addr) bool { return c.text(key) == "" || netip.MustParseAddr(c.text(key)) == a }
	return is("src_ip", t.Source) && is("dest_ip", t.Destination) && (e.protocol < 0 || int(t.Protocol) == e.protocol) &&
		(e.sourcePort < 0 || int(t.SourcePort) == e.sourcePort) &&
		(e.destinationPort < 0 || int(t.DestinationPort) == e.destinationPort) && len(e.differences(f)) == 0
}

// otherCounts are the captures of which Weir counts another number, by class.
var otherCounts = map[string]string{
	"decode-erspan-typeI-02__input.pcap":            encapsulated,
	"bug-6402-01__input.pcap":                       encapsulated, // Geneve
	"bug-4571-03__ipv6_over_ipv6.pcap":              encapsulated,
	"bug-4571-06__ipv4_over_ipv6.pcap":              encapsulated,
	"vxlan-decoder-01__input.pcap":                  encapsulated,
	"vxlan-decoder-02__vxlan.pcap":                  encapsulated,
	"vxlan-decoder-03__vxlan.pcap":                  idleTime,
	"vxlan-non-zero-reserved-fields__input.pcap":    encapsulated,
	"flow-pkt-recursion__middleware-pkt-flows.pcap": encapsulated,
	"flow-pkt-recursion__tunnel-pkt-flows.pcap":     encapsulated,
	"decode-chdlc-01__hdlc-http_1tx.pcap":           encapsulated, // Cisco HDLC
	"tcp-fastopen-10-syn-data-ignore__input.pcap":   afterEnd,     // a SYN-ACK that is late
}

// TestSuricataCounts: those of its checks that name no more than one end count the
// flows of a capture.
func TestSuricataCounts(t *testing.T) {
	folder := corpora.Path(t, "suricata", "flow")
	files, checked, classes, differ := map[string]*recorded{}, map[string]bool{}, map[string]int{}, map[string]bool{}
	for _, c := range corpora.Expected[suricataCheck](t, "suricata", "flow") {
		asks, _ := json.Marshal(c.Match)
		key := c.Pcap + string(asks)
		if c.namesBothEnds() || !c.isOfFlows() || checked[key] {
			continue
		}
		checked[key] = true
		if files[c.Pcap] == nil {
			files[c.Pcap] = record(t, filepath.Join(folder, "pcap", c.Pcap), suricataLimits)
		}
		n := 0
		for i := range files[c.Pcap].flows {
			if c.matches(&files[c.Pcap].flows[i]) {
				n++
			}
		}
		class := equal
		if n != c.Count {
			class = otherCounts[c.Pcap]
			differ[c.Pcap] = true
			t.Logf("%s: %s (%s) %s: %d, not %d", class, c.Pcap, c.Test, asks, n, c.Count)
		}
		if class == "" {
			class = unexplained
			t.Errorf("no reason is known")
		}
		classes[class]++
	}
	for pcap, class := range otherCounts {
		if !differ[pcap] {
			t.Errorf("%s does not differ, and is listed as %s", pcap, class)
		}
	}
	t.Logf("%d counts of %d captures: %v", len(checked), len(files), classes)
	documented(t, "counts", classes)
}
