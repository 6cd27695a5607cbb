package main

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/weirnet/weir/internal/classbench"
)

var classifyLine = line{
	id: "classify", title: "Classification", unit: "ns a packet",
	about: "What it costs to find the rule, apart from all else: the time of the first packet of a connection by BPF_PROG_TEST_RUN under a policy, less that under none. Packets are drawn evenly from all rules, which meets every cache cold, or as they come on real networks, where few peers and services are most of the traffic (by Zipf's law, exponent 1.1; ClassBench's sets by their own traces).",
	take: func(b *bench, r *result) {
		for _, k := range kinds {
			var subjects []classified
			for _, n := range []int{1000, 10_000, 100_000} {
				subjects = append(subjects, classified{kind: k.name, size: n, policy: k.policy(n), tuples: k.tuples(firstPackets, n)})
				if n != 10_000 || b.full {
					subjects = append(subjects, classified{kind: k.name + byZipf, size: n, policy: k.policy(n), tuples: k.trace(firstPackets, n)})
				}
			}
			b.classify(r, subjects)
		}
		if b.sets == "" {
			return
		}
		var subjects []classified
		sets, err := classbench.Sets(b.sets)
		must(err, "look for ClassBench sets")
		for _, set := range sets {
			// One of each kind, small and large.
			if strings.HasPrefix(set, "acl1_") || strings.HasPrefix(set, "fw1_") || strings.HasPrefix(set, "ipc1_") {
				if c, ok := classBench(b.sets, set); ok {
					subjects = append(subjects, c)
				}
			}
		}
		b.classify(r, subjects)
	},
}

const (
	byZipf         = ", by Zipf"
	classification = "classification"
)

// firstPackets is how many packets, each of another connection, make one sample.
const firstPackets = 1 << 15

type classified struct {
	kind   string
	size   int
	policy []byte
	tuples []tuple
}

// classBench is a set with the headers of its trace, as TCP: what differs is where
// they match.
func classBench(dir, set string) (classified, bool) {
	headers, _, err := classbench.Trace(dir, set)
	must(err, "read the trace of %s", set)
	const tcp = 6
	policy, err := classbench.PolicyAsTCP(dir, set, tcp)
	must(err, "read the rules of %s", set)
	c := classified{kind: "ClassBench " + set, policy: policy, size: 1000}
	if strings.HasSuffix(set, "10k") {
		c.size = 10_000
	}
	seen := map[tuple]bool{}
	for _, h := range headers {
		t := opening(h.Source, h.Destination, h.SourcePort, h.DestinationPort)
		if !seen[t] && h.Protocol == tcp && h.Source != h.Destination {
			seen[t] = true
			c.tuples = append(c.tuples, t)
		}
		if len(c.tuples) == firstPackets {
			break
		}
	}
	return c, len(c.tuples) > 0
}

// classify compares the policies with none, in one agent: two would lie differently
// in memory, which makes more of a difference than rules do.
func (b *bench) classify(r *result, subjects []classified) {
	for _, c := range subjects {
		b.goOn()
		t := newTestRun(noRules, frames(c.tuples))
		t.take()
		var with, without []float64
		b.interleave(b.rounds(),
			func() { t.agent.apply(c.policy); t.take(); with = append(with, t.take()) },
			func() { t.agent.apply(noRules); t.take(); without = append(without, t.take()) })
		t.close()
		rules := pairwise(with, without, func(x, y float64) float64 { return x - y })
		r.Series = append(r.Series,
			series{Subject: "first packet, no rules", Kind: c.kind, Size: c.size, Samples: without},
			series{Subject: "first packet", Kind: c.kind, Size: c.size, Baseline: "first packet, no rules", Samples: with},
			series{Subject: classification, Kind: c.kind, Size: c.size, Samples: rules})
	}
}

// testRun sends the first packets of connections through Weir's program: one in
// front of it writes the next frame into the packet.
type testRun struct {
	host           *host
	agent          *agent
	weir, front    *ebpf.Program
	frames, flows  *ebpf.Map
	calls, counter *ebpf.Map
	count          int
	first          []byte
}

func newTestRun(policy []byte, all [][]byte) *testRun {
	t := &testRun{host: newHost(), count: len(all), first: all[0]}
	pair(t.host, inName, t.host, "end")
	t.agent, _ = startAgent(t.host, agentCPUs(), Opening{Interfaces: []string{inName}, MaxEntries: 1 << 20, Policy: policy})
	t.weir = ingressOf(t.host, inName)
	t.flows = mapOf(t.weir, "flows")
	array := func(size, count int) *ebpf.Map {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: uint32(count)})
		must(err, "make a map")
		return m
	}
	t.frames, t.counter = array(frameSize, len(all)), array(4, 1)
	for i, f := range all {
		must(t.frames.Put(uint32(i), f), "put a frame")
	}
	var err error
	t.calls, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(err, "make a map of programs")
	must(t.calls.Put(uint32(0), t.weir), "put Weir's program behind another")
	t.front, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: t.instructions()})
	must(err, "load a program")
	return t
}

func (t *testRun) instructions() asm.Instructions {
	const ethernet = 14
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, t.counter.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Add.Imm(asm.R2, 1),
		asm.StoreMem(asm.R0, 0, asm.R2, asm.Word),
		asm.Mod.Imm32(asm.R1, int32(t.count)),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, t.frames.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R3, asm.R0),
		asm.Add.Imm(asm.R3, ethernet),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, ethernet),
		asm.Mov.Imm(asm.R4, frameSize-ethernet),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, t.calls.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("end"),
		asm.Return(),
	}
}

// take sends all packets once and gives the time of one.
func (t *testRun) take() (ns float64) {
	t.host.run(func() {
		_, each, err := t.front.Benchmark(t.first, t.count, nil)
		must(err, "run Weir's program")
		ns = float64(each)
	})
	if entries := count(t.flows); entries*100 < t.count*95 {
		must(fmt.Errorf("%d connections after %d first packets", entries, t.count), "check the sample")
	}
	forget(t.flows)
	return ns
}

func (t *testRun) close() {
	t.agent.close()
	for _, p := range []*ebpf.Program{t.weir, t.front} {
		p.Close()
	}
	for _, m := range []*ebpf.Map{t.frames, t.flows, t.calls, t.counter} {
		m.Close()
	}
	t.host.close()
}
