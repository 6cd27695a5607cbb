package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/packet"
)

// TestReturn: tables that were not confirmed give way to the earlier ones at their
// time, for new connections and old ones, without user space.
func TestReturn(t *testing.T) {
	d := open(t)
	compile := func(text string) *classifier.Tables {
		tables, err := classifier.Compile(load(t, text), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return tables
	}
	put := func(generation uint64, text string, back *Return) uint32 {
		t.Helper()
		number, err := d.Swap(compile(text), generation, back, nil)
		if err != nil {
			t.Fatal(err)
		}
		return number
	}
	const blocks, allows = "mode: prevent\nreject: never\nrules: [{name: b, action: block, layer4: udp}]", "mode: prevent\nrules: [{name: a, action: allow, layer4: udp}]"
	packets := uint16(0)
	// differs says how packets of an old connection and of a new one are not answered
	// and judged so.
	differs := func(by, want uint32) string {
		t.Helper()
		packets++
		for _, port := range []uint16{1, 1000 + packets} {
			tp := packet.Tuple{Source: address("10.0.0.1"), Destination: address("10.0.0.2"), Protocol: packet.UDP, SourcePort: port, DestinationPort: 53}
			if got := run(t, d.objects.Ingress, frame(tp)); got != want {
				return fmt.Sprintf("port %d: answer %d, want %d", port, int32(got), int32(want))
			}
			if got := entry(t, d, tp).Tables; got != by {
				return fmt.Sprintf("port %d: judged by %d, want %d", port, got, by)
			}
		}
		return ""
	}
	expect := func(what string, by, want uint32) {
		t.Helper()
		if difference := differs(by, want); difference != "" {
			t.Errorf("%s: %s", what, difference)
		}
	}
	// before does what must come before a change returns, again with more time where
	// the machine was too slow for it.
	before := func(within time.Duration, do func(time.Duration) string) {
		t.Helper()
		for ; ; within *= 2 {
			began := time.Now()
			difference := do(within)
			if late := time.Since(began) >= within; late && within < time.Minute {
				continue
			}
			if difference != "" {
				t.Error(difference)
			}
			time.Sleep(within + 100*time.Millisecond)
			return
		}
	}
	first := put(1, allows, nil)
	expect("first", first, pass)

	before(300*time.Millisecond, func(within time.Duration) string {
		second := put(2, blocks, &Return{Tables: first, Within: within})
		if difference := differs(second, drop); difference != "" {
			return "unconfirmed: " + difference
		}
		third := put(3, "mode: prevent\nreject: never\nrules: []\ndefault_action: block", &Return{Tables: first, Within: within})
		if third == second || !d.Held(first) {
			return fmt.Sprintf("tables %d, %d, %d: the first are not held", first, second, third)
		}
		if difference := differs(third, drop); difference != "" {
			return "another unconfirmed: " + difference
		}
		return ""
	})
	expect("returned", first, pass)

	// The next ones are filled beside those that the kernel has returned to, and
	// beside those that it is to return to.
	put(35, blocks, nil)
	if !d.Held(first) {
		t.Fatal("the tables that were in force gave way to the next before those were")
	}
	first = put(36, allows, nil)
	put(37, blocks, &Return{Tables: first, Within: time.Hour})
	put(38, blocks, &Return{Tables: first, Within: time.Hour})
	between := put(39, blocks, nil)
	if !d.Held(first) {
		t.Fatal("the tables to return to gave way to the next before those were in force")
	}
	expect("confirmed by another", between, drop)
	first = put(40, allows, nil)
	put(41, blocks, &Return{Tables: between, Within: time.Hour})
	if _, err := d.Swap(compile(blocks), 42, &Return{Tables: first, Within: time.Hour}, nil); err == nil {
		t.Error("all three tables are in use, and a fourth was placed")
	}
	first = put(43, allows, nil)
	expect("allowed again", first, pass)

	var fourth uint32
	before(100*time.Millisecond, func(within time.Duration) string {
		fourth = put(4, blocks, &Return{Tables: first, Within: within})
		if err := d.Stay(); err != nil {
			return err.Error()
		}
		return ""
	})
	expect("confirmed", fourth, drop)

	if _, err := d.Swap(compile(allows), 5, &Return{Tables: 999 << slotBits, Within: time.Second}, nil); err == nil {
		t.Error("a return to tables that nobody has is accepted")
	}

	// A process that comes after the time finds what is in force.
	put(6, allows, &Return{Tables: fourth, Within: 50 * time.Millisecond})
	time.Sleep(100 * time.Millisecond)
	if err := d.readSlots(); err != nil {
		t.Fatal(err)
	}
	if d.tables != fourth || d.back != 0 {
		t.Errorf("in force %d, to return to %d; want %d, none", d.tables, d.back, fourth)
	}
	expect("taken over", fourth, drop)
}

// TestExpiry: a rule stops matching at its time, for connections that it decided,
// too, without user space.
func TestExpiry(t *testing.T) {
	d := open(t)
	at := time.Now().Add(4 * time.Second)
	swap(t, d, load(t, "mode: prevent\nreject: never\nrules: [{name: temporary, action: allow, layer4: udp, expires: "+at.UTC().Format(time.RFC3339)+"}]"))
	at = at.Truncate(time.Second)
	tp := packet.Tuple{Source: address("10.0.0.1"), Destination: address("10.0.0.2"), Protocol: packet.UDP, SourcePort: 1, DestinationPort: 53}
	if got := run(t, d.objects.Ingress, frame(tp)); got != pass {
		t.Fatalf("before: %d", int32(got))
	}
	time.Sleep(time.Until(at) + 50*time.Millisecond)
	if got := run(t, d.objects.Ingress, frame(tp)); got != drop {
		t.Errorf("after: %d", int32(got))
	}
	if f := entry(t, d, tp); f.Rule != NoRule || f.End != 5 {
		t.Errorf("rule %d, end %d; want none, policy", int32(f.Rule), f.End)
	}
	tp.SourcePort = 2
	if got := run(t, d.objects.Ingress, frame(tp)); got != drop {
		t.Errorf("a new connection: %d", int32(got))
	}
}
