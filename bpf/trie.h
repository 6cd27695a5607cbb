// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// From an address to its class, by a poptrie (Asai and Ohara, SIGCOMM 2015):
// classifier.Trie says how it is laid out.
#ifndef WEIR_TRIE_H
#define WEIR_TRIE_H

#include "tables.h"

enum {
  NODE_BITS = 6,
  HIGH_LEVELS = 8, // nodes that read the upper 64 bits, after the root's 16
  MAX_LEVELS = 19, // of IPv6: the last has four bits of the address left
};

static __always_inline __u32 bits_set(__u64 x) { return __builtin_popcountll(x); }

// Finds the class of an address: host order, from the highest bit on; IPv4 is in
// the upper half of `high`. Row 0, which is empty, where there are no tables.
__noinline int find_class(__u32 slot, __u32 trie, __u64 high, __u64 low,
                          struct policy_class *found) {
  if (!found)
    return -1;
  found->row = 0;
  found->list = 0;
  void *table = bpf_map_lookup_elem(&roots, &slot);
  if (!table)
    return -1;
  struct trie_root *root = bpf_map_lookup_elem(table, &trie);
  if (!root)
    return -1;
  struct policy_class c = root->slot[high >> 48];
  if (!(c.row & ROOT_NODE)) {
    *found = c;
    return 0;
  }
  void *node_table = bpf_map_lookup_elem(&nodes, &slot);
  void *leaf_table = bpf_map_lookup_elem(&leaves, &slot);
  if (!node_table || !leaf_table)
    return -1;
  __u32 number = c.row & ~ROOT_NODE;
  __u64 bits = high << 16;
  for (int level = 0; level < MAX_LEVELS; level++) {
    if (level == HIGH_LEVELS)
      bits = low;
    __u32 child = bits >> (64 - NODE_BITS);
    bits <<= NODE_BITS;
    __u32 block = number / NODE_BLOCK;
    struct trie_nodes *b = bpf_map_lookup_elem(node_table, &block);
    if (!b)
      return -1;
    struct trie_node *n = &b->node[number % NODE_BLOCK];
    __u64 up_to = (2ULL << child) - 1;
    if (n->inner >> child & 1) {
      number = n->first_node + bits_set(n->inner & up_to) - 1;
      continue;
    }
    number = n->first_leaf + bits_set(n->runs & up_to) - 1;
    block = number / LEAF_BLOCK;
    struct trie_leaves *l = bpf_map_lookup_elem(leaf_table, &block);
    if (!l)
      return -1;
    *found = l->leaf[number % LEAF_BLOCK];
    return 0;
  }
  return -1;
}

#endif
