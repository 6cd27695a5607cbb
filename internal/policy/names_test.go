package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

func TestNames(t *testing.T) {
	tests := map[string]struct {
		list    string
		in, out []string
	}{
		"just that":     {"example.com", []string{"example.com", "EXAMPLE.com", "example.com."}, []string{"www.example.com", "com", "xexample.com"}},
		"one label":     {"'*.example.com'", []string{"a.example.com"}, []string{"example.com", "a.b.example.com"}},
		"one or more":   {"'**.example.com'", []string{"a.example.com", "a.b.example.com"}, []string{"example.com", "aexample.com"}},
		"leading dot":   {".example.com", []string{"example.com", "a.b.example.com"}, []string{"badexample.com"}},
		"in the middle": {"'a.*.example'", []string{"a.b.example"}, []string{"a.example", "a.b.c.example"}},
		"more between":  {"'a.**.b.example'", []string{"a.x.b.example", "a.b.b.b.example"}, []string{"a.b.example", "x.a.b.example"}},
		"at the end":    {"'www.**'", []string{"www.example", "www.a.b"}, []string{"www", "a.www.b"}},
		"everything":    {"'**'", []string{"a", "a.b"}, []string{""}},
		"IDNA":          {"Bücher.example", []string{"bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example"}, []string{"bucher.example"}},
		"underscores":   {".tcp.example", []string{"_sip._tcp.tcp.example"}, []string{"_tcp.example"}},
		"addresses":     {"'[2001:DB8::1]'", []string{"2001:db8::1", "[2001:db8:0::1]"}, []string{"2001:db8::2"}},
		"exception":     {"[.example.com, '!bad.example.com']", []string{"example.com"}, []string{"bad.example.com"}},
		"exception first": {
			"['!.bad.example.com', .example.com]", []string{"a.example.com"}, []string{"a.bad.example.com"},
		},
		"only exceptions": {"'!.example.com'", []string{"example.org"}, []string{"a.example.com"}},
		"groups":          {"[group:g, c.example]", []string{"a.example", "x.b.example", "c.example"}, []string{"d.example"}},
		"group excepted":  {"[.example, '!group:g']", []string{"d.example"}, []string{"a.example", "b.example"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set := load(t, "groups: {domains: {g: [a.example, .b.example]}}\n"+rule("layer7: {domains: "+tt.list+"}")).Rules[0].Layer7.Domains
			for _, n := range tt.in {
				if !set.Match(n) || !set.MatchAny([]string{"", n}) {
					t.Errorf("%s is not in %s", n, tt.list)
				}
			}
			for _, n := range tt.out {
				if set.Match(n) || set.MatchAny([]string{n}) {
					t.Errorf("%s is in %s", n, tt.list)
				}
			}
		})
	}
}

func TestExceptionOfSeveralNamesWins(t *testing.T) {
	set := load(t, rule("layer7: {domains: [.example, '!bad.example']}")).Rules[0].Layer7.Domains
	if set.MatchAny([]string{"good.example", "bad.example"}) {
		t.Error("an exception is let in beside a good name")
	}
}

