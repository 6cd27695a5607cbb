package policy

import (
	"encoding/binary"
	"hash/maphash"

	"go.yaml.in/yaml/v3"
)

// criteriaKey stands for what a rule asks for, as far as two rules with equal
// text ask for the same. It is a hash of 128 bits under secret seeds, since the
// texts of all rules would be the policy once more.
type criteriaKey [2]uint64

// keyMaker makes criteriaKeys.
type keyMaker struct {
	seeds [2]maphash.Seed
	text  []byte
}

func (m *keyMaker) of(f fields) criteriaKey {
	if m.text == nil {
		m.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	}
	m.text = m.text[:0]
	for _, key := range []string{"direction", "layer3", "layer4", "layer7"} {
		m.text = append(m.text, '\n')
		if v := f.get(key); v != nil && !(key == "direction" && v.n.Value == "any") {
			m.add(v.n, 0)
		}
	}
	return criteriaKey{maphash.Bytes(m.seeds[0], m.text), maphash.Bytes(m.seeds[1], m.text)}
}

// add writes a node such that different nodes are different texts.
func (m *keyMaker) add(n *yaml.Node, depth int) {
	switch {
	case n.Kind == yaml.AliasNode:
		// The anchor stands for what it holds; its name alone may be used twice.
		m.text = append(m.text, '*')
		m.text = binary.AppendUvarint(m.text, uint64(n.Alias.Line))
		m.text = binary.AppendUvarint(m.text, uint64(n.Alias.Column))
	case n.Kind == yaml.ScalarNode:
		m.text = append(m.text, '=')
		m.text = binary.AppendUvarint(m.text, uint64(len(n.Value)))
		m.text = append(m.text, n.Value...)
	case depth < 8:
		m.text = append(m.text, '(')
		for _, child := range n.Content {
			m.add(child, depth+1)
		}
		m.text = append(m.text, ')')
	}
}
