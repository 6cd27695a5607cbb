package http

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/corpora"
)

// Recorded traffic, and what other tools make of it. The folder is not part of the
// project; without it these tests are skipped.
// elsewhere are the cases where Weir answers otherwise than gunicorn, and why.
var elsewhere = map[string]string{
	"valid/009":          "identity with a Content-Length: RFC 9112 section 6.1 has both as an attack",
	"valid/028":          "strip_header_spaces: a server's own leniency, which others have not",
	"valid/099":          "the body is shorter than its Content-Length says",
	"valid/pp_01":        "PROXY line: another protocol before HTTP",
	"valid/pp_02":        "PROXY line: another protocol before HTTP",
	"valid/pp_04":        "PROXY line: another protocol before HTTP",
	"valid/pp_05":        "PROXY line: another protocol before HTTP",
	"invalid/003c":       "a method in lower case is a token; policies compare without case",
	"invalid/010":        "a limit of its configuration: fields of 10 bytes",
	"invalid/012":        "a limit of its configuration: fields of 98 bytes",
	"invalid/013":        "a limit of its configuration: fields of 14 bytes",
	"invalid/019":        "X-Forwarded headers that contradict each other: not about where the request ends or whom it is for",
	"invalid/040":        "header_map refuse: underscores in names",
	"invalid/chunked_07": "header_map refuse: underscores in names",
}

func TestGunicorn(t *testing.T) {
	type request struct {
		Method, URI, Body string
		Version           [2]int
	}
	type testCase struct {
		Case   string
		Valid  bool
		Cfg    []string
		B64    []byte
		Expect json.RawMessage
	}
	cases := corpora.Lines[testCase](t, corpora.Path(t, "http-evasion", "gunicorn.jsonl"))
	same, other := 0, 0
	for _, c := range cases {
		t.Run(c.Case, func(t *testing.T) {
			cfg := strings.Join(c.Cfg, " ")
			config := &Config{AcceptFolding: strings.Contains(cfg, "permit_obsolete_folding")}
			if strings.Contains(string(c.Expect), "Limit") && (len(c.Cfg) == 0 || c.Case == "invalid/limit_header_default_01") {
				// Near its limits: a line of 4094 bytes, 100 headers of 8190 bytes.
				config.Limits = Limits{HeaderBytes: 4094, Headers: 100}
			}
			if strings.Contains(cfg, "'limit_request_fields', 2") {
				config.Limits.Headers = 2
			}
			if strings.Contains(c.Case, "valid/02") && len(c.B64) > 8000 {
				config.Limits.HeaderBytes = 1 << 16
			}
			messages := converse(t, config, len(c.B64) > 2000, client(string(c.B64)))
			var why Reason
			requests := 0
			for i := range messages {
				m := &messages[i]
				if m.Kind == Request {
					requests++
				}
				if why == None && m.Kind != Unanswered {
					why = m.Reason
				}
				if why != None && why.String() == "" {
					t.Errorf("reason %d has no text", why)
				}
			}
			valid := why == None && requests > 0
			if valid != c.Valid {
				if elsewhere[c.Case] == "" {
					t.Errorf("%s\n%.300q\n%s", c.Expect, c.B64, strings.Join(briefs(messages), "\n"))
				}
				other++
				return
			}
			if elsewhere[c.Case] != "" {
				t.Errorf("is as expected, though listed: %s", elsewhere[c.Case])
			}
			same++
			if !valid {
				t.Logf("%s: %v", c.Expect, why)
				return
			}
			var want request
			if json.Unmarshal(c.Expect, &want) != nil || want.Method == "" {
				return // several, or source text of its test
			}
			m := &messages[0]
			uri := m.Path
			if m.HasQuery {
				uri += "?" + m.Query
			}
			wantURI := want.URI
			if _, after, found := strings.Cut(wantURI, "://"); found {
				wantURI = after[strings.IndexByte(after, '/'):]
			}
			if want.Method == "CONNECT" {
				wantURI = ""
			}
			latin := ""
			for _, b := range []byte(uri) {
				latin += string(rune(b))
			}
			if !strings.EqualFold(m.Method, want.Method) || latin != wantURI {
				t.Errorf("%s %s, want %s %s", m.Method, uri, want.Method, wantURI)
			}
			for i := range messages {
				if e := &messages[i]; e.Kind == Ended && e.Exchange == 1 && int(e.Body) != len([]rune(want.Body)) {
					t.Errorf("a body of %d bytes, want %q", e.Body, want.Body)
				}
			}
		})
	}
	t.Logf("gunicorn: %d of %d as expected, %d otherwise for a reason", same, len(cases), other)
}
