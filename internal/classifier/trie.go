package classifier

// Trie maps every address of a family to its class: a poptrie (Asai and Ohara,
// SIGCOMM 2015). The first 16 bits choose the root's slot; every node on the way
// down reads 6 bits.
type Trie struct {
	Root [1 << rootBits]TrieSlot
	// Nodes and Leaves are those below the root.
	Nodes  []TrieNode
	Leaves []Class
}

// TrieSlot is a class, or where IsNode a node.
type TrieSlot struct {
	Class  Class
	Node   uint32
	IsNode bool
}

// TrieNode has 64 children. Those with a bit in Inner are nodes, in order from
// FirstNode on; the others are leaves: a run of equal ones is stored once, and
// has a bit in Runs where it begins, in order from FirstLeaf on.
type TrieNode struct {
	Inner, Runs          uint64
	FirstNode, FirstLeaf uint32
}

const (
	rootBits = 16
	nodeBits = 6
)

// interval says from where on, up to the next one, addresses have a class.
type interval struct {
	from  Key
	class Class
}

// build makes the trie of intervals, which begin at the lowest key.
func (t *Trie) build(intervals []interval) {
	b := trieBuilder{trie: t, intervals: intervals}
	const span = 128 - rootBits
	for i := range t.Root {
		from := Key{}.plus(uint64(i), span)
		b.skipTo(from)
		if b.isWhole(from, span) {
			t.Root[i] = TrieSlot{Class: b.intervals[b.at].class}
			continue
		}
		node := uint32(len(t.Nodes))
		t.Root[i] = TrieSlot{Node: node, IsNode: true}
		t.Nodes = append(t.Nodes, TrieNode{})
		b.fill(node, from, span)
	}
}

type trieBuilder struct {
	trie      *Trie
	intervals []interval
	at        int // the interval of the last key that was skipped to
}

// skipTo goes on to the interval of a key, which must not go back by more than
// fill() has gone ahead.
func (b *trieBuilder) skipTo(k Key) {
	for b.at+1 < len(b.intervals) && b.intervals[b.at+1].from.compare(k) <= 0 {
		b.at++
	}
}

// isWhole says whether the 1<<span keys from `from` on have one class. The
// builder stands at from.
func (b *trieBuilder) isWhole(from Key, span int) bool {
	if b.at+1 == len(b.intervals) {
		return true
	}
	end := from.plus(1, span)
	return end == (Key{}) || b.intervals[b.at+1].from.compare(end) >= 0
}

// fill makes the node of the 1<<span keys from `from` on.
func (b *trieBuilder) fill(number uint32, from Key, span int) {
	// The last node of IPv6 has four bits left of an address; children that
	// differ in the two beyond are one.
	span -= nodeBits
	beyond := max(0, -span)
	span = max(0, span)
	node := TrieNode{FirstNode: uint32(len(b.trie.Nodes)), FirstLeaf: uint32(len(b.trie.Leaves))}
	start := b.at
	var last Class
	for child := range uint64(64) {
		at := from.plus(child>>beyond, span)
		b.skipTo(at)
		if !b.isWhole(at, span) {
			node.Inner |= 1 << child
			b.trie.Nodes = append(b.trie.Nodes, TrieNode{})
			continue
		}
		class := b.intervals[b.at].class
		if node.Runs == 0 || class != last {
			node.Runs |= 1 << child
			b.trie.Leaves = append(b.trie.Leaves, class)
			last = class
		}
	}
	b.trie.Nodes[number] = node
	b.at = start
	next := node.FirstNode
	for child := range uint64(64) {
		if node.Inner>>child&1 == 0 {
			continue
		}
		at := from.plus(child>>beyond, span)
		b.skipTo(at)
		b.fill(next, at, span)
		next++
	}
}
