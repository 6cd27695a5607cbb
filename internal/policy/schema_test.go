package policy_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/policy"
)

// beyondSchema are the problems that a schema cannot find: they lie in what a
// text means, or between two places. All else it must find, and it must not
// refuse what the loader accepts.
var beyondSchema = []*regexp.Regexp{
	regexp.MustCompile(`there is no group`),
	regexp.MustCompile(`a rule named .* is there already`),
	regexp.MustCompile(`ends before it begins`),
	regexp.MustCompile(`is not an address`),
	regexp.MustCompile(`prefix length out of range`),
	regexp.MustCompile(`has bits set beyond its prefix length`),
	regexp.MustCompile(`goes from one address family to the other`),
	regexp.MustCompile(`is wider than the IPv4 addresses it maps`),
	regexp.MustCompile(`is not a name in IDNA`),
	regexp.MustCompile(`is not a name of 1 to 253 characters`),
	regexp.MustCompile(`has a label that is not of 1 to 63 characters`),
	regexp.MustCompile(`has a wildcard (within a label|after its leading dot)`),
	regexp.MustCompile(`has the character ":"`),
	regexp.MustCompile(`is not an RE2 expression`),
	regexp.MustCompile(`requests with such a path are malformed`),
	regexp.MustCompile(`has a query or a fragment`),
	regexp.MustCompile(`the header .* is here a second time`),
	regexp.MustCompile(`is not a time`),
	regexp.MustCompile(`".*[0-9.].*" is not a duration`),
	// To JSON 1.0 is the number 1, which YAML spells in both ways.
	regexp.MustCompile(`versions.*: "1" is not known here`),
	regexp.MustCompile(`(cannot read the list file|list files cannot be read here)`),
}

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaAcceptsWhatTheLoaderAccepts(t *testing.T) {
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		doc := generator{t}.policy()
		loaded, found := loadBoth(t, schema, doc)
		if loaded != nil {
			t.Fatalf("the loader refuses a good policy: %v", loaded)
		}
		if found != nil {
			t.Fatalf("the schema refuses a good policy: %v", found)
		}
	})
}

func TestSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		var doc any = generator{t}.policy()
		for range rapid.IntRange(1, 2).Draw(t, "mutations") {
			doc = mutate(t, doc)
		}
		if doc == nil {
			t.Skip("an empty document")
		}
		loaded, found := loadBoth(t, schema, doc)
		if found != nil && loaded == nil {
			t.Fatalf("the loader accepts what the schema refuses: %v", found)
		}
		if found != nil || loaded == nil {
			return
		}
		for _, e := range loaded.(policy.Errors) {
			if !slices.ContainsFunc(beyondSchema, func(re *regexp.Regexp) bool { return re.MatchString(e.Error()) }) {
				t.Fatalf("the schema does not find: %v", e)
			}
		}
	})
}

// loadBoth gives the verdicts of the loader and of the schema.
func loadBoth(t *rapid.T, schema *jsonschema.Schema, doc any) (loaded, found error) {
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	_, _, loaded = policy.Load(policy.Document{Name: "p", Content: text})
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return loaded, schema.Validate(instance)
}

// mutate changes one place of a document.
func mutate(t *rapid.T, doc any) any {
	down := rapid.IntRange(0, 9).Draw(t, "down") > 0
	switch v := doc.(type) {
	case object:
		if len(v) > 0 && down {
			key := rapid.SampledFrom(sorted(v)).Draw(t, "key")
			switch rapid.IntRange(0, 15).Draw(t, "change") {
			case 0:
				delete(v, key)
			case 1:
				v[key+"x"] = v[key]
			default:
				v[key] = mutate(t, v[key])
			}
			return v
		}
	case list:
		if len(v) > 0 && down {
			i := rapid.IntRange(0, len(v)-1).Draw(t, "index")
			v[i] = mutate(t, v[i])
			return v
		}
	}
	return rapid.SampledFrom([]any{
		nil, true, 0, -1, 1, 6, 53, 256, 300, 65536, 1.5, "", " ", "x", "X", "!x", "!", "*", "a*b", ".*.x", "a/b", "a..b", "-",
		"00", "080", "70000", "90-80", "80-", "256", "tcp", "gre", "GRE", "allow", "block", "detect", "keep", "true",
		"10.0.0.0/33", "10.0.0.1/8", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "::ffff:0:0/90", "fe80::1%eth0", "1.2.3", "2001:db8::/32",
		"group:office", "group:trackers", "group:nope", "!group:office", "group:", "~(", "/a%2Fb", "/a?b", "v1", "0s", "1x", "40000d", "5",
		"TYPE65536", "AAA", "1.4", "2027-13-01T00:00:00Z", "2027-01-01", "SHA256:x", "echo-request", "source-quench", "packet-too-big",
		list{},
		object{},
		list{list{}},
		list{nil},
		list{"x"},
		list{0},
		object{"x": 1},
		object{"file": "x"},
		object{"file": list{}},
	}).Draw(t, "value")
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func TestSchemaOnExample(t *testing.T) {
	text, err := os.ReadFile("testdata/example/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The form in which an editor hands a YAML file to a schema.
	var doc any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(text), "2027-01-31T00:00:00Z", `"2027-01-31T00:00:00Z"`)), &doc); err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(doc); err != nil {
		t.Error(err)
	}
}
