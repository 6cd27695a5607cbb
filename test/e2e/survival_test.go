package e2e

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var times = flag.Int("times", 4, "how often each way of ending is gone in TestSurvival")

// otherBinary is the Collector with the programs of "another version", whose maps
// have other layouts (WEIR_OTHER_LAYOUT).
var otherBinary = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, "build") // as make build left it
	replace := map[string]string{}
	for object, other := range map[string]string{
		"connections": "other_layout.o", "look": "other_layout_look.o", "hold": "other_layout_hold.o", "xdp": "other_layout_xdp.o",
	} {
		replace[filepath.Join(root, "bpf", object+"_bpfel.o")] = filepath.Join(root, "internal/datapath/testdata", other)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file, path := filepath.Join(folder, "other-layout.json"), filepath.Join(folder, "weir-other-layout")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-overlay", file, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: "go build: " + string(out), Err: err}
	}
	return path, nil
})

// TestSurvival ends and starts the Collector in every way, under traffic: no packet
// is misjudged, no connection is cut, all is counted on.
func TestSurvival(t *testing.T) {
	for _, c := range []struct {
		name string
		// again ends the Collector and starts it, for the i-th time.
		again func(t *testing.T, w *weir, i int)
		// exact: not one packet is missing on a connection's counters, or dropped.
		exact bool
		xdp   string
	}{
		{"kill", func(t *testing.T, w *weir, _ int) { w.kill(t); w.restart(t) }, true, "generic"},
		{"restart", func(t *testing.T, w *weir, _ int) { w.stop(t); w.restart(t) }, true, "off"},
		{"reload", func(t *testing.T, w *weir, i int) { w.signal(t, unix.SIGHUP); w.awaitReady(t, i+2) }, true, "off"},
		{"upgrade", upgrade, false, "generic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if c.name == "upgrade" {
				if _, err := otherBinary(); err != nil {
					t.Fatal(err)
				}
			}
			w := start(t, l.a, config{
				policy: string(newPolicy(t, shut8080)), receiver: "on_shutdown: keep\nxdp: " + c.xdp,
				timeouts: "{tcp: 60s, tcp_closing: 2s, udp: 20s, icmp: 1s}",
			})
			if strings.Contains(w.log(), "are dropped early") != (c.xdp != "off") {
				t.Fatalf("xdp: %s, but the log says\n%s", c.xdp, tail(w.log(), 20))
			}
			w.partial = true
			f := newTraffic(t, l)
			var before, blocked int64
			for i := range *times {
				f.blocked.await(t, 50)
				c.again(t, w, i)
				packets, verdicts := int64(0), int64(0)
				awaitOr(t, func() bool {
					packets, verdicts = 0, 0
					for _, n := range w.metric(t, "weir.connection.packets") {
						packets += n
					}
					for _, n := range w.metric(t, "weir.connection.verdicts") {
						verdicts += n
					}
					return packets > before && verdicts >= blocked
				}, func() {
					t.Fatalf("after %d times %d packets and %d verdicts are counted, before it %d and %d", i+1, packets, verdicts, before, blocked)
				})
				before, blocked = packets, verdicts
			}
			f.end()
			if f.leaked.Load() > 0 {
				for _, r := range w.records(t) {
					if f.leak.is(r) || (tuple{"tcp", f.leak.destination, f.leak.source}).is(r) {
						t.Logf("what must not have been: %s %s %s %v", r.time.Format(time.StampMicro), r.event, r.body, r.attributes)
					}
				}
			}
			source, destination := f.kept.exchange(t, 10, 10)
			s := w.ended(t, f.kept.tuple) // fails where it was told under several ids
			end := s[len(s)-1]
			told := [2]int64{end.num("weir.source.packets"), end.num("weir.destination.packets")}
			missing := source.packets + destination.packets - told[0] - told[1]
			t.Logf("%s, %d times: %d packets and %d verdicts counted in all; on the kept connection %d packets, %d of them not counted",
				c.name, *times, before, blocked, source.packets+destination.packets, missing)
			if end.str("weir.verdict") != "allowed" || end.str("security_rule.name") != "other" || end.str("security_rule.version") != "1" {
				t.Errorf("the kept connection ended as %v", end.attributes)
			}
			if c.exact && (missing != 0 || f.repeated.Load() != 0) || missing < 0 || missing > 100*int64(*times) {
				t.Errorf("%d packets are missing, %d datagrams were sent again", missing, f.repeated.Load())
			}
		})
	}
}

// upgrade goes to the other version and back, by turns with notice and without.
func upgrade(t *testing.T, w *weir, i int) {
	t.Helper()
	other, err := otherBinary()
	if err != nil {
		t.Fatal(err)
	}
	if i%4 < 2 {
		w.kill(t)
	} else {
		w.stop(t)
	}
	ready := strings.Count(w.log(), readyLine)
	taken := strings.Count(w.log(), "The hooks were taken over from an earlier Weir.")
	binary := weirBinary(t)
	if i%2 == 0 {
		binary = other
	}
	w.begin(t, binary, "--config", w.file("config.yaml"))
	w.awaitReady(t, ready+1)
	if n := strings.Count(w.log(), "The hooks were taken over from an earlier Weir."); n != taken+1 {
		t.Fatalf("the maps were not carried over\n%s", tail(w.log(), 20))
	}
}
