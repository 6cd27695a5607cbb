package datapath

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/internal/packet"
)

// early runs the XDP program before that of the ingress hook.
type early struct {
	t       testing.TB
	program *ebpf.Program
	clocks  *ebpf.Map
	dropped uint64
}

func newEarly(t testing.TB, d *Datapath) *early {
	t.Helper()
	if err := d.loadXDP(XDPNative); err != nil {
		t.Fatal(err)
	}
	e := &early{t: t, program: d.xdp.program}
	info, err := e.program.Info()
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := m.Info(); err == nil && info.Name == "clocks" {
			e.clocks = m
			t.Cleanup(func() { m.Close() })
			continue
		}
		m.Close()
	}
	if e.clocks == nil {
		t.Fatal("the program has no clocks")
	}
	return e
}

// drops says whether the program drops a frame that comes in by a device. Those that
// can have it see no superpackets.
func (e *early) drops(index uint32, at device, frame []byte, gso uint32) bool {
	if at == bridge || at == loopback || gso != 0 || len(frame) < 14 {
		return false
	}
	context := make([]byte, 24) // struct xdp_md
	const end, ingressIndex = 4, 12
	binary.NativeEndian.PutUint32(context[end:], uint32(len(frame)))
	binary.NativeEndian.PutUint32(context[ingressIndex:], index)
	answer, err := e.program.Run(&ebpf.RunOptions{Data: frame, Context: context})
	if err != nil {
		e.t.Fatalf("run the XDP program on %x: %v", frame, err)
	}
	const xdpDrop, xdpPass = 1, 2
	switch answer {
	case xdpDrop:
		e.dropped++
		return true
	case xdpPass:
		return false
	}
	e.t.Fatalf("the XDP program answers %d", answer)
	return false
}

func (e *early) forgetTime(t testing.TB) {
	t.Helper()
	if err := e.clocks.Put(uint32(0), make([][16]byte, ebpf.MustPossibleCPU())); err != nil {
		t.Fatal(err)
	}
}

// TestXDPAgainstReference: where the XDP program comes before the hook, answers,
// entries, events and counters are those of the reference all the same, which knows
// nothing of it.
func TestXDPAgainstReference(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newTwins(t, open(t))
	w.xdp = newEarly(t, w.datapath)
	steps, difference, n := w.find(t, rand.New(rand.NewPCG(seed, 0)), *generatedSequences/3)
	t.Logf("%d sequences, %d packets, of which %d dropped early", n, w.sightings, w.xdp.dropped)
	if difference != "" {
		t.Logf("sequence %d: %s", n, difference)
		w.fail(t, steps)
	}
	if w.xdp.dropped == 0 || w.xdp.dropped != counter(t, w.datapath, "xdp_dropped") {
		t.Errorf("%d were dropped early, and %d counted", w.xdp.dropped, counter(t, w.datapath, "xdp_dropped"))
	}
}

