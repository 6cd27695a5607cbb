package policy

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// ComparePlain reads a text both ways. The plain reader may give up, but what it
// reads must be what yaml.v3 reads, to the column.
func ComparePlain(text string) (taken bool, difference string) {
	if checkText([]byte(text), MaxPolicySize, "a text") != nil || strings.HasPrefix(text, "\ufeff") {
		return false, ""
	}
	t, _ := readPlain(text)
	if t == nil {
		return false, ""
	}
	root, second, err := parseYAML([]byte(text))
	switch {
	case err != nil:
		return true, "yaml.v3 refuses it: " + err.Error()
	case root == nil || second != nil:
		return true, "yaml.v3 finds no or two documents"
	}
	return true, compareNodes("", t.whole(), root.Content[0])
}

// whole is the tree with its rules in place.
func (t *tree) whole() *yaml.Node {
	if t.rules == nil {
		return t.root
	}
	var clone func(n *yaml.Node) *yaml.Node
	clone = func(n *yaml.Node) *yaml.Node {
		c := *n
		c.Content = nil
		for _, child := range n.Content {
			c.Content = append(c.Content, clone(child))
		}
		return &c
	}
	items := 0
	for range t.items {
		items++
		break // what was begun can be begun again
	}
	t.rules.Content = nil
	for item := range t.items {
		t.rules.Content = append(t.rules.Content, clone(item))
	}
	if len(t.rules.Content) != t.count || items != min(1, t.count) {
		panic(fmt.Sprintf("%d rules, counted %d", len(t.rules.Content), t.count))
	}
	return t.root
}

// compareNodes says where two trees differ in what the loader looks at.
func compareNodes(path string, got, want *yaml.Node) string {
	if got.Kind != want.Kind || got.Value != want.Value || got.Line != want.Line || got.Column != want.Column ||
		tagSeen(got) != tagSeen(want) || len(got.Content) != len(want.Content) || want.Anchor != "" || want.Alias != nil {
		return fmt.Sprintf("%s: %d %s %q %d:%d with %d children, want %d %s %q %d:%d with %d", path,
			got.Kind, tagSeen(got), got.Value, got.Line, got.Column, len(got.Content),
			want.Kind, tagSeen(want), want.Value, want.Line, want.Column, len(want.Content))
	}
	for i := range got.Content {
		if d := compareNodes(fmt.Sprintf("%s/%d", path, i), got.Content[i], want.Content[i]); d != "" {
			return d
		}
	}
	return ""
}

// tagSeen is the tag as far as the loader tells tags apart.
func tagSeen(n *yaml.Node) string {
	switch tag := n.ShortTag(); tag {
	case "!!int", "!!float", "!!timestamp":
		return "!!str"
	default:
		return tag
	}
}

