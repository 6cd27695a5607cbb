package policy

import (
	"bytes"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// goldJSON makes nodes of the tokens of encoding/json: simple, and slow.
type goldJSON struct {
	dec      *json.Decoder
	content  []byte
	newlines []int
}

func (r *goldJSON) value() *yaml.Node {
	i := int(r.dec.InputOffset())
	for i < len(r.content) && bytes.IndexByte([]byte(" \t\r\n,:"), r.content[i]) >= 0 {
		i++
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: 1, Column: i + 1}
	if before := sort.SearchInts(r.newlines, i); before > 0 {
		n.Line, n.Column = before+1, i-r.newlines[before-1]
	}
	token, _ := r.dec.Token()
	switch t := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.dec.More() {
			n.Content = append(n.Content, r.value())
		}
		_, _ = r.dec.Token()
	case string:
		n.Tag, n.Value = "!!str", t
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	default:
		n.Tag = "!!null"
	}
	return n
}

// CompareJSON reads a valid text both ways.
func CompareJSON(text string) (difference string) {
	gold := &goldJSON{dec: json.NewDecoder(strings.NewReader(text)), content: []byte(text)}
	gold.dec.UseNumber()
	for i := range len(text) {
		if text[i] == '\n' {
			gold.newlines = append(gold.newlines, i)
		}
	}
	t, err := readJSON(text)
	if err != nil {
		return err.Error()
	}
	return compareNodes("", t.whole(), gold.value())
}

var jsonTexts = []string{
	`{}`, `{"mode": "detect", "rules": []}`, "{\"rules\":\r\n [ {\"a\":1.0e5,\n\t\"b\" :[true,false , null]},\"x\", [[]],{}]}\n",
	`{"rules": [1], "rules": [2, 3], "x": {"rules": [4]}}`, `{"rules": {"rules": [1]}}`, `{"a\n\u00fc\ud83d\ude00\"": "\\", "ü": "\/"}`,
	`{"\u0072ules": ["a"]}`, `{"rules": ["]", "\"]"], "\\": "\\\\"}`, `{"a": "\ud800"}`,
}

func TestReadJSON(t *testing.T) {
	for _, text := range jsonTexts {
		if !json.Valid([]byte(text)) {
			t.Fatalf("%s is not JSON", text)
		}
		if difference := CompareJSON(text); difference != "" {
			t.Errorf("%s: %s", text, difference)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkText(text, MaxPolicySize, "a text") != nil || !json.Valid(text) {
			return
		}
		if difference := CompareJSON(string(text)); difference != "" {
			t.Fatal(difference)
		}
	})
}
