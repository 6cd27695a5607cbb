package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// jsonReader makes nodes of JSON, so that one set of readers serves both
// notations. Numbers keep their source text. The text is known to be valid, so
// it only has to be cut up: encoding/json's tokens take ten times as long.
type jsonReader struct {
	nodes
	text string
	// pos is the offset of the next byte, bol that of its line's first byte; line
	// counts from 1.
	pos, bol, line int

	// rules and rulesAt are the list of rules and where it begins.
	rules     *yaml.Node
	rulesAt   [3]int
	ruleCount int
	// checking: the rules are only looked at.
	checking, tooMany bool
}

var errTooManyNodes = errors.New("too many values")

// readJSON reads text that is known to be one valid JSON value.
func readJSON(text string) (*tree, error) {
	r := &jsonReader{text: text, line: 1}
	root := r.value(true)
	if r.tooMany {
		return nil, fmt.Errorf("%w: more than %d outside of the rules or in one of them", errTooManyNodes, maxNodes)
	}
	t := &tree{root: root, rules: r.rules, count: r.ruleCount}
	t.items = func(yield func(*yaml.Node) bool) {
		r.pos, r.bol, r.line = r.rulesAt[0], r.rulesAt[1], r.rulesAt[2]
		r.list(yield)
	}
	return t, nil
}

// value reads the next value; outermost is the whole text.
func (r *jsonReader) value(outermost bool) *yaml.Node {
	switch r.next() {
	case '{':
		return r.object(outermost)
	case '[':
		return r.list(nil)
	case '"':
		return r.string()
	case 't':
		return r.word("!!bool", "true")
	case 'f':
		return r.word("!!bool", "false")
	case 'n':
		return r.word("!!null", "null")
	}
	end := strings.IndexAny(r.text[r.pos:], " \t\r\n,]}")
	if end < 0 {
		end = len(r.text) - r.pos
	}
	return r.word("!!float", r.text[r.pos:r.pos+end])
}

// next goes to the next token and is its first byte.
func (r *jsonReader) next() byte {
	for ; r.pos < len(r.text); r.pos++ {
		switch b := r.text[r.pos]; b {
		case '\n':
			r.bol = r.pos + 1
			r.line++
		case ' ', '\t', '\r', ',', ':':
		default:
			return b
		}
	}
	return 0
}

func (r *jsonReader) addHere(kind yaml.Kind, tag, value string) *yaml.Node {
	r.tooMany = r.tooMany || r.count >= maxNodes
	return r.add(kind, tag, value, r.line, r.pos-r.bol+1)
}

func (r *jsonReader) word(tag, word string) *yaml.Node {
	n := r.addHere(yaml.ScalarNode, tag, word)
	if tag == "!!null" {
		n.Value = ""
	}
	r.pos += len(word)
	return n
}

func (r *jsonReader) string() *yaml.Node {
	n := r.addHere(yaml.ScalarNode, "!!str", "")
	start, escaped := r.pos, false
	for r.pos++; r.text[r.pos] != '"'; r.pos++ {
		if r.text[r.pos] == '\\' {
			escaped = true
			r.pos++
		}
	}
	r.pos++
	n.Value = r.text[start+1 : r.pos-1]
	if escaped && !r.discard {
		// It cannot fail: the text is valid.
		_ = json.Unmarshal([]byte(r.text[start:r.pos]), &n.Value)
	}
	return n
}

func (r *jsonReader) object(outermost bool) *yaml.Node {
	n := r.addHere(yaml.MappingNode, "!!map", "")
	first := len(r.open)
	r.pos++
	for r.next() != '}' && !r.tooMany {
		key := r.string()
		var v *yaml.Node
		if outermost && key.Value == "rules" && r.rules == nil && r.next() == '[' {
			r.rulesAt = [3]int{r.pos, r.bol, r.line}
			r.checking = true
			v = r.list(func(*yaml.Node) bool { r.ruleCount++; return true })
			r.rules, r.checking = v, false
		} else {
			v = r.value(false)
		}
		r.open = append(r.open, key, v)
	}
	r.pos++
	r.closeList(n, first)
	return n
}

// list reads an array. With each, items are handed over instead of kept.
func (r *jsonReader) list(each func(*yaml.Node) bool) *yaml.Node {
	n := r.addHere(yaml.SequenceNode, "!!seq", "")
	first := len(r.open)
	if each != nil {
		r.discard = r.checking
		defer func() { r.discard = false }()
	}
	r.pos++
	for r.next() != ']' && !r.tooMany {
		kept := r.marked()
		item := r.value(false)
		if each == nil {
			r.open = append(r.open, item)
			continue
		}
		if !each(item) {
			return n
		}
		r.release(kept)
	}
	r.pos++
	r.closeList(n, first)
	return n
}
