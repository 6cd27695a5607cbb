package http

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// score counts fields that are as another tool has them.
type score struct {
	equal, all map[string]int
	// why counts what is otherwise by its explanation.
	why map[string]int
}

// explain fails the test unless it is known why a capture differs.
func (s *score) explain(t *testing.T, capture, format string, values ...any) {
	t.Helper()
	why := otherwise[capture]
	if s.why == nil {
		s.why = map[string]int{}
	}
	s.why[why]++
	report := t.Logf
	if why == "" {
		report = t.Errorf
	}
	report("%s: %s (%s)", capture, fmt.Sprintf(format, values...), why)
}

func (s *score) count(field string, same bool) bool {
	if s.all == nil {
		s.equal, s.all = map[string]int{}, map[string]int{}
	}
	s.all[field]++
	if same {
		s.equal[field]++
	}
	return same
}

func (s *score) String() string {
	var parts []string
	for field, n := range s.all {
		parts = append(parts, fmt.Sprintf("%s %d/%d", field, s.equal[field], n))
	}
	slices.Sort(parts)
	return fmt.Sprint(strings.Join(parts, ", "), "; otherwise: ", s.why)
}

func set(values ...string) []string {
	values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
	slices.Sort(values)
	return slices.Compact(values)
}

// compared is with a limit that no capture passes, and with folding, since both
// tools join what is folded.
var compared = &Config{AcceptFolding: true, Limits: Limits{HeaderBytes: 1 << 16}}

const (
	socks   = "SOCKS around it, which Weir does not know"
	tunnels = "in a tunnel or link layer that is not looked into"
	theirs  = "the other tool's choice"
	refused = "malformed on purpose: here it is not guessed"
	gaps    = "bytes that are missing"
)

// otherwise says why what a capture holds is not as the other tool has it.
var otherwise = map[string]string{
	"80211http.pcap":                      tunnels, // IEEE 802.11
	"gre-erspan-vxlan.pcap":               tunnels,
	"long-session.pcap":                   theirs, // one connection, told in parts
	"http-empty-useragent.pcap":           theirs, // no path, for want of a host
	"http2-nghttp2.pcap":                  theirs, // the preface is a method PRI
	"https-connect.pcap":                  theirs, // CONNECT has no host
	"socks-http-pass.pcap":                socks,
	"socks5-http-302-frag.pcap":           socks,
	"socks5-reverse.pcap":                 socks,
	"bug-7851-01__connect.pcap":           refused, // CONNECT /
	"bug-4702-01__input.pcap":             refused, // "GET /" without an end of line
	"bug-3844__input.pcap":                refused, // the same
	"http-not09__input.pcap":              refused, // headers behind a line without a version
	"decode-chdlc-01__hdlc-http_1tx.pcap": tunnels, // Cisco HDLC
	"bug-4810__pppoe-session-http.pcap":   tunnels, // PPPoE
	"http-gap-whole-body__input.pcap":     gaps,    // one of 14 bytes in a body of 12
	"http2-keywords2__input.pcap":         theirs,  // an upgrade to HTTP/2 makes two of a request
}

