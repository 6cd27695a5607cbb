package policy

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar reads a scalar that ends in its line.
func (r *plainReader) scalar(flow bool) *yaml.Node {
	switch r.peek() {
	case '\'':
		return r.singleQuoted()
	case '"':
		return r.doubleQuoted()
	}
	start := r.pos
	if !r.plainBegins(flow) {
		return r.giveUp()
	}
	r.pos = r.plainEnd(flow)
	value := r.text[start:r.pos]
	return r.addAt(start, yaml.ScalarNode, plainTag(value), value)
}

// plainBegins says whether a scalar without quotes begins at pos for certain.
func (r *plainReader) plainBegins(flow bool) bool {
	b := r.peek()
	switch {
	case !indicators[b]:
		return true
	case b == '-':
		return !isBlank(r.at(r.pos + 1))
	case b == ':':
		// As in ::/0.
		return !flow && !isBlank(r.at(r.pos+1))
	}
	return false
}

// indicators are the characters that no scalar without quotes begins with, but for
// the exceptions.
var indicators = func() (t [256]bool) {
	for _, b := range []byte(" \n-:?,[]{}#&*!|>'\"%@`") {
		t[b] = true
	}
	return t
}()

// plainEnd is where the scalar without quotes ends that goes through pos: before a
// colon or a comment, at the end of the line, in a flow collection at its marks.
func (r *plainReader) plainEnd(flow bool) int {
	text, i := r.text, r.pos
	for i < len(text) {
		if !plainMarks[text[i]] {
			i++
			continue
		}
		switch text[i] {
		case '\n':
			return i
		case ':':
			if isBlank(r.at(i + 1)) {
				return i
			}
		case ',', '[', ']', '{', '}', '?':
			if flow {
				return i
			}
		case ' ':
			next := i + 1
			for r.at(next) == ' ' {
				next++
			}
			switch b := r.at(next); {
			case b == '\n' || b == '#' || b == ':' && isBlank(r.at(next+1)):
				return i
			case flow && strings.IndexByte(",[]{}?", b) >= 0:
				return i
			}
			i = next
			continue
		}
		i++
	}
	return i
}

// plainMarks are the characters that may end a scalar without quotes.
var plainMarks = [256]bool{
	'\n': true, ' ': true, ':': true, ',': true, '[': true, ']': true, '{': true, '}': true, '?': true,
}

// plainTag is the tag of a scalar without quotes, as far as the loader asks: all
// that is neither null nor a truth value is text to it.
func plainTag(value string) string {
	if len(value) > len("false") {
		return "!!str"
	}
	switch value {
	case "~", "null", "Null", "NULL":
		return "!!null"
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return "!!bool"
	case "<<":
		return "!!merge"
	}
	return "!!str"
}

func (r *plainReader) singleQuoted() *yaml.Node {
	start := r.pos
	var unescaped []byte
	for from := start + 1; ; {
		i := strings.IndexByte(r.text[from:], '\'')
		if i < 0 || strings.IndexByte(r.text[from:from+i], '\n') >= 0 {
			return r.giveUp()
		}
		r.pos = from + i + 1
		if r.at(r.pos) != '\'' {
			value := r.text[from : from+i]
			if unescaped != nil {
				value = string(append(unescaped, value...))
			}
			return r.addAt(start, yaml.ScalarNode, "!!str", value)
		}
		unescaped = append(unescaped, r.text[from:r.pos]...)
		from = r.pos + 1
	}
}

// plainEscapes are the escapes of JSON and YAML that are one character.
var plainEscapes = map[byte]byte{'"': '"', '\\': '\\', 'n': '\n', 't': '\t', 'r': '\r'}

func (r *plainReader) doubleQuoted() *yaml.Node {
	start := r.pos
	from := start + 1
	var unescaped []byte
	for i := from; i < len(r.text); i++ {
		switch r.text[i] {
		case '\n':
			return r.giveUp()
		case '"':
			r.pos = i + 1
			value := r.text[from:i]
			if unescaped != nil {
				value = string(append(unescaped, value...))
			}
			return r.addAt(start, yaml.ScalarNode, "!!str", value)
		case '\\':
			b, known := plainEscapes[r.at(i+1)]
			if !known {
				return r.giveUp()
			}
			unescaped = append(append(unescaped, r.text[from:i]...), b)
			i++
			from = i + 1
		}
	}
	return r.giveUp()
}
