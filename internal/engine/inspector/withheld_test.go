package inspector_test

import (
	"strings"
	"testing"
)

// TestWithheldOverAChange: what a policy withheld is not let go by the next one, whatever
// that says of what came last: it would come with requests that it forbids as well.
func TestWithheldOverAChange(t *testing.T) {
	const (
		allows = "mode: prevent\nrules: [{name: reads, action: allow, layer7: {http: {paths: /ok/**}}}, {name: names, action: allow, layer7: {dns: .ok.example}}]\n"
		blocks = "mode: prevent\ndefault_action: allow\nrules: [{name: no-reads, action: block, layer7: {http: {paths: /no/**}}}, {name: no-names, action: block, layer7: {dns: .no.example}}]\n"
		all    = "mode: prevent\ndefault_action: allow\nrules: [{name: no-shell, action: block, layer7: {ssh: {}}}]\n"
	)
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a.example\r\n\r\n" }
	ask := func(name string) string {
		var b strings.Builder
		for label := range strings.SplitSeq(name, ".") {
			b.WriteString(string(rune(len(label))) + label)
		}
		query := "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b.String() + "\x00\x00\x01\x00\x01"
		return "\x00" + string(rune(len(query))) + query
	}
	for name, c := range map[string]struct {
		port         uint16
		said, answer string
	}{
		"behind one that has its answer": {80, get("/no/a") + get("/ok/b"), ""},
		"behind one that waits for it":   {80, get("/ok/a") + get("/no/b") + get("/ok/c"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"a query":                        {53, ask("a.no.example") + ask("b.ok.example"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, answered := range []bool{false, true} {
				w := newWorld(t, allows, nil)
				k := w.open(c.port).client(c.said)
				if answered {
					k.server(c.answer)
				}
				w.expect("the verdict", k.verdict(), "block default")
				w.apply(blocks)
				if got := k.verdict(); !strings.HasPrefix(got, "block ") {
					t.Errorf("the verdict by a policy that forbids it, too, is %q", got)
				}
				w.apply(all)
				w.expect("the verdict by one that allows it", k.verdict(), "block kept")
			}
		})
	}
}
