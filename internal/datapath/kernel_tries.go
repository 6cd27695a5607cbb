package datapath

import (
	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/classifier"
)

// kernelTries are the tries as bpf/trie.h reads them, in the order of their
// roots there; their nodes and leaves are numbered through.
type kernelTries struct {
	roots  []bpf.ConnectionsTrieRoot
	nodes  []bpf.ConnectionsTrieNodes
	leaves []bpf.ConnectionsTrieLeaves

	nodeCount, leafCount int
}

func makeTries(t *classifier.Tables) *kernelTries {
	k := &kernelTries{}
	if t.Chunks == 0 {
		return k
	}
	for _, trie := range []*classifier.Trie{&t.Source.IPv4, &t.Source.IPv6, &t.Destination.IPv4, &t.Destination.IPv6} {
		k.add(trie)
	}
	return k
}

func (k *kernelTries) add(trie *classifier.Trie) {
	firstNode, firstLeaf := uint32(k.nodeCount), uint32(k.leafCount)
	k.roots = append(k.roots, bpf.ConnectionsTrieRoot{})
	root := &k.roots[len(k.roots)-1]
	for i, s := range trie.Root {
		if s.IsNode {
			root.Slot[i].Row = rootNode | firstNode + s.Node
			continue
		}
		root.Slot[i] = kernelClass(s.Class)
	}
	const nodeBlock = len(bpf.ConnectionsTrieNodes{}.Node)
	for _, n := range trie.Nodes {
		if k.nodeCount%nodeBlock == 0 {
			k.nodes = append(k.nodes, bpf.ConnectionsTrieNodes{})
		}
		k.nodes[len(k.nodes)-1].Node[k.nodeCount%nodeBlock] = bpf.ConnectionsTrieNode{
			Inner: n.Inner, Runs: n.Runs, FirstNode: firstNode + n.FirstNode, FirstLeaf: firstLeaf + n.FirstLeaf,
		}
		k.nodeCount++
	}
	const leafBlock = len(bpf.ConnectionsTrieLeaves{}.Leaf)
	for _, c := range trie.Leaves {
		if k.leafCount%leafBlock == 0 {
			k.leaves = append(k.leaves, bpf.ConnectionsTrieLeaves{})
		}
		k.leaves[len(k.leaves)-1].Leaf[k.leafCount%leafBlock] = kernelClass(c)
		k.leafCount++
	}
}

// Of bpf/tables.h.
const (
	rootNode = 1 << 31
	listBits = 6
)

func kernelClass(c classifier.Class) bpf.ConnectionsPolicyClass {
	return bpf.ConnectionsPolicyClass{Row: c.Row, List: c.First<<listBits | c.Count}
}
