package policy

import (
	"iter"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the values that are held at once: those outside of the rules,
// and those of one rule. A node takes 152 bytes, and the text of one may be two.
const maxNodes = 2_000_000

// nodes makes the nodes of a tree.
type nodes struct {
	single slab[yaml.Node]
	lists  slab[*yaml.Node]
	// open are the children of the collections that are being read.
	open []*yaml.Node
	// count is how many nodes are held.
	count int
	// discard: the text is only looked at, and nodes need only be scalars or not.
	discard            bool
	scalar, collection yaml.Node
}

// add makes a node.
func (s *nodes) add(kind yaml.Kind, tag, value string, line, column int) *yaml.Node {
	s.count++
	if s.discard && kind == yaml.ScalarNode {
		s.scalar.Kind = kind
		return &s.scalar
	}
	if s.discard {
		s.collection.Kind = kind
		return &s.collection
	}
	n := &s.single.take(1)[0]
	// The other fields of a node are never set here, and a node is large.
	n.Kind, n.Tag, n.Value, n.Line, n.Column, n.Content = kind, tag, value, line, column, nil
	return n
}

// closeList gives a collection the children that were opened from first on.
func (s *nodes) closeList(n *yaml.Node, first int) {
	if !s.discard {
		n.Content = s.lists.take(len(s.open) - first)
		copy(n.Content, s.open[first:])
	}
	s.open = s.open[:first]
}

// nodesMark is what to go back to.
type nodesMark struct {
	single, lists slabMark
	count         int
}

func (s *nodes) marked() nodesMark { return nodesMark{s.single.mark, s.lists.mark, s.count} }

// release takes back all nodes since the mark.
func (s *nodes) release(to nodesMark) {
	s.single.release(to.single)
	s.lists.release(to.lists)
	s.count = to.count
}

// tree is the text as nodes.
type tree struct {
	root *yaml.Node
	// rules is the node of the list of rules where its items are read one by one,
	// since nearly all of a large policy is in them: it then has no Content. Nil
	// where the whole text is in root.
	rules *yaml.Node
	// items reads the rules, count is how many there are. An item is valid until
	// the next one is read.
	items iter.Seq[*yaml.Node]
	count int
}
