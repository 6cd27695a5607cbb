package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 7: "7", 0.456: "0.46", 12.34: "12.3", 999.6: "1,000", 1000: "1,000", 1234567: "1,234,567",
		-1234: "-1,234", -123: "-123", math.NaN(): "–",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 2.5, 1: 4} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is not NaN")
	}
}

// TestPaired: what is added is compared within a round. Here the machine is three
// times slower in the last one.
func TestPaired(t *testing.T) {
	r := result{Unit: "ns a packet", Series: []series{
		{Subject: "base", Samples: []float64{100, 110, 300}},
		{Subject: "a", Kind: "k", Size: 5, Baseline: "base", Samples: []float64{150, 160, 450}},
		{Subject: "b", Baseline: "base", Samples: []float64{200, 210, 600}},
		{Subject: "other base", Kind: "k", Size: 5, Samples: []float64{1, 1, 1}},
	}}
	if got := median(r.added(r.find("a", "k", 5))); got != 50 {
		t.Errorf("added %v, want 50", got)
	}
	if got := r.added2("a", "k", 5, "b", "", 0); got != 0.5 {
		t.Errorf("as a part of another's %v, want 0.5", got)
	}
	r.Series[1].Samples = []float64{90, 100, 310} // less than the baseline: noise
	if got := r.added2("a", "k", 5, "b", "", 0); !math.IsNaN(got) {
		t.Errorf("a cost below nothing is %v times another", got)
	}
	if r.added(r.find("base", "", 0)) != nil {
		t.Error("a baseline has something added")
	}
}

func TestTargetOutcome(t *testing.T) {
	for _, c := range []struct {
		t    target
		want string
	}{
		{target{Value: 2, Limit: 2}, "met"},
		{target{Value: 2.1, Limit: 2}, "not met"},
		{target{Value: 1.9, Limit: 2}, "met"},
		{target{Value: 2, Limit: 2, AtLeast: true}, "met"},
		{target{Value: 1.9, Limit: 2, AtLeast: true}, "not met"},
		{target{Value: 0, Limit: 0, Absent: "not built"}, "not measured"},
	} {
		if got := c.t.outcome(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.t, got, c.want)
		}
	}
}

// sample is a report as a run may give it: a line that failed, one that was not
// asked for, and a target that is missed.
func sample() *report {
	r := &report{Lines: []result{
		{ID: firstPacketLine.id, Title: firstPacketLine.title, Unit: firstPacketLine.unit, Series: []series{
			{Subject: emptyTCX, Samples: []float64{1000, 1010, 990}},
			{Subject: weirSubject, Kind: services.name, Size: 1000, Baseline: emptyTCX, Samples: []float64{2000, 2010, 1990}},
			{Subject: weirSubject, Kind: services.name, Size: 10_000, Baseline: emptyTCX, Samples: []float64{3000, 3010, 2990}},
			{Subject: nftLinear, Kind: services.name, Size: 1000, Baseline: emptyTCX, Samples: []float64{11_000, 11_010, 10_990}},
			{Subject: nftLinear, Kind: services.name, Size: 10_000, Baseline: emptyTCX, Samples: []float64{101_000, 101_010, 100_990}},
		}},
		{ID: listLine.id, Title: listLine.title, Error: "no such program"},
	}}
	for _, l := range []line{requestsLine, connectsLine, streamLine} {
		r.Lines = append(r.Lines, result{ID: l.id, Title: l.title, Unit: l.unit, Series: []series{
			{Subject: emptyTCX, Samples: []float64{100, 100}},
			{Subject: weirSubject + " + 1,000 rules", Baseline: emptyTCX, Samples: []float64{99, 97}},
		}})
	}
	r.judge()
	return r
}

func TestJudge(t *testing.T) {
	want := map[string]string{
		"new connection at 10,000 rules in order, against linear nftables":              "not met", // 50×
		"new connection at 1,000 rules, against linear nftables":                        "met",     // 10×
		"list of 100,000 prefixes against ipset, packets of established connections":    "not measured",
		"established, added time, against nftables with conntrack and 100 rules":        "not measured",
		"TCP: requests on connections that stay, 1,000 rules, against an empty program": "met",
		"connections judged and reported, none lost, on one core, answered":             "not measured",
		"XDP, drop of a blocked connection, against xdp-filter by address":              "not measured",
	}
	for _, target := range sample().Targets {
		if outcome, ok := want[target.Claim]; ok && outcome != target.outcome() {
			t.Errorf("%v, want %s", target, outcome)
		}
		delete(want, target.Claim)
	}
	for claim := range want {
		t.Errorf("there is no target %q", claim)
	}
}

// TestPage renders from JSON, as the command does.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	s := settings{json: filepath.Join(dir, "figures.json"), docs: dir}
	if err := os.WriteFile(s.json, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := render(s); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| new connection at 10,000 rules in order, against linear nftables | ≥ 100 × faster | 50 × faster | **not met** |",
		"50 × faster, short by a factor of 2.00. Cause: of a first packet's time",
		"Could not be measured: no such program",
		"| Weir | services | 1,000 | 2,000 | 1,995 – 2,005 | +1000 | 2.00 | empty program |",
		"(performance-rules.svg)", "(performance-tcp.svg)", "make soak DURATION=20m",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, name := range []string{rulesPlot, tcpPlot} {
		plot, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(bytes.NewReader(plot))
		for err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(string(plot), "NaN") || strings.Contains(string(plot), "Inf") {
			t.Errorf("%s has what is no number", name)
		}
	}
}

// TestCauses: every target that can be missed has a cause to name.
func TestCauses(t *testing.T) {
	for _, target := range sample().Targets {
		if causes[target.Line] == "" && target.Line != dropLine.id {
			t.Errorf("line %s has no cause", target.Line)
		}
	}
}

func TestIsFlat(t *testing.T) {
	for name, c := range map[string]struct {
		mb   []float64
		flat bool
	}{
		"too few": {[]float64{1, 500}, true}, "flat": {[]float64{50, 100, 101, 100, 102, 101}, true},
		"grows at first": {[]float64{10, 60, 100, 101, 100, 101}, true}, "grows": {[]float64{100, 110, 120, 130, 140, 150}, false},
	} {
		if err := isFlat(name, c.mb); (err == nil) != c.flat {
			t.Errorf("%s: %v", name, err)
		}
	}
}