// A pattern with many wildcards takes no more than the product of the lengths.
func TestNamesInBoundedTime(t *testing.T) {
	pattern := strings.TrimSuffix(strings.Repeat("**.a.", 60), ".")
	set := load(t, rule("layer7: {domains: '"+pattern+"'}")).Rules[0].Layer7.Domains
	start := time.Now()
	set.Match(strings.Repeat("a.", 126) + "b")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestTexts(t *testing.T) {
	set := load(t, rule("layer7: {ssh: {software: ['OpenSSH_9*', 'a*b*c', exact]}}")).Rules[0].Layer7.SSH.Software
	for text, want := range map[string]bool{
		"OpenSSH_9.6": true, "OpenSSH_9": true, "OpenSSH_8": false, "abc": true, "axxbyyc": true, "acb": false, "ab": false,
		"exact": true, "EXACT": false, "": false,
	} {
		if set.Match(text) != want {
			t.Errorf("%q: %t", text, !want)
		}
	}
}

func TestPaths(t *testing.T) {
	tests := map[string]struct{ in, out []string }{
		"/v1/items":             {[]string{"/v1/items", "/v1/./items", "/v1/x/../items", "/v1/%69tems", "/v1/items?q=/"}, []string{"/v1/items/", "/v1", "/v1/ITEMS"}},
		"/v1/*":                 {[]string{"/v1/a", "/v1/"}, []string{"/v1", "/v1/a/b"}},
		"/v1/**":                {[]string{"/v1", "/v1/", "/v1/a/b"}, []string{"/v10", "/v"}},
		"/a/**/b":               {[]string{"/a/b", "/a/x/b", "/a/x/y/b"}, []string{"/a/xb", "/ab"}},
		"/static/*.css":         {[]string{"/static/a.css"}, []string{"/static/a/b.css", "/static/axcss"}},
		"**.php":                {[]string{"/a/b.php", "/x.php"}, []string{"/x.php5"}},
		"*":                     {[]string{"/", "/a/b", "*"}, nil},
		"~^/v[0-9]+/items$":     {[]string{"/v12/items"}, []string{"/v/items", "/v1/items/x"}},
		"/caf%c3%a9":            {[]string{"/café", "/caf%C3%a9"}, []string{"/cafe"}},
		"/%7Euser/../~user/a.b": {[]string{"/~user/a.b"}, nil},
	}
	for pattern, tt := range tests {
		t.Run(pattern, func(t *testing.T) {
			set := load(t, rule("layer7: {http: {paths: '"+pattern+"'}}")).Rules[0].Layer7.HTTP.Paths
			match := func(target string) bool {
				f := policy.PathFact(target)
				return f.State == policy.Known && set.Match(f.Value)
			}
			for _, target := range tt.in {
				if !match(target) {
					t.Errorf("%s does not match", target)
				}
			}
			for _, target := range tt.out {
				if match(target) {
					t.Errorf("%s matches", target)
				}
			}
		})
	}
}

func TestNormalizePath(t *testing.T) {
	tests := map[string]string{ // "" is malformed
		"/":                 "/",
		"":                  "/",
		"*":                 "*",
		"/a/b?c=../d":       "/a/b",
		"/a/./b/":           "/a/b/",
		"/a/../../b":        "/b",
		"/a/..":             "/",
		"/a/.":              "/a/",
		"/a/%2e%2E/b":       "/b",
		"/a/.hidden/..x":    "/a/.hidden/..x",
		"/%41%2d%5f%7e":     "/A-_~",
		"/a%3fb":            "/a%3Fb",
		"/a%20b":            "/a%20b",
		"/a b":              "/a%20b",
		"/a;v=1/b":          "/a;v=1/b",
		"//a//b":            "//a//b",
		"/100%25":           "/100%25",
		"/100%25/x":         "/100%25/x",
		"/\xe9":             "/%E9",
		"a/b":               "",
		"http://a.example/": "",
		"/a%2Fb":            "",
		"/a%5cb":            "",
		"/a\\b":             "",
		"/a%00b":            "",
		"/a\x00b":           "",
		"/a\nb":             "",
		"/a%252e%252e/b":    "",
		"/a%25%32%65":       "",
		"/a/..;/b":          "",
		"/a/..;x=y/b":       "",
		"/a/.%3Bx/b":        "",
		"/a/%2e%2e;/b":      "",
		"/a%":               "",
		"/a%4":              "",
		"/a%zz":             "",
		"/a%u002fb":         "",
		"/a/%c0%ae%c0%ae/b": "",
		"/a/%e0%80%ae/b":    "",
	}
	for target, want := range tests {
		got, err := policy.NormalizePath(target)
		if (err != nil) != (want == "") || got != want {
			t.Errorf("%q becomes %q, %v; want %q", target, got, err, want)
		}
	}
}
