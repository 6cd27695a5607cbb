package datapath

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
)

// foundCases is where a failing test leaves the least sequence that shows a
// difference. TestFoundCases runs all that are there from then on.
const foundCases = "testdata/cases"

var deviceNames = [deviceCount]string{"outside", "inside", "vlan", "bridge", "loopback", "unwatched"}

// fail keeps the least of a sequence that shows a difference, and fails.
func (w *twins) fail(t *testing.T, steps []step) {
	t.Helper()
	steps = w.shorten(t, steps)
	path := filepath.Join(foundCases, fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), time.Now().UnixNano()))
	difference := w.try(t, steps)
	err := os.MkdirAll(foundCases, 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(w.write(steps)), 0o644)
	}
	if err != nil {
		t.Errorf("keep the case: %v", err)
	}
	t.Fatalf("the least that differs is kept in %s: %s\n%s", path, difference, w.describe(steps))
}

// write is the text of a case: a line for each step, of a policy its lines. Devices
// have other MAC addresses elsewhere: of a frame's destination the text says whose.
func (w *twins) write(steps []step) string {
	var b strings.Builder
	if w.agent {
		b.WriteString("agent\n")
	}
	if w.bare {
		b.WriteString("bare\n")
	}
	for _, s := range steps {
		switch s.kind {
		case aSwap:
			b.WriteString("policy\n")
			for line := range strings.Lines(w.policies[s.policy].text.String()) {
				b.WriteString("  " + line)
			}
		case aPause:
			b.WriteString("pause\n")
		case aSettlement:
			text, _ := json.Marshal(settleText{s.settle.tuple, s.settle.otherEpoch, s.settle.otherTables, s.settle.of})
			fmt.Fprintf(&b, "settle %s\n", text)
		case aSweep:
			fmt.Fprintf(&b, "sweep %d\n", s.sweep)
		case aPacket:
			way, from, to, frame := "in", "-", "-", s.frame
			if s.at.egress {
				way = "out"
			}
			if s.at.from != nowhere {
				from = deviceNames[s.at.from]
			}
			if !w.bare {
				to, frame = hex.EncodeToString(frame[:6]), frame[6:]
				if i := slices.Index(w.mac[:], [6]byte(s.frame)); i >= 0 {
					to = deviceNames[i]
				}
			}
			fmt.Fprintf(&b, "%s %s %s %s %d %x\n", way, deviceNames[s.at.at], from, to, s.gso, frame)
		}
	}
	return b.String()
}

// load reads what write wrote; lines may be comments. w has its policies then.
func (w *twins) load(t testing.TB, text string) (steps []step, err error) {
	t.Helper()
	var texts []policyText
	agent := false
	w.bare = false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		last := len(texts) - 1
		rule, isRule := strings.CutPrefix(line, "    - ")
		setting, isSetting := strings.CutPrefix(line, "  ")
		switch words := strings.Fields(line); {
		case len(words) == 0 || strings.HasPrefix(line, "#") || setting == "rules:":
		case isRule && last >= 0:
			texts[last].rules = append(texts[last].rules, rule)
		case isSetting && last >= 0:
			texts[last].settings = append(texts[last].settings, setting)
		case line == "agent":
			agent = true
		case line == "bare":
			w.bare = true
		case line == "policy":
			steps = append(steps, step{kind: aSwap, policy: len(texts)})
			texts = append(texts, policyText{})
		case line == "pause":
			steps = append(steps, step{kind: aPause})
		default:
			s, err := w.loadStep(words)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			steps = append(steps, s)
		}
	}
	w.setAgent(t, agent)
	w.policies, w.inForce, w.known = nil, -1, nil
	for _, text := range texts {
		p, err := inspect(text)
		if err != nil {
			return nil, err
		}
		w.policies = append(w.policies, p)
	}
	return steps, nil
}

// settleText is how a settlement is written, as JSON.
type settleText struct {
	Tuple       packet.Tuple
	OtherEpoch  bool
	OtherTables bool
	Of          flow.Settlement
}

func (w *twins) loadStep(words []string) (step, error) {
	if words[0] == "settle" && len(words) == 2 {
		var s settleText
		err := json.Unmarshal([]byte(words[1]), &s)
		return step{kind: aSettlement, settle: settleStep{s.Tuple, s.OtherEpoch, s.OtherTables, s.Of}}, err
	}
	if words[0] == "sweep" && len(words) == 2 {
		bits, err := strconv.Atoi(words[1])
		return step{kind: aSweep, sweep: bits}, err
	}
	if len(words) != 6 || words[0] != "in" && words[0] != "out" {
		return step{}, fmt.Errorf("no step is written so")
	}
	named := func(name string) device { return device(slices.Index(deviceNames[:], name)) } // -1 is nowhere
	s := step{kind: aPacket, at: place{at: named(words[1]), egress: words[0] == "out", from: named(words[2])}}
	gso, err := strconv.ParseUint(words[4], 10, 32)
	if err != nil {
		return s, err
	}
	s.gso = uint32(gso)
	to := ""
	if of := named(words[3]); of != nowhere {
		to = hex.EncodeToString(w.mac[of][:])
	} else if words[3] != "-" {
		to = words[3]
	}
	if s.at.at == nowhere {
		return s, fmt.Errorf("there is no device %s", words[1])
	}
	s.frame, err = hex.DecodeString(to + words[5])
	return s, err
}

// TestWrittenSteps: a sequence that is written is read as the same.
func TestWrittenSteps(t *testing.T) {
	w := newTwins(t, open(t))
	r := rand.New(rand.NewPCG(1, 2))
	w.round(t, r)
	g := &traffic{Rand: r, world: w.world}
	kinds := map[stepKind]int{}
	for range 200 {
		steps := append([]step{{kind: aSwap}}, g.sequence(true)...)
		text := w.write(steps)
		for _, s := range steps {
			kinds[s.kind]++
		}
		policies := w.policies
		again, err := w.load(t, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if got := w.write(again); got != text {
			t.Fatalf("written\n%s\nand then\n%s", text, got)
		}
		w.policies = policies
	}
	for kind := range aSettlement + 1 {
		if kinds[kind] == 0 && kind != aPause {
			t.Errorf("no step of kind %d was among them", kind)
		}
	}
}

// TestFoundCases runs the sequences that once showed a difference.
func TestFoundCases(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(foundCases, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	w := newTwins(t, open(t))
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			steps, err := w.load(t, string(text))
			if err != nil {
				t.Fatal(err)
			}
			if difference := w.try(t, steps); difference != "" {
				t.Errorf("%s\n%s", difference, w.describe(steps))
			}
			// What is written of it is read as the same.
			again, err := w.load(t, w.write(steps))
			if err != nil || w.describe(again) != w.describe(steps) {
				t.Errorf("written and read again it is another: %v", err)
			}
		})
	}
}
