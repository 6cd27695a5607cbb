package datapath

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// told is an event, of the kernel or of the reference.
type told struct {
	flow.Event
	zone uint32
}

// drain takes what the kernel has told since the last call. Times are those of
// CLOCK_MONOTONIC.
func (d *Datapath) drain(t testing.TB) (list []told) {
	t.Helper()
	var record ringbuf.Record
	d.events.SetDeadline(time.Now())
	for {
		err := d.events.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := d.decode(record.RawSample, &clock{})
		if !ok {
			t.Fatal("an event of another size")
		}
		e.Tuple.Zone = packet.Zone{} // compared as the kernel writes it
		raw := (*bpf.ConnectionsEvent)(unsafe.Pointer(&record.RawSample[0]))
		list = append(list, told{flow.Event{
			Kind: flow.Kind(e.Kind), Time: int64(raw.Time), First: int64(raw.First), Last: int64(raw.Last),
			ID: e.ID, Tuple: e.Tuple, Direction: e.Direction, Interface: raw.Ifindex,
			Sent:   [2]flow.Counts{{Packets: e.Packets[0], Bytes: e.Bytes[0]}, {Packets: e.Packets[1], Bytes: e.Bytes[1]}},
			Tables: e.Tables, Rule: e.Rule, ShadowRule: e.ShadowRule,
			Verdict: flow.Verdict(e.Verdict), Action: flow.Action(e.Action), Reason: flow.Reason(e.Reason),
			ShadowAction: flow.Action(e.ShadowAction), End: flow.End(e.End), Prevent: e.Prevent,
			Application: e.Application, Looked: e.Looked,
		}, raw.Zone})
	}
}

// reference is what the tracker in Go told.
func reference(events []flow.Event) (list []told) {
	for _, e := range events {
		z := e.Tuple.Zone
		e.Tuple.Zone = packet.Zone{}
		list = append(list, told{e, uint32(z.Inner)<<12 | uint32(z.Outer)})
	}
	return list
}

// span is when a step ran.
type span struct{ from, to int64 }

// lines writes events so that those of kernel and reference can be compared: times
// are steps, ids and tables are numbered as they appear.
type lines struct {
	spans  []span
	ids    map[uint64]int
	tables map[uint32]int // policies by number of their tables
	sorted bool           // the events are of a pass over all connections
}

func (l *lines) step(time int64) int {
	i := sort.Search(len(l.spans), func(i int) bool { return l.spans[i].to >= time })
	if i == len(l.spans) || l.spans[i].from > time {
		return -1
	}
	return i
}

func (l *lines) of(events []told) []string {
	var list []string
	for _, e := range events {
		list = append(list, fmt.Sprintf(
			"kind %d of step %d, first %d, last %d: %v %s zone %d interface %d sent %v policy %d rule %d verdict %d action %d reason %d shadow %d %d end %d prevent %v application %d looked %v",
			e.Kind, l.step(e.Time), l.step(e.First), l.step(e.Last), e.Direction, tupleText(&e.Tuple), e.zone, e.Interface, e.Sent,
			l.tables[e.Tables], int32(e.Rule), e.Verdict, e.Action, e.Reason, int32(e.ShadowRule), e.ShadowAction, e.End, e.Prevent, e.Application, e.Looked))
	}
	if l.sorted {
		sort.Strings(list)
	}
	for i := range list {
		if l.sorted {
			break // a pass over all goes in any order
		}
		id, known := l.ids[events[i].ID]
		if !known {
			id = len(l.ids)
			l.ids[events[i].ID] = id
		}
		list[i] += fmt.Sprintf(" id %d", id)
	}
	return list
}

func tupleText(t *packet.Tuple) string {
	return fmt.Sprintf("%d %v:%d → %v:%d type %d/%d id %d", t.Protocol, t.Source, t.SourcePort, t.Destination, t.DestinationPort,
		t.ICMPType, t.ICMPCode, t.ICMPID)
}

// compareEvents says how what both told differs, if it does.
func compareEvents(kernel, twin []told, k, r *lines) string {
	if got, want := strings.Join(k.of(kernel), "\n"), strings.Join(r.of(twin), "\n"); got != want {
		return fmt.Sprintf("the kernel tells\n%s\nthe reference\n%s", got, want)
	}
	return ""
}
