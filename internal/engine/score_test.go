package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// claim is what another tool says of one request, handshake or query. What it does
// not say is empty.
type claim struct {
	pcap, what                  string
	kind                        telemetry.Kind
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	fields                      map[string]string
	// times it is said.
	times int
}

// outcome is how often a field compares in which way. What is explained is of a class
// of docs/inspection.md.
type outcome struct{ found, wrong, missed, explained int }

// score counts by field, and by class what is explained.
type score struct {
	t       *testing.T
	fields  map[string]*outcome
	classes map[string]int
	files   map[string][]telemetry.Exchange
}

func newScore(t *testing.T) *score {
	return &score{t: t, fields: map[string]*outcome{}, classes: map[string]int{}, files: map[string][]telemetry.Exchange{}}
}

// said replays a capture, and returns the records of what was said in it.
func (s *score) said(path string) []telemetry.Exchange {
	if known, ok := s.files[path]; ok {
		return known
	}
	r := replayWith(s.t, zap.NewNop(), path, "", func(c *ReplayConfig) {
		c.MaxEntries = 1 << 16
		c.Inspect = InspectConfig{Report: reportAll.Report}
	})
	s.files[path] = r.told.said
	return r.told.said
}

// between says whether the ends of a claim are those of a connection, in either
// direction: who began a connection of which the beginning is missing is a guess.
func (c *claim) between(t *packet.Tuple) bool {
	is := func(a netip.Addr, p uint16, b netip.Addr, q uint16) bool {
		return (!c.source.IsValid() || c.source == a) && (c.sourcePort == 0 || c.sourcePort == p) &&
			(!c.destination.IsValid() || c.destination == b) && (c.destinationPort == 0 || c.destinationPort == q)
	}
	return is(t.Source, t.SourcePort, t.Destination, t.DestinationPort) || is(t.Destination, t.DestinationPort, t.Source, t.SourcePort)
}

// judge compares a claim with what a replay says.
func (s *score) judge(folder string, c *claim) {
	said := s.said(filepath.Join(folder, "pcap", c.pcap))
	taken := map[int]bool{}
	for range max(c.times, 1) {
		best, hits := -1, -1
		for i := range said {
			e := &said[i]
			if taken[i] || e.Kind != c.kind || !c.between(&e.Connection.Tuple) {
				continue
			}
			n := 0
			for field, want := range c.fields {
				if sameValue(field, valueOf(e, field), want) {
					n++
				}
			}
			if n > hits {
				best, hits = i, n
			}
		}
		taken[best] = true
		for field, want := range c.fields {
			if s.fields[field] == nil {
				s.fields[field] = &outcome{}
			}
			n := s.fields[field]
			got := ""
			if best >= 0 {
				got = valueOf(&said[best], field)
			}
			class := ""
			if !sameValue(field, got, want) {
				class = classOf(c, field, got)
			}
			switch {
			case sameValue(field, got, want):
				n.found++
				continue
			case class != "":
				n.explained++
				s.classes[class]++
				continue
			case got == "":
				n.missed++
			default:
				n.wrong++
			}
			s.t.Errorf("%s (%s) %v:%d %v:%d: %s is %q, they say %q", c.pcap, c.what, c.source, c.sourcePort,
				c.destination, c.destinationPort, field, got, want)
		}
	}
}

// valueOf is a field of a record as text; "" where it was not seen.
func valueOf(e *telemetry.Exchange, field string) string {
	switch field {
	case "http method":
		return e.HTTP.Method
	case "http host":
		return e.HTTP.Host
	case "http path":
		if e.HTTP.Method == "CONNECT" {
			return fmt.Sprintf("%s:%d", e.HTTP.Host, e.HTTP.Port)
		}
		if e.HTTP.HasQuery {
			return e.HTTP.Path + "?" + e.HTTP.Query
		}
		return e.HTTP.Path
	case "http status":
		if e.HTTP.Status == 0 {
			return ""
		}
		return strconv.Itoa(int(e.HTTP.Status))
	case "http version":
		return e.Version
	case "tls server name", "quic server name":
		return e.TLS.ServerName
	case "tls version":
		return e.TLS.Version
	case "tls subject":
		return e.TLS.Subject
	case "tls issuer":
		return e.TLS.Issuer
	case "tls not before", "tls not after":
		at := e.TLS.NotBefore
		if field == "tls not after" {
			at = e.TLS.NotAfter
		}
		if e.TLS.Subject == "" && at.IsZero() {
			return ""
		}
		return at.Format("2006-01-02T15:04:05")
	case "tls ja3", "quic ja3":
		return e.TLS.JA3
	case "dns name":
		return e.DNS.Name
	case "dns type":
		return e.DNS.Type
	case "dns code":
		return e.DNS.ResponseCode
	case "dns answers":
		return strings.Join(e.DNS.Answers, "\n")
	case "ssh either":
		return e.SSH.ClientSoftware + "\n" + e.SSH.ServerSoftware
	case "ssh client":
		return e.SSH.ClientSoftware
	case "ssh server":
		return e.SSH.ServerSoftware
	}
	panic(field)
}

