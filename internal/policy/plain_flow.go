package policy

import "go.yaml.in/yaml/v3"

// inline reads a scalar or a flow collection, which begins at pos.
func (r *plainReader) inline(flow bool) *yaml.Node {
	switch r.peek() {
	case '[':
		return r.flowSequence(nil)
	case '{':
		return r.flowMapping()
	}
	return r.scalar(flow)
}

// flowSequence reads [a, b]. With each, items are handed over instead of kept.
func (r *plainReader) flowSequence(each func(*yaml.Node) bool) *yaml.Node {
	if r.depth++; r.depth > maxPlainDepth {
		return r.giveUp()
	}
	defer func() { r.depth-- }()
	n := r.addAt(r.pos, yaml.SequenceNode, "!!seq", "")
	first := len(r.open)
	if each != nil {
		r.discard = r.checking
		defer func() { r.discard = false }()
	}
	for more := true; more; {
		r.pos++
		r.space()
		if r.peek() == ']' {
			break
		}
		kept := r.marked()
		item := r.inline(true)
		if more = r.flowEnd(']'); item == nil || r.gaveUp {
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
	}
	r.pos++
	r.closeList(n, first)
	return n
}

// flowMapping reads {a: b}.
func (r *plainReader) flowMapping() *yaml.Node {
	if r.depth++; r.depth > maxPlainDepth {
		return r.giveUp()
	}
	defer func() { r.depth-- }()
	n := r.addAt(r.pos, yaml.MappingNode, "!!map", "")
	first := len(r.open)
	for more := true; more; {
		r.pos++
		r.space()
		if r.peek() == '}' {
			break
		}
		start, quoted := r.pos, r.peek() == '"' || r.peek() == '\''
		key := r.scalar(true)
		if key == nil {
			return nil
		}
		// A quoted key needs no blank behind its colon.
		if quoted && r.peek() == ':' && r.pos-start <= maxPlainKey {
		} else if !r.atColon(start) {
			return r.giveUp()
		}
		r.pos++
		r.space()
		v := r.inline(true)
		if more = r.flowEnd('}'); v == nil || r.gaveUp {
			return r.giveUp()
		}
		r.open = append(r.open, key, v)
	}
	r.pos++
	r.closeList(n, first)
	return n
}

// flowEnd goes to what ends an entry of a flow collection and says whether it is
// a comma; what else it may be is end.
func (r *plainReader) flowEnd(end byte) (comma bool) {
	r.space()
	b := r.peek()
	if b != ',' && b != end || r.pos == len(r.text) {
		r.gaveUp = true
	}
	return b == ','
}
