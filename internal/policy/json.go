package policy

import (
	"bytes"
	"encoding/json"
	"sort"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// jsonReader makes nodes of JSON, so that one set of readers serves both
// notations. Numbers keep their source text.
type jsonReader struct {
	dec     *json.Decoder
	content []byte
	// newlines are the offsets of the line ends.
	newlines []int
}

// parseJSON reads text that is known to be one valid JSON value.
func parseJSON(content []byte) *yaml.Node {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(content)), content: content}
	r.dec.UseNumber()
	for i, b := range content {
		if b == '\n' {
			r.newlines = append(r.newlines, i)
		}
	}
	return r.value()
}

// value reads the next value. The decoder cannot fail, since the text is valid.
func (r *jsonReader) value() *yaml.Node {
	start := r.next()
	token, _ := r.dec.Token()
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.Line, n.Column = r.position(start)
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

// next is the offset where the next token begins: past blanks and separators.
func (r *jsonReader) next() int {
	i := int(r.dec.InputOffset())
	for i < len(r.content) && bytes.IndexByte([]byte(" \t\r\n,:"), r.content[i]) >= 0 {
		i++
	}
	return i
}

func (r *jsonReader) position(offset int) (line, column int) {
	before := sort.SearchInts(r.newlines, offset)
	if before == 0 {
		return 1, offset + 1
	}
	return before + 1, offset - r.newlines[before-1]
}
