package dns_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/corpora"
)

// fieldOf is our text for a key of Suricata's records, and what kind of field it
// is; false for keys that are not compared.
var indexed = regexp.MustCompile(`^dns\.(queries|answers)\[(\d+)\]\.(rrname|rrtype|rdata|ttl)$`)

func fieldOf(s *seen, key string) (field string, value any, ok bool) {
	switch key {
	case "dns.id":
		return "id", float64(s.id), true
	case "dns.rcode":
		return "code", s.rcode, true
	case "dns.flags":
		return "flags", fmt.Sprintf("%x", s.flags), true
	case "dns.rrname":
		if s.names == nil {
			return "name", "", true
		}
		return "name", s.names[0], true
	case "dns.rrtype":
		if s.types == nil {
			return "type", "", true
		}
		return "type", s.types[0], true
	}
	parts := indexed.FindStringSubmatch(key)
	if parts == nil {
		return "", nil, false
	}
	var i int
	fmt.Sscan(parts[2], &i)
	if parts[1] == "queries" {
		list, field := s.names, "name"
		if parts[3] == "rrtype" {
			list, field = s.types, "type"
		}
		if i >= len(list) {
			return field, "", true
		}
		return field, list[i], true
	}
	if i >= len(s.answers) {
		return "answers", nil, true
	}
	switch a := s.answers[i]; parts[3] {
	case "rrname":
		value = a.name
	case "rrtype":
		value = a.kind
	case "ttl":
		value = float64(a.ttl)
	default:
		value = a.data
		if a.kind == "MX" { // without the preference
			_, value, _ = strings.Cut(a.data, " ")
		}
	}
	return "answers", value, true
}

func TestSuricata(t *testing.T) {
	folder := corpora.Path(t, "suricata", "l7")
	files := map[string][]seen{}
	total := scores{}
	classes := map[string]int{}
	for _, c := range corpora.Expected[corpora.Check](t, "suricata", "l7") {
		if c.Match["event_type"] != "dns" || c.Count == 0 {
			continue
		}
		if _, ok := files[c.Pcap]; !ok {
			files[c.Pcap] = readCapture(t, filepath.Join(folder, "pcap", c.Pcap))
		}
		messages := files[c.Pcap]
		text, number := c.Text, c.Number
		var best *seen
		var fields map[string][2]any
		most := -1
		for i := range messages {
			s := &messages[i]
			kind := text("dns.type")
			answers := kind == "response" || kind == "answer"
			ends := sameEnds(s.tuple, text("src_ip"), text("dest_ip"), number("src_port"), number("dest_port"))
			if kind == "answer" || !ends { // version 2 turns the ends round
				ends = ends || sameEnds(s.tuple.Reversed(), text("src_ip"), text("dest_ip"), number("src_port"), number("dest_port"))
			}
			if kind != "" && answers != s.answer || !ends {
				continue
			}
			if id, ok := c.Match["dns.id"].(float64); ok && uint16(id) != s.id {
				continue
			}
			equal, all := 0, map[string][2]any{}
			for key, want := range c.Match {
				_, got, ok := fieldOf(s, key)
				if ok && key != "dns.id" {
					all[key] = [2]any{want, same(got, want)}
					if same(got, want) {
						equal++
					}
				}
			}
			if equal > most {
				most, best, fields = equal, s, all
			}
		}
		if best == nil {
			class := missing(c.Pcap, c.Match)
			classes[class]++
			if class == "" {
				t.Errorf("%s (%s): no such message: %v", c.Pcap, c.Test, c.Match)
			}
			continue
		}
		classes["compared"]++
		for key, f := range fields {
			field, got, _ := fieldOf(best, key)
			class := explained[c.Pcap+" "+key]
			if f[1] != true && class != "" {
				classes[class]++
				continue
			}
			total.add(field, f[1] == true)
			if f[1] != true {
				t.Logf("%s (%s): %s is %q, they say %q", c.Pcap, c.Test, key, got, f[0])
			}
		}
	}
	t.Log(classes)
	total.check(t)
}

// explained are differences that are meant, by capture and key or field.
var explained = map[string]string{
	// Forward pointers are malformed here (and to BIND and Unbound).
	"dns__dns-forward-pointer__input.pcap dns.queries[0].rrname": "forward pointer",
	"dns__dns-forward-pointer__input.pcap dns.queries[0].rrtype": "forward pointer",
	"dns__dns-forward-pointer__input.pcap dns.queries[1].rrname": "forward pointer",
	"dns__dns-forward-pointer__input.pcap dns.queries[1].rrtype": "forward pointer",
	// They print the bytes, we the form of RFC 3597.
	"dns__v2__dns-udp-null__input.pcap dns.answers[0].rdata": "text of NULL records",
	"dns__dns-udp-null__input.pcap dns.answers[0].rdata":     "text of NULL records",
	// Arkime leaves signatures out, calls no question the root's, and has a name of
	// its own for a code.
	"cloudshark-dtls1.pcap answers": "theirs",
	"v6-http.pcap name":             "theirs",
	"dns-update.pcap code":          "theirs",
}

// missing says why a message of theirs is not ours.
func missing(file string, match map[string]any) string {
	switch {
	case strings.Contains(file, "https") || strings.Contains(file, "http2"):
		return "DNS over HTTPS"
	case strings.Contains(file, "vxlan"):
		return "encapsulated"
	case match["dns.rrname_truncated"] != nil, match["dns.queries[0].rrname_truncated"] != nil:
		return "name over 255 bytes"
	}
	return ""
}

// same compares values, addresses as such.
func same(got, want any) bool {
	if got == want {
		return true
	}
	g, _ := got.(string)
	w, _ := want.(string)
	a, err1 := netip.ParseAddr(g)
	b, err2 := netip.ParseAddr(w)
	return err1 == nil && err2 == nil && a == b
}
