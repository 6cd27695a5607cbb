package dns_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/idna"

	"github.com/weirnet/weir/internal/corpora"
)

func TestArkime(t *testing.T) {
	type end struct {
		IP   string
		Port int
	}
	type session struct {
		Pcap                string
		IPProtocol          int
		Source, Destination end
		Protocol            []string
		DNS                 []struct {
			QueryHost, QT, Status, Opcode string
			Answers                       []struct{ Name, Type, IP, CNAME, MX, Nameserver, HTTPS string }
			AnswersCnt                    int
		} `json:"dns"`
	}
	folder := corpora.Path(t, "arkime")
	files := map[string][]seen{}
	total := scores{}
	classes := map[string]int{}
	for _, s := range corpora.Expected[session](t, "arkime") {
		if len(s.DNS) == 0 {
			continue
		}
		if _, ok := files[s.Pcap]; !ok {
			files[s.Pcap] = readCapture(t, filepath.Join(folder, "pcap", s.Pcap))
		}
		for _, want := range s.DNS {
			name := strings.Replace(want.QueryHost, "<root>", ".", 1)
			var best *seen
			most := -1
			for i := range files[s.Pcap] {
				m := &files[s.Pcap][i]
				if !sameEnds(m.tuple, s.Source.IP, s.Destination.IP, s.Source.Port, s.Destination.Port) &&
					!sameEnds(m.tuple.Reversed(), s.Source.IP, s.Destination.IP, s.Source.Port, s.Destination.Port) {
					continue
				}
				equal := 0
				if len(m.names) > 0 && unicode(m.names[0]) == name {
					equal += 4
				}
				if len(m.types) > 0 && m.types[0] == want.QT {
					equal += 2
				}
				if m.answer == (want.Status != "") {
					equal++
				}
				if equal > most {
					most, best = equal, m
				}
			}
			if best == nil {
				// The decoder reads no tunnels.
				inner := slices.ContainsFunc(s.Protocol, func(p string) bool { return p == "gre" || p == "gtp" })
				if classes["encapsulated"]++; !inner {
					t.Errorf("%s: no message between %v and %v of %v", s.Pcap, s.Source, s.Destination, s.Protocol)
				}
				continue
			}
			classes["compared"]++
			report := func(field string, got, want any) {
				if got != want && explained[s.Pcap+" "+field] != "" {
					classes[explained[s.Pcap+" "+field]]++
					return
				}
				total.add(field, got == want)
				if got != want {
					t.Logf("%s: %s is %v, they say %v", s.Pcap, field, got, want)
				}
			}
			got := *best
			if got.names == nil {
				got.names, got.types = []string{""}, []string{""}
			}
			report("name", unicode(got.names[0]), name)
			report("type", got.types[0], want.QT)
			report("opcode", got.opcode, want.Opcode)
			if want.Status != "" {
				report("code", got.rcode, want.Status)
			}
			for _, a := range got.answers {
				found := false
				for _, b := range want.Answers {
					b.Name = strings.Replace(b.Name, "<root>", ".", 1)
					if unicode(a.name) != b.Name || a.kind != b.Type {
						continue
					}
					switch {
					case b.IP != "":
						found = found || same(a.data, b.IP)
					case b.MX != "":
						found = found || strings.HasSuffix(a.data, " "+b.MX)
					case b.HTTPS != "":
						found = found || "HTTPS "+a.data == b.HTTPS
					default:
						found = found || b.CNAME+b.Nameserver == "" || b.CNAME+b.Nameserver == unicode(a.data)
					}
				}
				report("answers", fmt.Sprint(a, found), fmt.Sprint(a, true))
			}
		}
	}
	t.Log(classes)
	total.check(t)
}

// unicode is how Arkime writes names.
func unicode(name string) string {
	if strings.Contains(name, "xn--") {
		if u, err := idna.ToUnicode(name); err == nil {
			return u
		}
	}
	return strings.ToLower(name)
}
