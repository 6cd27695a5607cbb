package policy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var (
	yamlLine = regexp.MustCompile(`line (\d+): `)
	// unquoted finds what begins with "!" or "*" where YAML expects a value.
	unquoted = regexp.MustCompile(`(?:^|[\[,{]|: |- )\s*([!*][^\s,\]}#]+)`)
)

// yamlProblem says what the YAML reader found; where the reason may be an
// unquoted "!" or "*", it says to quote it.
func (d *decoder) yamlProblem(err error, content []byte) *Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		text = strings.Replace(text, m[0], "", 1)
	}
	e.Found = "this is not YAML: " + text
	lines := strings.Split(string(content), "\n")
	anchor := ""
	if name, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		anchor = "*" + strings.TrimSuffix(name, "' referenced")
	}
	for _, line := range linesToSearch(e.Line, len(lines)) {
		m := unquoted.FindStringSubmatchIndex(lines[line-1])
		if m == nil {
			continue
		}
		meant := lines[line-1][m[2]:m[3]]
		if anchor != "" && !strings.HasPrefix(meant, anchor) {
			continue
		}
		what := "an unquoted " + quote(meant) + " is a YAML alias, not a value"
		if meant[0] == '!' {
			what = "an unquoted " + quote(meant) + " is a YAML tag, not a value"
		}
		e := &Error{Line: line, Column: utf8.RuneCountInString(lines[line-1][:m[2]]) + 1, Found: what, Hint: "quote it: " + strconv.Quote(meant)}
		e.Key = d.keyOnceQuoted(lines, e, m[2], meant)
		return e
	}
	return e
}

// linesToSearch are the lines near the one the reader named, whose count is not
// always exact; all of them where it named none.
func linesToSearch(line, count int) []int {
	var lines []int
	if line > 0 {
		for _, l := range []int{line, line - 1, line + 1} {
			if l >= 1 && l <= count {
				lines = append(lines, l)
			}
		}
		return lines
	}
	for l := 1; l <= count; l++ {
		lines = append(lines, l)
	}
	return lines
}

// keyOnceQuoted finds the key of an unquoted value by reading the text as it
// would be with the value quoted; empty where that is still not YAML.
func (d *decoder) keyOnceQuoted(lines []string, e *Error, offset int, meant string) string {
	line := lines[e.Line-1]
	repaired := slices.Clone(lines)
	repaired[e.Line-1] = line[:offset] + strconv.Quote(meant) + line[offset+len(meant):]
	root, _, err := parseYAML([]byte(strings.Join(repaired, "\n")))
	if err != nil || root == nil {
		return ""
	}
	if at := findPlace(d.cursor(root), e.Line, e.Column); at != nil {
		return at.path()
	}
	return ""
}

// findPlace looks for the value that begins at a place.
func findPlace(c *cursor, line, column int) *cursor {
	if c.n.Kind == yaml.ScalarNode && c.place.Line == line && c.place.Column == column {
		return c
	}
	for i, n := range c.n.Content {
		if n.Kind == yaml.AliasNode {
			continue // what it stands for has its own place
		}
		at := c
		switch {
		case c.n.Kind == yaml.SequenceNode:
			at = c.child("", i, n)
		case i%2 == 1:
			at = c.child(c.n.Content[i-1].Value, -1, n)
		default:
			continue
		}
		if found := findPlace(at, line, column); found != nil {
			return found
		}
	}
	return nil
}