func TestPlainReader(t *testing.T) {
	tests := map[string]struct {
		text string
		// taken: the plain reader reads it.
		taken bool
	}{
		"block":                     {"mode: detect\nrules:\n  - name: a\n    action: allow\n", true},
		"list without indentation":  {"rules:\n- name: a\n  layer4:\n    tcp:\n    - 80\n    - 443\nmode: detect", true},
		"flow":                      {"rules: [{name: a, action: allow, layer4: {tcp: [80, 443]}}]", true},
		"flow in lines":             {"rules:\n  - {name: a,\n     layer4: {tcp: [80, # web\n       443,\n     ]}}\n  -\n    [a, b]\n", true},
		"flow below its key":        {"rules:\n  [\n    {name: a},\n    {name: b},\n  ]\nmode: detect\n", true},
		"JSON within":               {"rules:\n  - {\"name\":\"a\", \"x\" : [1,2]}\n", true},
		"comments":                  {"# a\n\n---\n# b\nmode: detect # c\n\n  # d\nrules: # e\n# f\n  # g\n  - # h\n    name: a#b # i\n\n# j", true},
		"nothing":                   {"mode:\nrules:\n  -\n  - \n  - a:\n    b:\n  - ~\nx: null", true},
		"rules twice":               {"rules: [a]\nrules:\n  - b\n", true},
		"rules as a text":           {"rules: x\nmode: y", true},
		"rules as a mapping":        {"rules:\n  rules:\n    - a", true},
		"quotes":                    {`a: "x \"y\" \\ z"` + "\nb: 'it''s'\n\"c d\": '# no: comment'\n'': \"\"\n", true},
		"colons":                    {"a: ::/0\nb: 2001:db8::1\nc: [2001:db8::, 10.0.0.0/8]\nd: a:b:c\n::1: e\nf : g", true},
		"other characters":          {"bücher: straße # ü\nx: [ä, ö]\n\"ü\": {ü: ü}\n", true},
		"lists in lists":            {"a:\n- - b\n  - c\n-   - d\n- e: f\n  g: h\n-   i: j\n    k: l\n", true},
		"truth values":              {"a: true\nb: False\nc: yes\nd: 1.0\ne: 2027-01-31T00:00:00Z\nf: 0x1\n<<: {}\n", true},
		"below the key":             {"a:\n  b\nc:\n  'd'\n", true},
		"marks within":              {"a: b?c-d|e>f&g*h!i%j@k`l\ne: [b-c, -1, a:]\nf: --x", true},
		"indented":                  {"  a: b\n  rules:\n  - c\n", true},
		"windows":                   {"a: b\r\nc: d\r\n", false},
		"tab":                       {"a:\tb", false},
		"anchor":                    {"a: &x b", false},
		"alias":                     {"a: &x b\nc: *x", false},
		"tag":                       {"a: !x b", false},
		"literal":                   {"a: |\n  b\n  c\n", false},
		"folded":                    {"a: >-\n  b\n", false},
		"two lines":                 {"a: b\n  c\nd: e", false},
		"two lines after a comment": {"a: b # x\n  c", false},
		"two lines in quotes":       {"a: 'b\n  c'", false},
		"two lines in a flow":       {"a: [b\n  c]", false},
		"complex key":               {"? a\n: b", false},
		"pair in a flow":            {"a: [b: c]", false},
		"flow as a key":             {"[a]: b", false},
		"directive":                 {"%YAML 1.2\n---\na: b", false},
		"second document":           {"a: b\n---\nc: d", false},
		"end of the document":       {"a: b\n...\n", false},
		"mark in a flow":            {"a: [\n---\n]", false},
		"value after a value":       {"a: b: c", false},
		"list after a key":          {"a: - b", false},
		"list on the line of rules": {"rules: - b", false},
		"list further out":          {"  rules:\n- b", false},
		"odd indentation":           {"a:\n    b: c\n  d: e", false},
		"list after a mapping":      {"a: b\n- c", false},
		"no colon":                  {"a: b\nc", false},
		"unclosed":                  {"a: [b, c", false},
		"unclosed quotes":           {"a: \"b", false},
		"text after a flow":         {"a: [b] c", false},
		"comment without a blank":   {"a: [b]#c", false},
		"comma first":               {"a: [, b]", false},
		"two commas":                {"a: [b,, c]", false},
		"scalar":                    {"a", false},
		"list":                      {"- a", false},
		"deep":                      {"a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), false},
		"long key":                  {strings.Repeat("a", 1020) + ": b", false},
		"control":                   {"a: \u0080", false},
		"line separator":            {"a: b\u2028c: d", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			taken, difference := ComparePlain(tt.text)
			if taken != tt.taken || difference != "" {
				t.Errorf("taken %t, %s", taken, difference)
			}
		})
	}
}

// plainPieces are what random texts are made of.
var plainPieces = []string{
	"a", "b c", "rules", "rules:\n", "rules: [", "name: ", "- ", "-", ": ", ":", ", ", ",", "[", "]", "{", "}", "{a: b}", "[a, b]",
	"\n", "\n", "\n  ", "\n    ", "\n- ", "\n  - ", "\nk: ", "\n  k: ", " ", "  ", "#", " # c", "\n# c", "'", "\"", "'q'", "\"q\"", "\\", "\\n",
	"~", "null", "true", "1.0", "::1", "?", "!", "*", "&", "|", ">", "---", "\n---\n", "...", "<<", "ü", "\t", "\r", "%", "@",
}

func TestPlainReaderOnRandomTexts(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		text := "a: b\n"
		for range 40 {
			piece := strings.Join(rapid.SliceOfN(rapid.SampledFrom(plainPieces), 1, 12).Draw(t, "pieces"), "")
			for _, whole := range []string{piece, "rules:\n- " + piece, "x: " + piece, text + piece} {
				if ok, difference := ComparePlain(whole); difference != "" {
					t.Fatalf("%q: %s", whole, difference)
				} else if ok {
					taken++
					text = whole
				}
			}
		}
	})
	if taken < 1000 {
		t.Errorf("only %d texts were read by the plain reader", taken)
	}
}

func FuzzPlainReader(f *testing.F) {
	for _, seed := range []string{
		"mode: detect\nrules:\n  - name: a # x\n    layer3: {source: [10.0.0.0/8, '!::1']}\n", "rules: [{a: b}]",
		"---\na:\n- b: \"c\\\"\"\n  d:\n  - [e]\n", "a: b\n c", "? a", "a: |\n x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, difference := ComparePlain(text); difference != "" {
			t.Fatal(difference)
		}
	})
}