// leftToTheHook are packets of blocked connections which the XDP program is to let
// pass: after the packets of `before`, and maybe another policy, each is sent by an
// interface. fault is that of bpf/mutant.h with which it would drop them.
var leftToTheHook = []struct {
	name   string
	before [][]byte
	policy string // in force after it; "": the same
	packet []byte
	at     device
	fault  int
}{
	{name: "the next packet", before: [][]byte{blockedUDP}, packet: blockedUDP, at: outside, fault: dropsAnyway},
	{name: "a SYN that is sent again", before: [][]byte{blockedSYN(1)}, packet: blockedSYN(1), at: outside, fault: dropsAnyway},
	{name: "an acknowledgment", before: [][]byte{blockedSYN(1)}, packet: segmentFrame(16, 2), at: outside, fault: dropsAnyway},
	{name: "the first", packet: blockedUDP, at: outside},
	{name: "after a change of policy", before: [][]byte{blockedUDP}, policy: "mode: prevent\nrules: [{name: open, action: allow}]", packet: blockedUDP, at: outside, fault: 33},
	{name: "another SYN", before: [][]byte{blockedSYN(1)}, packet: blockedSYN(9), at: outside, fault: 34},
	{name: "a SYN with RST", before: [][]byte{blockedSYN(1)}, packet: segmentFrame(2|4, 1), at: outside, fault: 34},
	{name: "by another interface", before: [][]byte{blockedUDP}, packet: blockedUDP, at: inside, fault: 35},
	{name: "by one that is not watched", before: [][]byte{blockedUDP}, packet: blockedUDP, at: unwatched},
	{name: "with IP options", before: [][]byte{blockedUDP}, packet: (&headers{hopLimit: 64, options: true}).build(blockedTuple(packet.UDP), udpDatagram(blockedTuple(packet.UDP), 8)), at: outside},
	{name: "a fragment", before: [][]byte{blockedUDP}, packet: headers{hopLimit: 64}.fragments(blockedTuple(packet.UDP), udpDatagram(blockedTuple(packet.UDP), 64), 1, 4)[0], at: outside},
	{name: "in a VLAN", before: [][]byte{blockedUDP}, packet: (&headers{hopLimit: 64, tags: []uint16{7}}).build(blockedTuple(packet.UDP), udpDatagram(blockedTuple(packet.UDP), 8)), at: outside},
	{name: "with a wrong checksum", before: [][]byte{blockedUDP}, packet: wrongChecksum(blockedUDP), at: outside},
}

// dropsAnyway marks those of leftToTheHook that are not left to it.
const dropsAnyway = -1

const xdpPolicy = "mode: prevent\nreject: never\nrules: [{name: shut, action: block}]"

func blockedTuple(protocol uint8) packet.Tuple {
	return packet.Tuple{Source: peers4[0], Destination: local4, Protocol: protocol, SourcePort: 999, DestinationPort: 9}
}

var blockedUDP = (&headers{hopLimit: 64}).build(blockedTuple(packet.UDP), udpDatagram(blockedTuple(packet.UDP), 8))

func segmentFrame(flags byte, seq uint32) []byte {
	tp := blockedTuple(packet.TCP)
	return (&headers{hopLimit: 64}).build(tp, segment(tp, flags, seq, 0, 0))
}

func blockedSYN(seq uint32) []byte { return segmentFrame(2, seq) }

func wrongChecksum(frame []byte) []byte {
	b := append([]byte(nil), frame...)
	b[24] ^= 1
	return b
}

// dropsEarly says whether the XDP program drops the packet of a case.
func (w *world) dropsEarly(t *testing.T, i int) bool {
	t.Helper()
	c := &leftToTheHook[i]
	forget(t, w.datapath)
	swap(t, w.datapath, load(t, xdpPolicy))
	for _, frame := range c.before {
		if answer, err := w.run(in(outside), frame, 0); err != nil || answer != drop {
			t.Fatalf("%d, %v: it is not blocked", answer, err)
		}
	}
	if c.policy != "" {
		swap(t, w.datapath, load(t, c.policy))
	}
	return w.xdp.drops(w.index[c.at], c.at, c.packet, 0)
}

func TestLeftToTheHook(t *testing.T) {
	w := newWorld(t, open(t))
	w.xdp = newEarly(t, w.datapath)
	for i, c := range leftToTheHook {
		if dropped := w.dropsEarly(t, i); dropped != (c.fault == dropsAnyway) {
			t.Errorf("%s: dropped early: %v", c.name, dropped)
		}
	}
}

// TestXDPMutants: the same notices the faults of the XDP program.
func TestXDPMutants(t *testing.T) {
	shipped := loadXDP
	defer func() { loadXDP = shipped }()
	loadXDP = func() (*ebpf.CollectionSpec, error) {
		return ebpf.LoadCollectionSpec("testdata/xdp_mutants_bpfel.o")
	}
	w := newWorld(t, open(t))
	w.xdp = newEarly(t, w.datapath)
	for i, c := range leftToTheHook {
		if c.fault <= 0 {
			continue
		}
		setMutantOf(t, w.xdp.program, c.fault)
		if !w.dropsEarly(t, i) {
			t.Errorf("%s: fault %d is not noticed", c.name, c.fault)
		}
	}
}
