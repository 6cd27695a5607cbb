package main

import (
	"fmt"
	"math"
)

// target is one of what Weir is to reach, and what it does.
type target struct {
	Line  string  `json:"line"`
	Claim string  `json:"claim"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	// AtLeast: the value must reach the limit; else it must not exceed it.
	AtLeast bool `json:"at_least"`
	// Absent says why there is no value.
	Absent string `json:"absent,omitempty"`
}

func (t target) isMet() bool {
	return t.Absent == "" && (t.Value == t.Limit || (t.Value > t.Limit) == t.AtLeast)
}

func (t target) limit() string {
	if t.AtLeast {
		return "≥ " + number(t.Limit) + t.unit()
	}
	return "≤ " + number(t.Limit) + t.unit()
}

func (t target) unit() string {
	if t.Unit == "×" || t.Unit == "" {
		return t.Unit
	}
	return " " + t.Unit
}

func (t target) outcome() string {
	switch {
	case t.Absent != "":
		return "not measured"
	case t.isMet():
		return "met"
	}
	return "not met"
}

func (t target) String() string {
	if t.Absent != "" {
		return fmt.Sprintf("%-12s %s (%s): %s", t.outcome(), t.Claim, t.limit(), t.Absent)
	}
	return fmt.Sprintf("%-12s %s (%s): %s%s", t.outcome(), t.Claim, t.limit(), number(t.Value), t.unit())
}

// judge compares what was measured with the targets.
func (r *report) judge() {
	r.Targets = nil
	at := func(l line, claim, unit string, atLeast bool, limit float64, value func(*result) float64) {
		t := target{Line: l.id, Claim: claim, Unit: unit, AtLeast: atLeast, Limit: limit}
		found := r.line(l.id)
		switch {
		case found == nil:
			t.Absent = "its line was not asked for"
		case found.Error != "":
			t.Absent = found.Error
		default:
			if t.Value = value(found); math.IsNaN(t.Value) || math.IsInf(t.Value, 0) {
				t.Value, t.Absent = 0, "one of the two was not measured, or cannot be told from noise"
			}
		}
		r.Targets = append(r.Targets, t)
	}
	const least, most = true, false
	at(establishedLine, "established, added time, against nftables with conntrack and 100 rules", "×", most, 0.5, func(l *result) float64 {
		return l.added2(weirSubject, "connections", 1000, nftConntrack+" + 100 rules", "connections", 1000)
	})
	at(firstPacketLine, "new connection at 10,000 rules in order, against linear nftables", "× faster", least, 100, func(l *result) float64 {
		return 1 / l.added2(weirSubject, services.name, 10_000, nftLinear, services.name, 10_000)
	})
	at(firstPacketLine, "new connection at 1,000 rules, against linear nftables", "× faster", least, 5, func(l *result) float64 {
		return 1 / l.added2(weirSubject, services.name, 1000, nftLinear, services.name, 1000)
	})
	const list = 100_000
	at(listLine, "list of 100,000 prefixes against ipset, packets of established connections", "× faster", least, 2, func(l *result) float64 {
		return 1 / l.added2(weirSubject+", established", "prefixes", list, ipset, "prefixes", list)
	})
	at(listLine, "the same, what the list costs a first packet", "× faster", least, 2, func(l *result) float64 {
		with, without := l.find(weirSubject+", first packet", "prefixes", list), l.find(weirSubject+", first packet, no list", "prefixes", list)
		other := l.find(ipset, "prefixes", list)
		if with == nil || without == nil || other == nil {
			return math.NaN()
		}
		// A lookup that is too cheap to be told from none counts as 1 ns.
		return median(l.added(other)) / max(1, median(pairwise(with.Samples, without.Samples, func(a, b float64) float64 { return a - b })))
	})
	at(dropLine, "XDP, drop of a blocked connection, against xdp-filter by address", "×", most, 1.3, func(l *result) float64 {
		a, b := l.find(weirXDP, "", 0), l.find(xdpFilter, "", 0)
		if a == nil || b == nil {
			return math.NaN()
		}
		return median(pairwise(a.Samples, b.Samples, func(x, y float64) float64 { return x / y }))
	})
	const small, large = 1000, 100_000
	for _, k := range kinds {
		for _, of := range []struct{ claim, kind string }{{k.name + ", packets by Zipf's law", k.name + byZipf}, {k.name + ", packets drawn evenly", k.name}} {
			at(classifyLine, "classification at 100,000 rules against 1,000, "+of.claim, "×", most, 2, func(l *result) float64 {
				return l.grows(of.kind, small, of.kind, large)
			})
		}
		at(classifyLine, "the same at 100,000 rules, drawn evenly", "ns", most, 1500, func(l *result) float64 {
			if s := l.find(classification, k.name, large); s != nil {
				return median(s.Samples)
			}
			return math.NaN()
		})
	}
	for _, set := range []string{"fw1", "ipc1"} {
		at(classifyLine, "classification by ClassBench "+set+", 10,000 rules against 1,000, by their traces", "×", most, 2, func(l *result) float64 {
			return l.grows("ClassBench "+set+"_1k", small, "ClassBench "+set+"_10k", 10_000)
		})
	}
	for _, k := range kinds {
		for _, c := range []struct {
			rules int
			text  string
			ms    float64
		}{{10_000, "10,000", 200}, {100_000, "100,000", 1000}} {
			at(policyLine, "policy of "+c.text+" rules from YAML to in force, "+k.name, "ms", most, c.ms, func(l *result) float64 {
				if s := l.find(weirSubject, k.name, c.rules); s != nil {
					return median(s.Samples)
				}
				return math.NaN()
			})
		}
		at(policyLine, "memory with 100,000 rules, Collector and tables, "+k.name, "MB", most, 256, func(l *result) float64 {
			name := fmt.Sprintf("100,000 rules (%s): ", k.name)
			return l.value(name+"Collector, resident") + l.value(name+"tables in the kernel")
		})
	}
	for _, c := range []struct {
		l     line
		limit float64
	}{{requestsLine, 0.97}, {connectsLine, 0.95}, {streamLine, 0.97}} {
		at(c.l, c.l.title+", 1,000 rules, against an empty program", "×", least, c.limit, func(l *result) float64 {
			if s := l.find(weirSubject+" + 1,000 rules", "", 0); s != nil {
				return median(l.ratio(s))
			}
			return math.NaN()
		})
	}
	at(holdFirstLine, "the first request of a connection, held, added time (median)", "µs", most, 40, func(l *result) float64 {
		if s := l.find(weirSubject, "median", 0); s != nil {
			return median(l.added(s))
		}
		return math.NaN()
	})
	for _, c := range []struct {
		l     line
		limit float64
	}{{holdRequestsLine, 0.6}, {holdStreamLine, 0.95}} {
		at(c.l, c.l.title+", against no filter", "×", least, c.limit, func(l *result) float64 {
			if s := l.find(weirSubject, "", 0); s != nil {
				return median(l.ratio(s))
			}
			return math.NaN()
		})
	}
	for _, l := range []line{holdRequestsLine, holdStreamLine, holdConnectsLine} {
		at(l, l.title+", against HAProxy", "×", least, 1, func(l *result) float64 {
			weir, proxy := l.find(weirSubject, "", 0), l.find(proxySubject, "", 0)
			if weir == nil || proxy == nil {
				return math.NaN()
			}
			return median(pairwise(weir.Samples, proxy.Samples, func(a, b float64) float64 { return a / b }))
		})
	}
	for _, name := range []string{"never answered", "answered"} {
		at(eventsLine, "connections judged and reported, none lost, on one core, "+name, "connections/s", least, 100_000, func(l *result) float64 {
			return l.value(name + ": highest rate at which none was lost")
		})
	}
	at(memoryLine, "Collector at a million live connections, beside the kernel's tables", "MB", most, 300, func(l *result) float64 {
		return l.value("Collector, at most")
	})
	at(floodLine, "SYN flood: connections that carry data and were cut", "", most, 0, func(l *result) float64 { return l.value("connections cut") })
	for _, of := range []struct{ claim, fact string }{
		{"connections that are not in the records", "connections in the records, less those that carry data"},
		{"connections whose ends are not in the records", "their ends in the records"},
	} {
		at(floodLine, "SYN flood: "+of.claim, "", most, 0, func(l *result) float64 {
			return math.Abs(l.value("SYNs sent") - l.value(of.fact))
		})
	}
}

// added2 is what one series adds to its baseline, as a part of what another adds
// to its own, round by round.
func (r *result) added2(subject, kind string, size int, other, otherKind string, otherSize int) float64 {
	a, b := r.added(r.find(subject, kind, size)), r.added(r.find(other, otherKind, otherSize))
	if !(median(a) > 0) || !(median(b) > 0) {
		return math.NaN()
	}
	return median(pairwise(a, b, func(x, y float64) float64 { return x / y }))
}

// grows is what classification costs under many rules, as a part of that under few.
func (r *result) grows(few string, small int, many string, large int) float64 {
	a, b := r.find(classification, many, large), r.find(classification, few, small)
	if a == nil || b == nil {
		return math.NaN()
	}
	return part(median(a.Samples), median(b.Samples))
}

// part is one cost as a part of another; NaN where noise is larger than they are.
func part(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return math.NaN()
	}
	return a / b
}

func (r *report) line(id string) *result {
	for i := range r.Lines {
		if r.Lines[i].ID == id {
			return &r.Lines[i]
		}
	}
	return nil
}
