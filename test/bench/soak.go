package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// soak keeps a million connections at the highest rate of packets, and checks:
// memory stays flat, the packets counted are those sent, no verdict is wrong.
func soak(ctx context.Context, s settings) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = f.err
		}
	}()
	b := &bench{settings: s, ctx: ctx}
	fmt.Println(describeMachine())
	lanes := b.newLanes()
	defer lanes.close()
	l := lanes.add(weirSubject, soakFrames, false)
	policy := []byte("mode: prevent\nreject: never\ndefault_action: allow\nrules:\n- {name: shut, action: block, layer3: {source: 15.0.0.0/8}}\n")
	l.agent, _ = startAgent(l.host, agentCPUs(), Opening{Interfaces: []string{inName}, MaxEntries: liveEntries, Policy: policy})
	connections := someTuples(million)
	opened := l.openAll(b, connections)
	l.generator.fill(soakTraffic(connections))
	return l.soak(b, opened)
}

// soakFrames are sent in turn: one of sixteen is to be blocked.
const (
	soakFrames  = 1 << 21
	blockedEach = 16
)

// openAll opens connections through a generator of its own table's size.
func (l *lane) openAll(b *bench, connections []tuple) (sent int) {
	per := soakFrames / 3
	for from := 0; from < len(connections); from += per {
		b.goOn()
		var all []tuple
		for _, t := range connections[from:min(from+per, len(connections))] {
			all = append(all, t.handshake()...)
		}
		// The generator goes on where it was: whole tables keep the order.
		for len(all)%soakFrames != 0 {
			t := connections[0].handshake()[2]
			all = append(all, t)
		}
		l.generator.fill(frames(all))
		l.generator.send(soakFrames, false)
		sent += soakFrames
	}
	return sent
}

// soakTraffic is segments of all connections, both ways, and some to be blocked,
// which bear a mark.
func soakTraffic(connections []tuple) [][]byte {
	all := make([][]byte, soakFrames)
	next := 0
	for i := range all {
		if i%blockedEach == 0 {
			t := opening(address4(15, uint32(i/blockedEach&0xffff)), address4(10, uint32(i&0xffff)), 1024, 443)
			t.mark = 1
			all[i] = t.frame()
			continue
		}
		t := connections[next/2%len(connections)]
		segment := t.handshake()[2]
		if next%2 == 1 {
			segment = segment.reversed()
			segment.seq, segment.ack = 501, t.seq+1
		}
		next++
		all[i] = segment.frame()
	}
	return all
}

func (l *lane) soak(b *bench, opened int) error {
	p := ingressOf(l.host, inName)
	defer p.Close()
	flows := mapOf(p, "flows")
	defer flows.Close()
	before, began := l.passed(), time.Now()
	var sent int
	var busy time.Duration
	var agentMB, kernelMB []float64
	pid := l.agent.cmd.Process.Pid
	report := time.Now()
	for time.Since(began) < b.soak {
		b.goOn()
		const part = soakFrames / 16 // of which as many are to be blocked
		busy += l.generator.send(part, false)
		sent += part
		if time.Since(report) < min(10*time.Second, b.soak/10) {
			continue
		}
		report = time.Now()
		agentMB, kernelMB = append(agentMB, residentMB(pid)), append(kernelMB, mapsMB(pid))
		fmt.Printf("%6.0f s  %6.2f M packets/s  agent %4.0f MB  kernel tables %5.0f MB\n", time.Since(began).Seconds(),
			float64(sent)/busy.Seconds()/1e6, agentMB[len(agentMB)-1], kernelMB[len(kernelMB)-1])
	}
	time.Sleep(2 * time.Second)
	after, w := l.passed(), l.agent.watch()
	blocked := sent / blockedEach
	var errs []error
	expect := func(what string, got, want uint64) {
		fmt.Printf("%-52s %s\n", what, number(float64(got)))
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %d, expected %d", what, got, want))
		}
	}
	expect("packets that arrived at the interface", l.received(), uint64(opened+sent))
	expect("packets that Weir counted as allowed", w.Packets["allowed"], uint64(opened+sent-blocked))
	expect("packets that Weir counted as blocked", w.Packets["blocked"], uint64(blocked))
	expect("packets that came through, as they should", after[0]-before[0], uint64(sent-blocked))
	expect("packets that came through and should not", after[1]-before[1], 0)
	if live := count(flows); live < million {
		errs = append(errs, fmt.Errorf("%d connections are live at the end, expected a million", live))
	}
	for cause, n := range w.Lost {
		expect("lost: "+cause, n, 0)
	}
	errs = append(errs, isFlat("agent", agentMB), isFlat("kernel tables", kernelMB))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("soak: %w", err)
	}
	fmt.Printf("soak: all as expected, %s packets in %v\n", number(float64(sent)), time.Since(began).Round(time.Second))
	return nil
}

// isFlat compares the last third with the middle one; the first is left to settle.
func isFlat(what string, mb []float64) error {
	third := len(mb) / 3
	if third == 0 {
		return nil
	}
	middle, last := median(mb[third:2*third]), median(mb[2*third:])
	if last > 1.05*middle+4 {
		return fmt.Errorf("%s: grew from %.0f to %.0f MB", what, middle, last)
	}
	return nil
}
