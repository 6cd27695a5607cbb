package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what a run gives; the page is made from it.
type report struct {
	Date      time.Time `json:"date"`
	Full      bool      `json:"full"`
	Machine   machine   `json:"machine"`
	LoadAfter string    `json:"load_after"`
	Missing   []missing `json:"missing,omitempty"`
	Lines     []result  `json:"lines"`
	Targets   []target  `json:"targets"`
}

// missing is what could not be measured.
type missing struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// result is what a line gives.
type result struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Unit    string   `json:"unit"`
	About   string   `json:"about"`
	Series  []series `json:"series,omitempty"`
	Facts   []fact   `json:"facts,omitempty"`
	Error   string   `json:"error,omitempty"`
	Seconds float64  `json:"seconds"`
}

// series is one subject's samples, one of each round.
type series struct {
	Subject string `json:"subject"`
	Kind    string `json:"kind,omitempty"` // of rules
	Size    int    `json:"size,omitempty"` // rules or prefixes
	// Baseline is the subject, of the same kind and size or of none, whose sample of
	// the same round these are compared with; of rates, the ratio counts, of times
	// the difference.
	Baseline string    `json:"baseline,omitempty"`
	Samples  []float64 `json:"samples"`
}

// fact is one number that is no series.
type fact struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func (r *result) fact(name string, value float64, unit string) {
	r.Facts = append(r.Facts, fact{name, value, unit})
}

func (r *result) value(name string) float64 {
	for _, f := range r.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return math.NaN()
}

// find gives a series, nil where there is none.
func (r *result) find(subject, kind string, size int) *series {
	for i := range r.Series {
		if s := &r.Series[i]; s.Subject == subject && s.Kind == kind && s.Size == size {
			return s
		}
	}
	return nil
}

// baseline is that of a series, of its kind and size where there is one.
func (r *result) baseline(s *series) *series {
	if s == nil || s.Baseline == "" {
		return nil
	}
	for _, b := range []*series{r.find(s.Baseline, s.Kind, s.Size), r.find(s.Baseline, "", 0)} {
		if b != nil {
			return b
		}
	}
	return nil
}

// added is what a series has more than its baseline, round by round.
func (r *result) added(s *series) []float64 {
	return r.compare(s, func(a, b float64) float64 { return a - b })
}

// ratio is the same as a ratio.
func (r *result) ratio(s *series) []float64 {
	return r.compare(s, func(a, b float64) float64 { return a / b })
}

func (r *result) compare(s *series, f func(a, b float64) float64) []float64 {
	b := r.baseline(s)
	if b == nil {
		return nil
	}
	return pairwise(s.Samples, b.Samples, f)
}

func pairwise(a, b []float64, f func(a, b float64) float64) (out []float64) {
	for i := range min(len(a), len(b)) {
		out = append(out, f(a[i], b[i]))
	}
	return out
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile interpolates; NaN without values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	at := q * float64(len(s)-1)
	low := int(at)
	high := min(low+1, len(s)-1)
	return s[low] + (s[high]-s[low])*(at-float64(low))
}

// isRate says whether more is better.
func (r *result) isRate() bool { return strings.HasSuffix(r.Unit, "/s") }

func (r *result) print(to io.Writer) {
	if r.Error != "" {
		fmt.Fprintf(to, "  FAILED: %s\n", r.Error)
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, row := range r.rows() {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	w.Flush()
	for _, f := range r.Facts {
		fmt.Fprintf(to, "  %s: %s\n", f.Name, strings.TrimSpace(number(f.Value)+" "+f.Unit))
	}
	fmt.Fprintf(to, "  (%.0f s)\n", r.Seconds)
}

// rows are the table of a line's series, its head first; columns that are empty in
// all rows are left out.
func (r *result) rows() [][]string {
	if len(r.Series) == 0 {
		return nil
	}
	rows := [][]string{{"subject", "rules are", "size", r.Unit, "quartiles", "added", "× baseline", "baseline"}}
	for i := range r.Series {
		s := &r.Series[i]
		row := []string{
			s.Subject, s.Kind, "", number(median(s.Samples)),
			number(quantile(s.Samples, 0.25)) + " – " + number(quantile(s.Samples, 0.75)), "", "", s.Baseline,
		}
		if s.Size > 0 {
			row[2] = number(float64(s.Size))
		}
		if r.baseline(s) != nil {
			if !r.isRate() {
				row[5] = fmt.Sprintf("%+.0f", median(r.added(s)))
			}
			row[6] = fmt.Sprintf("%.2f", median(r.ratio(s)))
		}
		rows = append(rows, row)
	}
	for c := len(rows[0]) - 1; c >= 0; c-- {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[c] != "" }) {
			for i := range rows {
				rows[i] = slices.Delete(rows[i], c, c+1)
			}
		}
	}
	return rows
}

// number is a value with three or more digits that count, and commas.
func number(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	digits := 0
	switch a := math.Abs(v); {
	case a == math.Trunc(a) || a >= 100:
	case a >= 10:
		digits = 1
	default:
		digits = 2
	}
	text := fmt.Sprintf("%.*f", digits, v)
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
