package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parse turns the text into nodes; nil means that problems were told.
func (d *decoder) parse(content []byte) *tree {
	if e := checkText(content, MaxPolicySize, "a policy"); e != nil {
		d.problem(e)
		return nil
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	// JSON has its own reader: to YAML a surrogate pair is an error, and so is a
	// key of more than 1024 characters.
	if text := bytes.TrimLeft(content, " \t\r\n"); len(text) > 0 && text[0] == '{' && json.Valid(content) {
		t, err := readJSON(string(content))
		if err != nil {
			d.problem(&Error{Found: err.Error(), Accepted: "lists of many addresses or names as list files"})
		}
		return t
	}
	t, line := readPlain(string(content))
	if t != nil {
		return t
	}
	if len(content) > maxLibrarySize {
		d.problem(&Error{
			Line:     line,
			Found:    fmt.Sprintf("the file has %d bytes, and here is YAML that is read in smaller files only", len(content)),
			Accepted: fmt.Sprintf("in files of more than %d bytes no anchors, aliases, tags, tabs and values of several lines", maxLibrarySize),
		})
		return nil
	}
	root, second, err := parseYAML(content)
	switch {
	case err != nil:
		d.problem(d.yamlProblem(err, content))
	case root == nil || emptyDocument(root):
		d.problem(&Error{Found: "the policy is empty", Accepted: "a mapping", Hint: "an observe-only policy is: mode: detect"})
	case second != nil:
		d.problem(&Error{Line: second.Line, Column: second.Column, Found: "a second document begins here", Accepted: "one policy in a file"})
	default:
		return &tree{root: root}
	}
	return nil
}

func emptyDocument(n *yaml.Node) bool {
	return n.Kind == yaml.DocumentNode &&
		(len(n.Content) == 0 || n.Content[0].Kind == yaml.ScalarNode && n.Content[0].ShortTag() == "!!null")
}

// parseYAML reads the first document, and the second if there is one.
func parseYAML(content []byte) (first, second *yaml.Node, err error) {
	// The YAML reader panics on purpose inside; should one get out, a policy must
	// not take the process down with it.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: cannot read this text: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(content))
	for _, n := range []**yaml.Node{&first, &second} {
		var node yaml.Node
		switch err := dec.Decode(&node); {
		case errors.Is(err, io.EOF):
			return first, second, nil
		case err != nil:
			return nil, nil, err
		}
		*n = &node
	}
	return first, second, nil
}

// checkText refuses what cannot be a policy or a list, before it is parsed.
func checkText(content []byte, most int, what string) *Error {
	if len(content) > most {
		return &Error{Found: fmt.Sprintf("the file has %d bytes", len(content)), Accepted: fmt.Sprintf("%s of at most %d bytes", what, most)}
	}
	if i := bytes.IndexByte(content, 0); i >= 0 {
		return &Error{Line: lineAt(content, i), Found: "there is a NUL byte: this is a binary file, or UTF-16", Accepted: "UTF-8 text"}
	}
	if !utf8.Valid(content) {
		i := 0
		for i < len(content) {
			r, size := utf8.DecodeRune(content[i:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			i += size
		}
		return &Error{Line: lineAt(content, i), Found: fmt.Sprintf("the byte 0x%02x here is not UTF-8", content[i]), Accepted: "UTF-8 text"}
	}
	return nil
}

func lineAt(content []byte, offset int) int {
	return 1 + bytes.Count(content[:offset], []byte("\n"))
}
