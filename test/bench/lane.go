package main

import (
	"fmt"
	"net"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// lane is one subject under test: a router of its own that frames pass through.
//
//	generator ─ gN ═══ in ─ router ─ out ─ sink
//
// What it forwards reaches the egress hook of `out`, where a program counts it by
// its mark and drops it: the way of a packet ends there, alike in all lanes.
type lane struct {
	name      string
	host      *host
	generator *generator
	sink      link.Link
	counts    *ebpf.Map
	samples   []float64 // ns a frame
	count     int       // frames in a burst
	after     func()    // after each burst
	agent     *agent
}

const (
	inName  = "in"
	outName = "out"
)

// lanes are those of a line, and who sends.
type lanes struct {
	bench *bench
	hosts hosts
	from  *host
	all   []*lane
}

func (b *bench) newLanes() *lanes {
	s := &lanes{bench: b}
	s.from = s.hosts.add()
	// Nothing is sent but what the generators make.
	s.from.sysctl("net/ipv6/conf/all/disable_ipv6", "1")
	s.from.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
	return s
}

func (s *lanes) close() {
	for _, l := range s.all {
		if l.agent != nil {
			l.agent.close()
		}
		l.sink.Close()
		l.counts.Close()
		l.generator.close()
	}
	s.hosts.close()
}

// add makes a lane through which size different frames are sent.
func (s *lanes) add(name string, size int, fresh bool) *lane {
	l := &lane{name: name, host: s.hosts.add()}
	far := fmt.Sprintf("g%d", len(s.all))
	pair(s.from, far, l.host, inName)
	pair(l.host, outName, l.host, "end")
	l.host.useNAPI(inName)
	l.host.address(inName, "192.0.2.5/30")
	l.host.address(outName, "192.0.2.1/30")
	l.host.address(inName, "2001:db8:ffff::1/64")
	l.host.address(outName, "2001:db8:fffe::1/64")
	l.host.sysctl("net/ipv4/ip_forward", "1")
	l.host.sysctl("net/ipv6/conf/all/forwarding", "1")
	l.host.netlink(func(n *netlink.Handle) error { return routeBy(n, outName, "192.0.2.2", "2001:db8:fffe::2") })
	l.generator = newGenerator(s.from, far, size, fresh)
	l.sink, l.counts = newSink(l.host, outName)
	s.all = append(s.all, l)
	return l
}

// routeBy sends what is for others out of an interface, to a neighbour that is known.
func routeBy(n *netlink.Handle, name string, neighbors ...string) error {
	out, err := n.LinkByName(name)
	if err != nil {
		return err
	}
	for _, via := range neighbors {
		ip := net.ParseIP(via)
		err := n.NeighSet(&netlink.Neigh{
			LinkIndex: out.Attrs().Index, IP: ip, HardwareAddr: macA, State: netlink.NUD_PERMANENT,
		})
		if err != nil {
			return fmt.Errorf("add neighbour %s: %w", via, err)
		}
		if err := n.RouteAdd(&netlink.Route{LinkIndex: out.Attrs().Index, Gw: ip}); err != nil {
			return fmt.Errorf("add route by %s: %w", via, err)
		}
	}
	return nil
}

// newSink counts frames, by the lowest bit of the traffic class, and drops them.
func newSink(h *host, name string) (link.Link, *ebpf.Map) {
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 2})
	must(err, "make the sink's counters")
	const next, drop = -1, 2
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, 76, asm.Word), // skb->data
			asm.LoadMem(asm.R3, asm.R1, 80, asm.Word),
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, 14+20+20),        // of a SYN the padding is cut off
			asm.JGT.Reg(asm.R4, asm.R3, "other"), // what the host sends of itself
			asm.LoadMem(asm.R5, asm.R2, 12, asm.Half),
			asm.JEq.Imm(asm.R5, 0xdd86, "v6"),
			asm.JNE.Imm(asm.R5, 0x0008, "other"),
			asm.LoadMem(asm.R5, asm.R2, 15, asm.Byte),
			asm.Ja.Label("count"),
			asm.LoadMem(asm.R5, asm.R2, 15, asm.Byte).WithSymbol("v6"),
			asm.RSh.Imm(asm.R5, 4),
			asm.And.Imm(asm.R5, 1).WithSymbol("count"),
			asm.StoreMem(asm.RFP, -4, asm.R5, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, counts.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, drop).WithSymbol("end"),
			asm.Return(),
			asm.Mov.Imm(asm.R0, next).WithSymbol("other"),
			asm.Return(),
		},
	})
	must(err, "load the sink")
	defer p.Close()
	return attachTCX(h, name, p, ebpf.AttachTCXEgress), counts
}

