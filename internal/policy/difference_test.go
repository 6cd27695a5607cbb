package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	const base = `
mode: detect
groups:
  addresses: {bad: [192.0.2.0/24, 198.51.100.1]}
  domains: {trackers: [a.example, "*.b.example"]}
rules:
  - {name: ssh, action: allow, layer4: {tcp: 22}}
  - {name: bad, action: block, layer3: {source: [group:bad]}}
  - {name: web, action: allow, layer7: {http: {hosts: [group:trackers], methods: [GET]}}}
  - {name: tls, action: allow, layer7: {tls: {certificate: {subject_names: [x.example]}}}}
`
	for _, c := range []struct {
		name     string
		old, new string // replaced in base, once
		want     string
	}{
		{"nothing", "", "", ""},
		{"a comment and lines", "rules:", "# rules\n\nrules:", ""},
		{"mode", "mode: detect", "mode: prevent", "mode detect → prevent"},
		{"default and more", "mode: detect", "mode: prevent\ndefault_action: allow\nreject: never\non_error: allow\nsafeguards: {dhcp: false}", "mode detect → prevent; default_action block → allow; reject outbound → never; on_error; safeguards"},
		{"added", "rules:", "rules:\n  - {name: new, action: block}", "added: new"},
		{"removed", "  - {name: ssh, action: allow, layer4: {tcp: 22}}\n", "", "removed: ssh"},
		{"renamed", "name: ssh", "name: ssh2", "added: ssh2; removed: ssh"},
		{"action and ports", "action: allow, layer4: {tcp: 22}", "action: block, layer4: {tcp: [22, 23]}", "changed: ssh (action, layer4)"},
		{"all else", "action: allow, layer4: {tcp: 22}", "action: allow, description: x, mode: detect, direction: inbound, expires: 2099-01-01T00:00:00Z, reject: true, layer3: {destination: 192.0.2.1, destination_names: [a.example]}", "changed: ssh (mode, direction, expires, reject, description, destination, destination_names, layer4)"},
		{"a group", "198.51.100.1", "198.51.100.2", "changed: bad (source)"},
		{"a group of names", "a.example", "c.example", "changed: web (layer7)"},
		{"a method", "GET", "HEAD", "changed: web (layer7)"},
		{"a certificate", "x.example", "y.example", "changed: tls (layer7)"},
		{"another protocol", "layer7: {tls: {certificate: {subject_names: [x.example]}}}", "layer7: {dns: [x.example]}", "changed: tls (layer7)"},
		{"order", "rules:\n  - {name: ssh, action: allow, layer4: {tcp: 22}}\n  - {name: bad, action: block, layer3: {source: [group:bad]}}", "rules:\n  - {name: bad, action: block, layer3: {source: [group:bad]}}\n  - {name: ssh, action: allow, layer4: {tcp: 22}}", "other order of rules"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(base, c.old) {
				t.Fatalf("%q is not in it", c.old)
			}
			before, after := loadText(t, base), loadText(t, strings.Replace(base, c.old, c.new, 1))
			if got := Compare(before, after).String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func loadText(t testing.TB, text string) *Policy {
	t.Helper()
	p, _, err := Load(Document{Name: "policy.yaml", Content: []byte(text), Now: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Thousands of rules that share a long list are compared in no time, and the text
// stays short.
func TestCompareLarge(t *testing.T) {
	var text strings.Builder
	text.WriteString("groups:\n  addresses:\n    many:\n")
	for i := range 50_000 {
		fmt.Fprintf(&text, "      - 10.%d.%d.%d\n", i>>15, i>>7&255, i<<1&255)
	}
	text.WriteString("rules:\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "  - {name: r%d, action: allow, layer3: {source: [group:many]}, layer4: {tcp: %d}}\n", i, i+1)
	}
	before := loadText(t, text.String())
	after := loadText(t, strings.ReplaceAll(text.String(), "action: allow", "action: block"))
	start := time.Now()
	d := Compare(before, after)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := d.String(); len(d.Changed) != 20_000 || len(got) > 1000 || !strings.HasSuffix(got, "and 19980 more") {
		t.Errorf("%d changed: %s", len(d.Changed), got)
	}
}
