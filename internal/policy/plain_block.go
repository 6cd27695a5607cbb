package policy

import "go.yaml.in/yaml/v3"

// block reads the node that begins at pos, inside of a collection that is
// indented by parent. Afterwards column is that of the next token.
func (r *plainReader) block(parent int) *yaml.Node {
	if r.depth++; r.depth > maxPlainDepth {
		return r.giveUp()
	}
	defer func() { r.depth-- }()
	start := r.pos
	if r.atEntry() {
		return r.sequence(start-r.bol, nil)
	}
	n := r.inline(false)
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode && r.atColon(start) {
		return r.mapping(start, n, parent)
	}
	return r.finish(n)
}

// finish goes to the token after a node that ends here, which must end the line.
// The caller sees by column whether the next line goes on with the node.
func (r *plainReader) finish(n *yaml.Node) *yaml.Node {
	end := r.pos
	r.blanks()
	if b := r.peek(); b != '\n' && !(b == '#' && r.pos > end) {
		return r.giveUp()
	}
	r.next()
	return n
}

// atEntry says whether "- " is next.
func (r *plainReader) atEntry() bool {
	return r.peek() == '-' && isBlank(r.at(r.pos+1))
}

func isBlank(b byte) bool { return b == ' ' || b == '\n' }

// maxPlainKey is how far the colon may be from the beginning of its key. YAML
// allows 1024 characters.
const maxPlainKey = 1000

// atColon says whether the scalar that began at start is a key.
func (r *plainReader) atColon(start int) bool {
	pos := r.pos
	for r.at(pos) == ' ' {
		pos++
	}
	if r.at(pos) != ':' || !isBlank(r.at(pos+1)) || pos-start > maxPlainKey {
		return false
	}
	r.pos = pos
	return true
}

// mapping reads the mapping whose first key begins at start; the colon is next.
func (r *plainReader) mapping(start int, key *yaml.Node, parent int) *yaml.Node {
	indent := start - r.bol
	n := r.addAt(start, yaml.MappingNode, "!!map", "")
	first := len(r.open)
	for {
		var v *yaml.Node
		if parent == -1 && key.Value == "rules" && r.rules == nil {
			v = r.findRules(indent)
		} else {
			v = r.value(indent)
		}
		if v == nil || r.gaveUp || r.column > indent {
			return r.giveUp()
		}
		r.open = append(r.open, key, v)
		if r.column < indent {
			break
		}
		start = r.pos
		if key = r.scalar(false); key == nil || !r.atColon(start) {
			return r.giveUp()
		}
	}
	r.closeList(n, first)
	return n
}

// value reads what belongs to a key; the colon is next.
func (r *plainReader) value(indent int) *yaml.Node {
	r.pos++
	after := r.pos
	r.blanks()
	if b := r.peek(); b != '\n' && b != '#' {
		// On the line of its key a value is neither a block collection nor a key.
		n := r.inline(false)
		if n == nil {
			return nil
		}
		return r.finish(n)
	}
	line, column := r.line, r.columnOf(after)
	r.next()
	switch {
	case r.column > indent:
		return r.block(indent)
	case r.column == indent && r.atEntry():
		return r.sequence(indent, nil)
	}
	return r.add(yaml.ScalarNode, "!!null", "", line, column)
}

// sequence reads a block sequence; its first "-" is next. With each, items are
// handed over instead of kept.
func (r *plainReader) sequence(indent int, each func(*yaml.Node) bool) *yaml.Node {
	n := r.addAt(r.pos, yaml.SequenceNode, "!!seq", "")
	first := len(r.open)
	if each != nil {
		r.discard = r.checking
		defer func() { r.discard = false }()
	}
	for {
		kept := r.marked()
		r.pos++
		after := r.pos
		r.blanks()
		var item *yaml.Node
		if b := r.peek(); b != '\n' && b != '#' {
			item = r.block(indent)
		} else {
			line, column := r.line, r.columnOf(after)
			if r.next(); r.column > indent {
				item = r.block(indent)
			} else {
				item = r.add(yaml.ScalarNode, "!!null", "", line, column)
			}
		}
		if item == nil || r.gaveUp || r.column > indent {
			return r.giveUp()
		}
		if each == nil {
			r.open = append(r.open, item)
		} else {
			if !each(item) {
				return n
			}
			r.release(kept)
		}
		if r.column < indent || !r.atEntry() {
			break
		}
	}
	r.closeList(n, first)
	return n
}

// findRules reads the value of the key rules. Of a list it notes the place, and
// reads the items only to see that they can be read.
func (r *plainReader) findRules(indent int) *yaml.Node {
	r.rulesAt = plainPlace{r.pos, r.bol, r.line, indent}
	r.checking = true
	n := r.rulesList(func(*yaml.Node) bool { r.ruleCount++; return true })
	r.checking = false
	if n == nil && !r.gaveUp {
		r.pos, r.bol, r.line = r.rulesAt.pos, r.rulesAt.bol, r.rulesAt.line
		return r.value(indent)
	}
	r.rules = n
	return n
}

// rulesList reads the list of rules, with the colon before it next; nil where
// there is no list.
func (r *plainReader) rulesList(each func(*yaml.Node) bool) *yaml.Node {
	indent, line := r.rulesAt.indent, r.line
	r.pos++
	r.next()
	switch {
	case r.line > line && r.column >= indent && r.atEntry():
		return r.sequence(r.column, each)
	case (r.line == line || r.column > indent) && r.peek() == '[':
		n := r.flowSequence(each)
		if n == nil {
			return nil
		}
		return r.finish(n)
	}
	return nil
}
