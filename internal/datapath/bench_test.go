package datapath

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// rules gives a prevent policy of n rules, of which the last one allows 10/8.
func rules(n int) string {
	var b strings.Builder
	b.WriteString("mode: prevent\nrules:\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, "- {name: r%d, action: block, layer3: {destination: 172.%d.%d.0/24}, layer4: {tcp: %d}}\n",
			i, 16+i>>8, i&255, 1+i)
	}
	b.WriteString("- {name: last, action: allow, layer3: {source: 10.0.0.0/8}}\n")
	return b.String()
}

// BenchmarkEstablished compares, round by round in one run, a packet of an
// established connection with one through an empty program. It prints the median
// of each and their ratio. By BPF_PROG_TEST_RUN: no network.
func BenchmarkEstablished(b *testing.B) {
	empty := emptyProgram(b)
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			d := open(b)
			swap(b, d, load(b, rules(n)))
			h := headers{to: [6]byte{2}, hopLimit: 64}
			tcp := h.build(benched, segment(benched, packet.ACK, 1, 1, 0))
			run(b, d.objects.Egress, h.build(benched, segment(benched, packet.SYN, 0, 0, 0)))
			run(b, d.objects.Ingress, h.build(reply, segment(reply, packet.SYN|packet.ACK, 0, 1, 0)))
			run(b, d.objects.Egress, tcp)
			if f := entry(b, d, benched); bpf.ConnectionsFlowFlags(f.Flags)&bpf.ConnectionsFlowFlagsFLOW_SETTLED == 0 {
				b.Fatalf("the connection is not established: flags %#x, TCP %#x", f.Flags, f.Tcp)
			}
			const repeat, rounds = 20000, 15
			var baseline, weir []time.Duration
			for b.Loop() {
				baseline, weir = baseline[:0], weir[:0]
				for range rounds {
					baseline = append(baseline, measure(b, empty, tcp, repeat))
					weir = append(weir, measure(b, d.objects.Egress, tcp, repeat))
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(baseline), "ns/packet-empty")
			b.ReportMetric(median(weir), "ns/packet-weir")
			b.ReportMetric(median(weir)/median(baseline), "x-empty")
		})
	}
}

// benched is a connection, and reply what its packets back bear.
var (
	benched = packet.Tuple{
		Source: address("10.0.0.1"), Destination: address("192.0.2.1"), Protocol: packet.TCP,
		SourcePort: 40000, DestinationPort: 443,
	}
	reply = packet.Tuple{
		Source: benched.Destination, Destination: benched.Source, Protocol: packet.TCP,
		SourcePort: benched.DestinationPort, DestinationPort: benched.SourcePort,
	}
)

func measure(b *testing.B, p *ebpf.Program, frame []byte, repeat int) time.Duration {
	_, each, err := p.Benchmark(frame, repeat, nil)
	if err != nil {
		b.Fatal(err)
	}
	return each
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds())
}

// BenchmarkSwap is the time from compiled tables to a policy in force.
func BenchmarkSwap(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			d := open(b)
			p := load(b, rules(n))
			for b.Loop() {
				swap(b, d, p)
			}
		})
	}
}