func TestArkime(t *testing.T) {
	type end struct {
		IP   string
		Port int
	}
	type session struct {
		Pcap                string
		Source, Destination end
		Protocol            []string
		HTTP                struct {
			Method, Host, Path, URI      []string
			ClientVersion, ServerVersion []string
			Statuscode                   []int
		}
	}
	var s score
	files := map[string][]*conversation{}
	taken := map[*conversation]bool{}
	for _, want := range readLines[session](t, filepath.Join(corpora, "arkime", "expected.jsonl")) {
		if !slices.Contains(want.Protocol, "http") {
			continue
		}
		if files[want.Pcap] == nil {
			files[want.Pcap] = conversations(t, filepath.Join(corpora, "arkime", "pcap", want.Pcap))
		}
		source := netip.AddrPortFrom(netip.MustParseAddr(want.Source.IP), uint16(want.Source.Port))
		destination := netip.AddrPortFrom(netip.MustParseAddr(want.Destination.IP), uint16(want.Destination.Port))
		var c *conversation
		for _, o := range files[want.Pcap] {
			if c == nil && !taken[o] && (o.client == source && o.server == destination || o.client == destination && o.server == source) {
				c = o
			}
		}
		if c == nil {
			s.explain(t, want.Pcap, "%v → %v: no such connection", source, destination)
			continue
		}
		taken[c] = true
		var methods, hosts, paths, statuses []string
		for _, x := range exchanges(c.messages(compared)) {
			methods, hosts, paths = append(methods, x.method), append(hosts, strings.ToLower(x.host)), append(paths, x.path)
			statuses = append(statuses, x.interim...)
			if x.status != 0 {
				statuses = append(statuses, fmt.Sprint(x.status))
			}
		}
		var wantHosts, wantStatuses []string
		for _, h := range want.HTTP.Host {
			h, _, _ = strings.Cut(h, ":")
			wantHosts = append(wantHosts, h)
		}
		for _, n := range want.HTTP.Statuscode {
			wantStatuses = append(wantStatuses, fmt.Sprint(n))
		}
		for _, f := range []struct {
			name      string
			got, want []string
		}{{"method", set(methods...), set(want.HTTP.Method...)}, {"host", set(hosts...), set(wantHosts...)}, {"path", set(paths...), set(want.HTTP.Path...)}, {"status", set(statuses...), set(wantStatuses...)}} {
			if !s.count(f.name, slices.Equal(f.got, f.want)) {
				s.explain(t, want.Pcap, "%v → %v %s: %q, theirs %q", source, destination, f.name, f.got, f.want)
			}
		}
	}
	t.Log("arkime:", &s)
}

func TestSuricata(t *testing.T) {
	type check struct {
		Pcap, Test string
		Count      int
		Match      map[string]any
	}
	var s score
	files := map[string][]*seen{}
	done := map[string]bool{}
	for _, c := range readLines[check](t, filepath.Join(corpora, "suricata", "l7", "expected.jsonl")) {
		key := c.Pcap + fmt.Sprint(c.Match)
		if c.Match["event_type"] != "http" || done[key] {
			continue
		}
		done[key] = true
		if files[c.Pcap] == nil {
			files[c.Pcap] = []*seen{}
			for _, o := range conversations(t, filepath.Join(corpora, "suricata", "l7", "pcap", c.Pcap)) {
				files[c.Pcap] = append(files[c.Pcap], exchanges(o.messages(compared))...)
			}
		}
		fields, others := 0, 0
		matches := map[string]func(x *seen) bool{}
		for name, v := range c.Match {
			text := fmt.Sprint(v)
			switch name {
			case "http.url":
				matches["path"] = func(x *seen) bool { return x.url == text || x.method == "CONNECT" && strings.HasPrefix(text, x.host) }
			case "http.status":
				matches["status"] = func(x *seen) bool { return fmt.Sprint(x.status) == text }
			case "http.http_method":
				matches["method"] = func(x *seen) bool { return x.method == text }
			case "http.hostname":
				matches["host"] = func(x *seen) bool { return x.host == strings.Trim(text, "[]") }
			case "http.protocol":
				matches["version"] = func(x *seen) bool { return "HTTP/"+x.version == text }
			case "http.version":
				matches["version"] = func(x *seen) bool { return x.version == text }
			case "http.http_user_agent":
				matches["user agent"] = func(x *seen) bool { return x.agent == text }
			case "http.http2.stream_id":
				matches["stream"] = func(x *seen) bool { return fmt.Sprint(x.stream) == text }
			case "event_type", "dest_ip", "dest_port", "src_ip", "src_port", "proto", "pcap_cnt", "tx_id":
				continue
			default:
				others++
				continue
			}
			fields++
		}
		if fields == 0 || c.Match["http.http2.stream_id"] == 0.0 {
			continue // of settings, bodies and the like
		}
		n := 0
		for _, x := range files[c.Pcap] {
			all := true
			for _, match := range matches {
				all = all && match(x)
			}
			if all {
				n++
			}
		}
		same := n == c.Count || others > 0 && n >= c.Count
		for name := range matches {
			s.count(name, same)
		}
		if !s.count("checks", same) {
			s.explain(t, c.Pcap, "%d records, theirs %d: %v of %d", n, c.Count, c.Match, len(files[c.Pcap]))
		}
	}
	t.Log("suricata:", &s)
}
