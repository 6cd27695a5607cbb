package main

import (
	"errors"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// generator sends made-up frames out of one interface of its host, as fast as the
// kernel can: BPF_PROG_TEST_RUN with live frames runs an XDP program for each,
// which writes the frame and redirects it.
type generator struct {
	host    *host
	program *ebpf.Program
	table   *ebpf.Map // the frames, sent in turn
	state   *ebpf.Map // a sending
	size    int
	index   int // of the interface
}

// sending is what the program notes. A batch begins when the one before has been
// received, so the time from the first to the last is that of whole batches; what
// a run takes to begin and to end, several milliseconds, is not in it.
type sending struct {
	Next     uint64 // frame, of all runs
	Sent     uint64 // in this run
	First    uint64 // when the first batch began, ns
	Last     uint64 // when the last one did
	SentLast uint64 // before that
}

// xdpContext is struct xdp_md.
type xdpContext struct{ Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32 }

// newGenerator has room for size frames. With fresh set, the source of each frame
// is another one, of 10.0.0.0/8, and the checksums are kept right.
func newGenerator(h *host, name string, size int, fresh bool) *generator {
	g := &generator{host: h, size: size, index: h.index(name)}
	var err error
	g.table, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: frameSize, MaxEntries: uint32(size)})
	must(err, "make the table of frames")
	g.state, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 40, MaxEntries: 1})
	must(err, "make the generator's state")
	g.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL", Instructions: g.instructions(fresh),
	})
	must(err, "load the generator")
	return g
}

func (g *generator) close() {
	g.program.Close()
	g.table.Close()
	g.state.Close()
}

// instructions: frame number next++ % size is copied from the table.
func (g *generator) instructions(fresh bool) asm.Instructions {
	lookup := func(m *ebpf.Map) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "abort"),
		}
	}
	ins := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word), // its end
		asm.Mov.Reg(asm.R3, asm.R6),
		asm.Add.Imm(asm.R3, frameSize),
		asm.JGT.Reg(asm.R3, asm.R2, "abort"),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
	}
	ins = append(ins, lookup(g.state)...)
	const next, sent, first, last, sentLast = 0, 8, 16, 24, 32
	ins = append(ins,
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.LoadMem(asm.R7, asm.R8, next, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R8, next, asm.R1, asm.DWord),
		asm.LoadMem(asm.R9, asm.R8, sent, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R8, sent, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.And.Imm(asm.R1, batch-1),
		asm.JNE.Imm(asm.R1, 0, "write"),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R8, last, asm.R0, asm.DWord),
		asm.StoreMem(asm.R8, sentLast, asm.R9, asm.DWord),
		asm.JNE.Imm(asm.R9, 0, "write"),
		asm.StoreMem(asm.R8, first, asm.R0, asm.DWord),
		asm.Mov.Reg32(asm.R1, asm.R7).WithSymbol("write"),
		asm.Mod.Imm32(asm.R1, int32(g.size)),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
	)
	ins = append(ins, lookup(g.table)...)
	for at := int16(0); at < frameSize; at += 8 {
		ins = append(ins, asm.LoadMem(asm.R1, asm.R0, at, asm.DWord), asm.StoreMem(asm.R6, at, asm.R1, asm.DWord))
	}
	if fresh {
		ins = append(ins, freshSource()...)
	}
	return append(ins,
		asm.Mov.Imm(asm.R1, int32(g.index)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("abort"),
		asm.Return(),
	)
}

// freshSource puts 10.x.y.z, from the number in R7, in place of the source, which
// is 0.0.0.0 in the table. Its sum is taken off again, in the sums of IP by the
// identification and in that of TCP by the sequence number: x + ^x is nothing in
// ones' complement.
func freshSource() asm.Instructions {
	const id, source, seq = 18, 26, 40 // seq: its lower half
	return asm.Instructions{
		asm.Mov.Reg32(asm.R1, asm.R7),
		asm.Mul.Imm32(asm.R1, 0x9e3779),
		asm.And.Imm32(asm.R1, 0xffffff),
		asm.Or.Imm32(asm.R1, 10<<24),
		asm.Mov.Reg32(asm.R2, asm.R1),
		asm.RSh.Imm32(asm.R2, 16),
		asm.Mov.Reg32(asm.R3, asm.R1),
		asm.And.Imm32(asm.R3, 0xffff),
		asm.Add.Reg32(asm.R2, asm.R3),
		asm.Mov.Reg32(asm.R3, asm.R2),
		asm.RSh.Imm32(asm.R3, 16),
		asm.Add.Reg32(asm.R2, asm.R3),
		asm.Xor.Imm32(asm.R2, 0xffff),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(asm.R6, source, asm.R1, asm.Word),
		asm.And.Imm32(asm.R2, 0xffff),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.StoreMem(asm.R6, id, asm.R2, asm.Half),
		asm.StoreMem(asm.R6, seq, asm.R2, asm.Half),
	}
}

// fill puts frames into the table, again and again up to its size.
func (g *generator) fill(all [][]byte) {
	keys, values := make([]uint32, g.size), make([][frameSize]byte, g.size)
	for i := range keys {
		keys[i] = uint32(i)
		copy(values[i][:], all[i%len(all)])
	}
	_, err := g.table.BatchUpdate(keys, values, nil)
	must(err, "fill the table of frames")
}

// batch is how many frames the kernel hands over at once; the queue of a veth
// holds 256.
const batch = 64 // a power of two

// send sends the next count frames and gives the time that sending and receiving
// them took: receiving is done by the same processor, before the next batch is
// sent. Nothing else runs there meanwhile, where urgent is set.
func (g *generator) send(count int, urgent bool) time.Duration {
	var s sending
	must(g.state.Lookup(uint32(0), &s), "read the generator's state")
	must(g.state.Put(uint32(0), sending{Next: s.Next}), "write the generator's state")
	var took time.Duration
	g.host.run(func() {
		must(unix.SchedSetaffinity(0, cpuSet(trafficCPU())), "keep to one processor")
		if urgent {
			fifo := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 40}
			must(unix.SchedSetAttr(0, &fifo, 0), "get the processor for itself")
			normal := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
			defer unix.SchedSetAttr(0, &normal, 0) // the thread ends
		}
		began := time.Now()
		_, err := g.program.Run(&ebpf.RunOptions{
			Data: make([]byte, frameSize), Repeat: uint32(count), BatchSize: batch,
			Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, Context: xdpContext{DataEnd: frameSize, Ingress: uint32(g.index)},
		})
		took = time.Since(began)
		must(err, "send %d frames", count)
	})
	must(g.state.Lookup(uint32(0), &s), "read the generator's state")
	if s.SentLast == 0 {
		return took // one batch: with what beginning and ending take
	}
	return time.Duration(float64(s.Last-s.First) * float64(count) / float64(s.SentLast))
}

var errFewReceived = errors.New("frames were lost between the two ends of a veth pair")