// sameValue compares a value with that of another tool, which writes it otherwise.
func sameValue(field, got, want string) bool {
	switch field {
	case "dns answers":
		if all, ok := strings.CutPrefix(want, "among\n"); ok { // the sections of a message are not told apart
			return !slices.ContainsFunc(strings.Split(got, "\n"), func(one string) bool {
				return one != "" && !slices.ContainsFunc(strings.Split(all, "\n"), func(w string) bool { return sameAnswer(one, w) })
			})
		}
		return slices.ContainsFunc(strings.Split(got, "\n"), func(one string) bool { return sameAnswer(one, want) })
	case "ssh either":
		return slices.ContainsFunc(strings.Split(got, "\n"), func(one string) bool { return strings.EqualFold(one, want) })
	case "http host", "dns name":
		want = strings.Trim(want, "[]")
		return strings.EqualFold(got, want) || unicodeName(got) == strings.ToLower(want)
	case "http path":
		path, _, _ := strings.Cut(got, "?") // Arkime's is without the query
		return got == want || path == want
	case "dns code":
		return got == want || got == "NOTIMP" && want == "NOTIMPL"
	case "tls subject", "tls issuer":
		return sameName(got, want)
	}
	return got == want
}

func sameAnswer(got, want string) bool {
	a, err1 := netip.ParseAddr(got)
	b, err2 := netip.ParseAddr(want)
	if err1 == nil && err2 == nil {
		return a == b
	}
	if _, host, ok := strings.Cut(got, " "); ok && host == want {
		return true // MX without the preference
	}
	// Suricata has an answer for each string of a TXT record.
	got = strings.ReplaceAll(got, `"`, "")
	return got == want || unicodeName(got) == want || slices.Contains(strings.Split(got, " "), want)
}

// report prints the table of docs/inspection.md.
func (s *score) report() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "field\tfound\twrong\tmissed\texplained\t% of all\t% of the rest\t")
	var sum outcome
	line := func(field string, n *outcome) {
		rest := n.found + n.wrong + n.missed
		all := rest + n.explained
		percent := func(of int) float64 { return 100 * float64(n.found) / float64(max(of, 1)) }
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t\n", field, n.found, n.wrong, n.missed, n.explained, percent(all), percent(rest))
		if percent(rest) < 99 {
			s.t.Errorf("%s: less than 99 %% are found", field)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(s.fields)) {
		n := s.fields[field]
		sum.found, sum.wrong, sum.missed, sum.explained = sum.found+n.found, sum.wrong+n.wrong, sum.missed+n.missed, sum.explained+n.explained
		line(field, n)
	}
	line("all", &sum)
	w.Flush()
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		fmt.Fprintf(&b, "%4d %s\n", s.classes[class], class)
		if s.classes[class] > classes[class] {
			s.t.Errorf("%d differences are of the class %q, not %d", s.classes[class], class, classes[class])
		}
	}
	s.t.Logf("%d captures\n%s", len(s.files), b.String())
}

// What the replay engine tells of recorded traffic, beside what other tools tell of it.
// It takes half a second.
func TestScore(t *testing.T) {
	s := newScore(t)
	for _, tool := range []struct {
		folder string
		claims []claim
	}{
		{corpora.Path(t, "suricata", "l7"), suricataClaims(t)},
		{corpora.Path(t, "arkime"), arkimeClaims(t)},
		{corpora.Path(t, "ipfixprobe"), ipfixprobeClaims(t)},
	} {
		for i := range tool.claims {
			s.judge(tool.folder, &tool.claims[i])
		}
	}
	s.report()
	s.documented()
}

// documented compares the table of docs/inspection.md with what was counted.
func (s *score) documented() {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "inspection.md"))
	if err != nil {
		s.t.Fatal(err)
	}
	for class, n := range classes {
		if !strings.Contains(string(text), fmt.Sprintf("\n| %s | %d |", class, n)) {
			s.t.Errorf("docs/inspection.md does not say that %d values are of the class %q", n, class)
		}
	}
	var all outcome
	for _, n := range s.fields {
		all.found += n.found
		all.explained += n.explained
	}
	if want := fmt.Sprintf("| **all** | **%d** | **0** | **0** | **%d** |", all.found, all.explained); !strings.Contains(string(text), want) {
		s.t.Errorf("docs/inspection.md has not the line %s", want)
	}
}
