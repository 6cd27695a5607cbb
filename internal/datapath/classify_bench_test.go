package datapath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// A kind of large policy: rule i, and an address that it is about.
type policyKind struct {
	name string
	rule func(i, n int) string
	// near is an address that rule i of n is about.
	near func(i, n int) netip.Addr
}

// scattered spreads i over 24 bits, each number once.
func scattered(i int) uint32 { return uint32(i) * 0x9e3779 & 0xffffff }

var policyKinds = []policyKind{
	{
		"sources4", func(i, _ int) string {
			return fmt.Sprintf("{action: block, layer3: {source: %v}}", address4(11, scattered(i)))
		}, func(i, _ int) netip.Addr { return address4(11, scattered(i)) },
	},
	{
		"sources6", func(i, _ int) string {
			return fmt.Sprintf("{action: block, layer3: {source: %v/64}}", address6(scattered(i)))
		}, func(i, _ int) netip.Addr { return address6(scattered(i)) },
	},
	{
		"services", func(i, _ int) string { // few prefixes, many pairs of them
			return fmt.Sprintf("{action: block, layer3: {source: 11.%d.0.0/16, destination: 10.%d.0.0/16}, layer4: {tcp: %d}}", i%150, i/150%150, 1+i/22500*1000)
		}, func(i, _ int) netip.Addr { return address4(11, uint32(i%150)<<16) },
	},
}

func address4(first byte, rest uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{first, byte(rest >> 16), byte(rest >> 8), byte(rest)})
}

func address6(n uint32) netip.Addr {
	a := netip.MustParseAddr("2001:db8::").As16()
	a[4], a[5], a[6], a[7] = byte(n), byte(n>>8), byte(n>>16), 1
	return netip.AddrFrom16(a)
}

func (k policyKind) text(n int) string {
	var b strings.Builder
	b.WriteString("mode: prevent\nreject: never\ndefault_action: allow\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: r%d, %s\n", i, strings.TrimPrefix(k.rule(i, n), "{"))
	}
	return b.String()
}

// BenchmarkClassify is the kernel's time for the first packet of a connection,
// with its entry and event, at policies of a kind and size, and what of it the
// rules cost: the difference to a policy of one rule. Half of the packets meet a
// rule, half none; no two are of one connection.
func BenchmarkClassify(b *testing.B) {
	const packets, rounds = 1 << 15, 9
	for _, k := range policyKinds {
		for _, n := range []int{1000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/rules=%d", k.name, n), func(b *testing.B) {
				d, small := open(b), load(b, "mode: prevent\nreject: never\ndefault_action: allow\nrules: [{name: one, action: block, layer3: {source: 192.0.2.1}}]")
				p := load(b, k.text(n))
				random := rand.New(rand.NewPCG(1, uint64(n)))
				var tuples []packet.Tuple
				for i := range packets {
					t := packet.Tuple{Protocol: packet.TCP, SourcePort: uint16(i), DestinationPort: uint16(1 + random.IntN(4)*1000)}
					t.Source = k.near(random.IntN(n), n)
					t.Destination = address4(10, random.Uint32()&0xffffff)
					if t.Source.Is6() {
						t.Destination = address6(random.Uint32())
					}
					if i%2 == 0 {
						t.Source = t.Source.Prev().Prev()
					}
					tuples = append(tuples, t)
				}
				g := newFirsts(b, d.objects.Ingress, tuples)
				empty := newFirsts(b, emptyProgram(b), tuples)
				var with, without []time.Duration
				for b.Loop() {
					with, without = with[:0], without[:0]
					for range rounds {
						for _, m := range []struct {
							p  *policy.Policy
							to *[]time.Duration
						}{{small, &without}, {p, &with}} {
							swap(b, d, m.p)
							*m.to = append(*m.to, g.run(b)-empty.run(b))
							forget(b, d)
							d.drain(b)
						}
					}
				}
				b.ReportMetric(0, "ns/op")

				b.ReportMetric(median(without), "ns/first-1-rule")
				b.ReportMetric(median(with), "ns/first")
				b.ReportMetric(median(with)-median(without), "ns/classify")
			})
		}
	}
}

// firsts sends the first packets of connections through a program: a program in
// front of it writes the next tuple into the packet.
type firsts struct {
	front *ebpf.Program
	frame []byte
	count int
}

func newFirsts(b *testing.B, program *ebpf.Program, tuples []packet.Tuple) *firsts {
	b.Helper()
	// What differs: of IPv4 the header's checksum, too.
	from, to := 24, 38
	if tuples[0].Source.Is6() {
		from, to = 22, 58
	}
	headers := testMap(b, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(to - from), MaxEntries: uint32(len(tuples))})
	next := testMap(b, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	calls := testMap(b, &ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err := calls.Put(uint32(0), program); err != nil {
		b.Fatal(err)
	}
	for i, t := range tuples {
		if err := headers.Put(uint32(i), frame(t)[from:to]); err != nil {
			b.Fatal(err)
		}
	}
	front, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, next.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
			asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
			asm.Add.Imm(asm.R1, 1),
			asm.And.Imm(asm.R1, int32(len(tuples)-1)),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, headers.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, int32(from)),
			asm.Mov.Reg(asm.R3, asm.R0),
			asm.Mov.Imm(asm.R4, int32(to-from)),
			asm.Mov.Imm(asm.R5, 0),
			asm.FnSkbStoreBytes.Call(),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMapPtr(asm.R2, calls.FD()),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, -1).WithSymbol("end"),
			asm.Return(),
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { front.Close() })
	return &firsts{front: front, frame: frame(tuples[0]), count: len(tuples)}
}

// run sends all of them and gives the mean time.
func (f *firsts) run(b *testing.B) time.Duration {
	b.Helper()
	return measure(b, f.front, f.frame, f.count)
}

func testMap(b *testing.B, spec *ebpf.MapSpec) *ebpf.Map {
	b.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	return m
}

func emptyProgram(b *testing.B) *ebpf.Program {
	b.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		b.Skip("needs root:", err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}
