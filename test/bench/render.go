package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// render writes the page and its plots from the figures.
func render(s settings) error {
	if s.docs == "" {
		return nil
	}
	text, err := os.ReadFile(s.json)
	if err != nil {
		return fmt.Errorf("read the figures: %w", err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read the figures of %s: %w", s.json, err)
	}
	files := map[string]string{"performance.md": r.page()}
	for name, plot := range r.plots() {
		files[name] = plot
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.docs, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
	}
	return nil
}

// The plots' files.
const (
	rulesPlot = "performance-rules.svg"
	tcpPlot   = "performance-tcp.svg"
)

// page is docs/performance.md.
func (r *report) page() string {
	var b strings.Builder
	b.WriteString("# Performance\n\n<!-- Written by test/bench from its figures; `make bench-docs` writes it anew. -->\n\n")
	b.WriteString("What Weir costs, beside other filters of the Linux kernel, measured in one run. " +
		"Times and rates are of one machine and one day: **only what was measured in the same run compares.** " +
		"Each sample was taken beside one of its baseline, round by round; the tables have medians over the rounds, and the quartiles.\n\n")
	fmt.Fprintf(&b, "Measured on %s: %s. Load before and after: %s and %s.", r.Date.Format("2 January 2006"), r.Machine, r.Machine.LoadBefore, r.LoadAfter)
	b.WriteString(" Frames are sent and received at real-time priority, so that other work on the machine hardly touches them; in TCP, in loading policies and in what the Collector does it shows.")
	if !r.Full {
		b.WriteString(" **This was the quick mode: few rounds.**")
	}
	b.WriteString("\n\n## What is to be reached\n\n| | at least, at most | measured | |\n|---|---|---|---|\n")
	for _, t := range r.Targets {
		value := "–"
		if t.Absent == "" {
			value = number(t.Value) + t.unit()
		}
		outcome := t.outcome()
		if outcome != "met" && t.Absent == "" {
			outcome = "**" + outcome + "**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", t.Claim, t.limit(), value, outcome)
	}
	r.writeCauses(&b)
	if r.has(firstPacketLine.id) {
		fmt.Fprintf(&b, "\n![What the first packet of a connection costs, over the number of rules](%s)\n", rulesPlot)
	}
	if r.has(requestsLine.id) {
		fmt.Fprintf(&b, "\n![TCP throughput, as a part of that with an empty program](%s)\n", tcpPlot)
	}
	for i := range r.Lines {
		r.Lines[i].write(&b)
	}
	if len(r.Missing) > 0 {
		b.WriteString("\n## What was not measured\n\n")
		for _, m := range r.Missing {
			fmt.Fprintf(&b, "- %s: %s.\n", m.Name, m.Why)
		}
	}
	b.WriteString(repeat)
	return b.String()
}

func (r *report) has(id string) bool {
	l := r.line(id)
	return l != nil && l.Error == ""
}

// writeCauses says by how much a target was missed, and why.
func (r *report) writeCauses(b *strings.Builder) {
	told := map[string]bool{}
	for _, t := range r.Targets {
		if t.outcome() != "not met" {
			continue
		}
		if len(told) == 0 {
			b.WriteString("\nWhat is not met, and why:\n\n")
		}
		cause := causes[t.Line]
		if told[t.Line] {
			cause = "as above."
		}
		told[t.Line] = true
		fmt.Fprintf(b, "- %s: %s. Cause: %s%s\n", t.Claim, t.distance(), cause, r.noise(t.Line))
	}
}

// noise says what a line of rates makes of two subjects that should be alike.
func (r *report) noise(id string) string {
	l := r.line(id)
	if s := l.find(noFilter, "", 0); l.isRate() && l.baseline(s) != nil {
		return fmt.Sprintf(" No filter at all came to %.2f of the empty program in the same rounds, where a little above 1 is to be expected: what differs from that is noise.", median(l.ratio(s)))
	}
	return ""
}

// distance is how far a value is from its limit.
func (t target) distance() string {
	if t.Limit == 0 || t.Value == 0 {
		return fmt.Sprintf("%s%s instead of %s", number(t.Value), t.unit(), t.limit())
	}
	factor := t.Value / t.Limit
	if t.AtLeast {
		factor = t.Limit / t.Value
	}
	return fmt.Sprintf("%s%s, short by a factor of %.2f", number(t.Value), t.unit(), factor)
}

// causes are what is known of what a line spends its time on.
var causes = map[string]string{
	establishedLine.id: "each packet is decoded, found in the table of connections (a key of both addresses, for IPv6, too), taken into the TCP state of its end and counted, on the connection with atomic additions and in the totals; nftables does less of it.",
	firstPacketLine.id: "of a first packet's time most is the entry and not the rules: its insertion into the table takes half a microsecond, of which the allocation of 256 bytes is 0.37 (a table allocated beforehand would save that, and take 256 MB always); then there are the routing table that is asked whether the packet is for this host, its place among those that are not settled, the counters of verdict and rule, and, while not too many open at once, an event. Of the rules, a quarter of a microsecond (\"Classification\").",
	listLine.id:        "after the first packet the list is not asked; what a packet of an established connection costs is the lookup of the connection and its state, which ipset does not keep.",
	classifyLine.id:    "each step from an address to its rule (root, nodes, leaf, item, entry, the rule's counter) is in memory of its own; at 100,000 rules that is in no cache of the processor, and an IPv6 address takes up to eight nodes to its /64, one after the other.",
	policyLine.id:      "reading YAML and placing tables in the kernel, where each waits until no packet uses the one before.",
	requestsLine.id:    "a packet passes Weir's hook twice in a request.",
	connectsLine.id:    "a connection is ten packets, of which the first makes an entry, and two events that another processor reads.",
	streamLine.id:      "superpackets of 64 KiB make the cost of a packet small; what is left is noise of the machine.",
	holdFirstLine.id: "the request makes the way to the agent and back: a packet waits until the agent wakes up, is read, parsed and judged, its verdict is written by a system call and the packet by another. " +
		"The slowest percent waits for what else the agent does on its processor (perf): it writes its records and collects garbage, and once a second it passes over the flow table.",
	holdRequestsLine.id: "answers go straight from the server to the client, with a copy in a ring buffer for the agent, so that the processor which the two share has all the work of TCP; a proxy, which ends both connections, does part of it on its own. " +
		"Of the agent's time (perf) three fifths are the thread that judges, half of that the packet's way through the kernel; the rest are the records of the requests, garbage, Go's scheduler, and the pass over the flow table.",
	holdStreamLine.id: "while a body passes the agent is told of it once in 96 MiB, and the rest is the programs' work on each superpacket.",
	holdConnectsLine.id: "of the agent's time (perf) a quarter is the request's way through its device, a tenth the verdict's way into the kernel, less than a hundredth the rules; the rest is to report the connection and its request, and Go's runtime. " +
		"Where HAProxy pools its connections to the server, the processor which client and server share has less to do than without a filter.",
	eventsLine.id: "a record of OpenTelemetry with its attributes takes 1.8 µs to make and 0.8 µs to write, and each connection has two. " +
		"Besides, each carries data, which is looked at: a quarter of the Collector's time (perf) is to take the copy, to begin a connection in the inspector, and to tell the kernel what is still looked for.",
	memoryLine.id: "65,536 of the connections are looked into at a time (inspection.md), which takes 150 MB of Go's heap, and that may grow to twice of what lives in it before garbage is collected; besides, the queue of records that wait for the exporter is largest while a million connections open. " +
		"What the process has before is in the section below.",
	floodLine.id: "the connections of a flood time out together, once a second; ends that find the Collector's queue full (queue_size) are dropped, and counted as lost.",
}

// write adds a line's section.
func (l *result) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", l.Title, l.About)
	if l.Error != "" {
		fmt.Fprintf(b, "\nCould not be measured: %s\n", l.Error)
		return
	}
	if rows := l.rows(); rows != nil {
		b.WriteString("\n")
		for i, row := range rows {
			fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
			}
		}
	}
	if len(l.Facts) > 0 {
		b.WriteString("\n| | |\n|---|---|\n")
		for _, f := range l.Facts {
			fmt.Fprintf(b, "| %s | %s |\n", f.Name, strings.TrimSpace(number(f.Value)+" "+f.Unit))
		}
	}
}

const repeat = `
## How to repeat it

As root, on Linux 6.6 or newer, best on a machine that does nothing else:

` + "```sh" + `
make bench                       # eight minutes: the figures, on the terminal and in bin/bench.json
make bench BENCH='^(first|list)' # some lines
make bench-docs                  # a quarter of an hour: all sizes, more rounds; writes this page and its plots
make soak DURATION=20m           # a million connections at the highest rate: nothing lost, memory flat
                                 # (docs/operations.md tells of one, and of make survival)
` + "```" + `

All of it is in network namespaces of its own, which go with the process, also when it is killed. One processor sends and
receives; agents have the others. Peers that are not installed are named above and left out
(` + "`apt-get install nftables iptables ipset xdp-tools`" + `). ` + "`WEIR_CLASSBENCH`" + ` names a folder of ClassBench rule sets (rules,
traces and expected, packed by gzip).

Frames are sent by an XDP program that the kernel runs in batches of 64 (BPF_PROG_TEST_RUN, live frames) into a veth
pair. Sender and receiver share the processor, so the time from batch to batch is that of both; what no filter costs is in
it, and the column "added" is without it. Where "added" is compared, it is round by round.
`