// attachTCX attaches behind what is there.
func attachTCX(h *host, name string, p *ebpf.Program, at ebpf.AttachType) (l link.Link) {
	index := h.index(name)
	h.do(func() {
		var err error
		l, err = link.AttachTCX(link.TCXOptions{Program: p, Interface: index, Attach: at, Anchor: link.Tail()})
		must(err, "attach to %s", name)
	})
	return l
}

// emptyProgram lets every packet go on.
func emptyProgram() *ebpf.Program {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	must(err, "load an empty program")
	return p
}

// passed is how many frames have come through, without and with a mark.
func (l *lane) passed() (n [2]uint64) {
	for i := range n {
		var each []uint64
		must(l.counts.Lookup(uint32(i), &each), "read the sink's counters")
		for _, v := range each {
			n[i] += v
		}
	}
	return n
}

// handshakes are the frames that open connections. One step of all after the other:
// frames of a batch do not always arrive in their order.
func handshakes(tuples []tuple) [][]byte {
	open := make([]tuple, 3*len(tuples))
	for i, t := range tuples {
		for step, t := range t.handshake() {
			open[step*len(tuples)+i] = t
		}
	}
	return frames(open)
}

// establish opens connections; Weir must have all of them as such.
func (l *lane) establish(handshakes [][]byte) {
	l.generator.fill(handshakes)
	for range 3 {
		l.generator.send(len(handshakes)/3, true)
	}
	if l.agent == nil {
		return
	}
	p := ingressOf(l.host, inName)
	defer p.Close()
	flows := mapOf(p, "flows")
	defer flows.Close()
	if n := settled(flows); n != len(handshakes)/3 {
		must(fmt.Errorf("%d of %d are", n, len(handshakes)/3), "%s: look whether connections are established", l.name)
	}
}

// received is how many frames have arrived at the lane.
func (l *lane) received() (n uint64) {
	l.host.netlink(func(h *netlink.Handle) error {
		link, err := h.LinkByName(inName)
		if err == nil {
			n = link.Attrs().Statistics.RxPackets
		}
		return err
	})
	return n
}

// size finds how many frames take about the time of a burst, and warms up.
func (l *lane) size(burst time.Duration, most int) {
	l.count = 16 * batch
	for {
		took := l.generator.send(l.count, true)
		if l.after != nil {
			l.after()
		}
		if took > burst/2 || l.count >= most {
			break
		}
		l.count = min(most, 3*l.count)
	}
}

// burst takes one sample. lossless says that every frame must come through. Where
// another processor has begun to receive, it goes on as long as frames come, and is
// slower than the sender: the sample is taken again.
func (l *lane) burst(lossless bool) {
	const times = 5
	for range times {
		before := l.passed()
		took := l.generator.send(l.count, true)
		after := l.passed()
		if l.after != nil {
			l.after()
		}
		if came := after[0] + after[1] - before[0] - before[1]; !lossless || came*100 >= uint64(l.count)*99 {
			l.samples = append(l.samples, float64(took)/float64(l.count))
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	must(errFewReceived, "%s, %d times", l.name, times)
}

// measure takes samples of all lanes, round by round.
func (s *lanes) measure(burst time.Duration, most int) {
	var samples []func()
	for _, l := range s.all {
		s.bench.goOn()
		l.size(burst, most)
		samples = append(samples, func() { l.burst(true) })
	}
	s.bench.interleave(s.bench.rounds(), samples...)
}
