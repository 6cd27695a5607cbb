package flow

import "github.com/weirnet/weir/internal/packet"

// Counter is a cause that packets are counted by, apart from those of connections.
type Counter uint8

// The causes.
const (
	TableFull       Counter = iota // a connection was judged without an entry
	MalformedPassed                // in detect mode, or by on_error
	FragmentPassed                 // a later fragment whose first was not seen
	NonIPPassed
	MalformedDropped
	FragmentDropped
	NonIPDropped
	RelatedICMP       // ICMP errors that belong to a connection that passes
	Late              // packets of a connection after its end was told
	OtherHost         // flooded by a bridge, not for this host
	UnknownLinkPassed // of a link type that is not read
	// Packets of connections that are held.
	HeldPackets
	HeldFragmentPassed // fragments cannot be judged, and on_error says what then
	HeldFragmentDropped
	SYNDropped // a SYN on a tuple that is taken, with data, or that would wait
	Unheld     // judgements without facts that cannot be had
	// Of connections that are held: before their SYN was answered, and on_error says what
	// then; after their end.
	HeldUnansweredPassed
	HeldUnansweredDropped
	HeldOverDropped
	counterCount
)

var counterNames = [counterCount]string{
	"flow_table_full", "malformed_passed", "fragment_passed", "non_ip_passed", "malformed_dropped",
	"fragment_dropped", "non_ip_dropped", "related_icmp", "late", "other_host", "unknown_link_passed",
	"held", "held_fragment_passed", "held_fragment_dropped", "syn_dropped", "unheld",
	"held_unanswered_passed", "held_unanswered_dropped", "held_over_dropped",
}

// String names the cause as internal/datapath does.
func (c Counter) String() string { return counterNames[c] }

// Counters calls each with every cause.
func (t *Tracker) Counters(each func(Counter, uint64)) {
	for c, n := range t.counters {
		each(Counter(c), n)
	}
}

// The transports that totals tell apart; 0 is all others.
var transports = [...]uint8{0, packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6}

func transportOf(protocol uint8) int {
	switch protocol {
	case packet.TCP:
		return 1
	case packet.UDP:
		return 2
	case packet.ICMP:
		return 3
	case packet.ICMPv6:
		return 4
	}
	return 0
}

// The sizes of the totals' indexes.
const (
	directions   = 4
	verdicts     = 4
	actions      = 3
	reasons      = 11
	trafficKinds = verdicts * len(transports) * directions * 2
	verdictKinds = verdicts * actions * reasons * len(transports) * directions
)

// VerdictTotal is the number of verdicts of one kind.
type VerdictTotal struct {
	Verdict   Verdict
	Action    Action
	Reason    Reason
	Protocol  uint8 // 0: other than TCP, UDP, ICMP, ICMPv6
	Direction packet.Direction
	Count     uint64
}

// TrafficTotal is what one end of connections of one kind sent.
type TrafficTotal struct {
	FromSource bool
	Verdict    Verdict
	Protocol   uint8
	Direction  packet.Direction
	Counts
}

// count adds a packet to its connection and to the totals.
func (t *Tracker) count(e *entry, p *packet.Packet, end int) {
	e.counted[end].add(p)
	t.traffic[((int(e.verdict)*len(transports)+transportOf(e.key.protocol))*directions+int(e.direction))*2+end].add(p)
	if e.endTold {
		t.counters[Late]++
	}
}

// countJudgement counts a verdict that is new to its connection.
func (t *Tracker) countJudgement(e *entry, d decision) {
	kind := (int(e.verdict)*actions+int(e.action))*reasons + int(e.reason)
	t.verdicts[(kind*len(transports)+transportOf(e.key.protocol))*directions+int(e.direction)]++
	t.countMatches(d)
}

// countMatches counts the rules that matched.
func (t *Tracker) countMatches(d decision) {
	if d.rule != NoRule {
		t.version.matches[d.rule]++
	}
	if d.shadowRule != NoRule {
		t.version.matches[d.shadowRule]++
	}
}

// Verdicts are the verdicts given so far; kinds that did not occur are left out.
func (t *Tracker) Verdicts() (all []VerdictTotal) {
	for i, n := range t.verdicts {
		if n == 0 {
			continue
		}
		total := VerdictTotal{Direction: packet.Direction(i % directions), Count: n}
		rest := i / directions
		total.Protocol, rest = transports[rest%len(transports)], rest/len(transports)
		total.Reason, rest = Reason(rest%reasons), rest/reasons
		total.Action, total.Verdict = Action(rest%actions), Verdict(rest/actions)
		all = append(all, total)
	}
	return all
}

// Traffic is what was counted so far; kinds that did not occur are left out.
func (t *Tracker) Traffic() (all []TrafficTotal) {
	for i, n := range t.traffic {
		if n.Packets == 0 {
			continue
		}
		total := TrafficTotal{FromSource: i%2 == source, Counts: n}
		rest := i / 2
		total.Direction, rest = packet.Direction(rest%directions), rest/directions
		total.Protocol, total.Verdict = transports[rest%len(transports)], Verdict(rest/len(transports))
		all = append(all, total)
	}
	return all
}
