package policy_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/policy"
)

// FuzzLoad: whatever the text, there is a policy that can be walked or a list of
// errors that can be read.
func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("testdata/example/policy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(example), "mode: detect", `{"mode": "detect", "rules": []}`, "a: &a [*a]", "!x", "*x", "- - -", "? ? ?",
		"rules: [{name: a, action: block, layer7: {http: {paths: '~(a'}}}]",
		"rules: &r [{name: a, action: block, layer3: {source: [10.0.0.1-10.9.9.9, '!::1']}}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, warnings, err := policy.Load(policy.Document{
			Name: "fuzz", Content: text,
			Open: func(name string) ([]byte, error) { return []byte(name + "\n# x\n" + name), nil },
		})
		for _, w := range warnings {
			if strings.ContainsRune(w.String(), '\n') {
				t.Fatalf("a warning of several lines: %q", w)
			}
		}
		if err != nil {
			var problems policy.Errors
			if p != nil || !errors.As(err, &problems) || len(problems) == 0 || len(problems) > 21 {
				t.Fatalf("%v with %v", err, p)
			}
			for _, e := range problems {
				if s := e.Error(); e.Found == "" || strings.ContainsRune(s, '\n') {
					t.Fatalf("an unreadable problem: %q", s)
				}
			}
			return
		}
		facts := &policy.Facts{Direction: policy.Outbound, Protocol: 6}
		if d := p.Walk(facts); d.Action == 0 && d.Wanted == 0 {
			t.Fatalf("waits for nothing: %+v", d)
		}
		facts.Application = policy.Is(policy.AppHTTP)
		facts.HTTP.Path = policy.PathFact(string(text))
		facts.HTTP.Host = policy.Is(string(text))
		p.Walk(facts)
	})
}

// FuzzNormalizePath: what is normal stays as it is.
func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{"/a/../b", "/%2e%2E/x", "/a;b/..;/c", "//a/./", "/%25", "*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, err := policy.NormalizePath(target)
		if err != nil {
			return
		}
		again, err := policy.NormalizePath(path)
		if err != nil || again != path {
			t.Fatalf("%q becomes %q becomes %q, %v", target, path, again, err)
		}
		if path != "*" && (path[0] != '/' || strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./")) {
			t.Fatalf("%q becomes %q", target, path)
		}
	})
}
