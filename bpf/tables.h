// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The tables that a policy is compiled to (internal/classifier makes them). Each
// criterion maps its fact to a row, a bitmap of the entries that the fact
// satisfies; an address also to a list of items, of the entries that have no bit.
#ifndef WEIR_TABLES_H
#define WEIR_TABLES_H

#include "maps.h"

enum {
  ROW_WORDS = 64, // of 64 entries each; longer rows are chunks of it
  MAX_CHUNKS = 32,
  // Tables of small things hold blocks of them: filling a table costs by its
  // elements.
  ENTRY_BLOCK = 128,
  ITEM_BLOCK = 64,
  NODE_BLOCK = 128,
  LEAF_BLOCK = 256,
};

// What a rule says of answering the sender of blocked packets.
enum reject_choice { REJECT_BY_POLICY = 0, REJECT_YES = 1, REJECT_NO = 2 };

enum reject_mode { REJECT_OUTBOUND = 0, REJECT_ALWAYS = 1, REJECT_NEVER = 2 };

// Why facts cannot be had, as indexes; the reasons are in the same order.
enum cause {
  CAUSE_MALFORMED = 0,
  CAUSE_LIMIT = 1,
  CAUSE_OVERLOAD = 2,
  CAUSE_AGENT_DOWN = 3,
  CAUSE_NOT_SEEN = 4,
  CAUSES = 8, // with room for more
};

struct policy_settings {
  __u32 chunks; // of a row; 0 without entries
  __u8 prevent;
  __u8 default_action; // NO_ACTION without any rules
  __u8 reject_mode;
  __u8 block_malformed;
  __u8 block_non_ip;
  __u8 related_icmp; // the safeguard icmp-errors
  __u8 keeps;        // on_error.not_seen: keep
  __u8 pad;
  __u32 tables;     // the number they were made for, 0 while they are incomplete
  __u64 generation; // both for user space
  // on_error's answers: enum action, by cause.
  __u8 on_error[CAUSES];
};

enum { LABEL_BYTES = 128 };

// The name of a rule, for user space: a process that takes over needs it.
struct rule_label {
  char text[LABEL_BYTES];
};

enum entry_flags {
  ENTRY_SHADOW = 1 << 0,
  ENTRY_UNDECIDED = 1 << 1,    // the rule has criteria beyond the packet's
  ENTRY_ERROR_ALLOWS = 1 << 2, // undecided block rule: an error may answer allow
  ENTRY_LOOPBACK = 1 << 3,
  ENTRY_NEIGHBOR = 1 << 4,
  ENTRY_OWN = 1 << 5,
  ENTRY_SAFEGUARD = 1 << 6,
};

// One transport of one rule. Those that have a bit in the rows come first.
struct policy_entry {
  __u64 over;    // ns a TCP connection must last; 0: any
  __u64 expires; // CLOCK_MONOTONIC, ns: from then on it matches nothing; 0: never
  __u32 rule;
  __u32 order; // its place in the walk
  __u8 action;
  __u8 flags;
  __u8 reject;
  __u8 pad[5];
};

struct policy_entries {
  struct policy_entry entry[ENTRY_BLOCK];
};

struct policy_row {
  __u64 word[ROW_WORDS];
};

// Which parts of a row have a bit set.
struct policy_summary {
  __u32 chunks; // a bit for each chunk
  __u32 pad;
  __u64 word[MAX_CHUNKS]; // a bit for each word of the chunk
};

// Rows by port (of ICMP: type and code), direction and protocol.
struct policy_services {
  __u16 source_port[65536];
  __u16 destination_port[65536];
  __u16 protocol[4][256];
};

// An entry that hangs on the addresses of one side, with its other criteria.
struct policy_item {
  __u64 other[2]; // prefix of the other side's address, as in struct subject
  __u32 order;    // as in policy_entry
  __u32 entry;
  __u16 source_first; // ports in host order; of ICMP type and code
  __u16 source_last;
  __u16 destination_first;
  __u16 destination_last;
  __u8 protocol;
  __u8 any_protocol;
  __u8 directions; // a bit each: 1 << (direction - 1)
  __u8 other_bits; // 0: any address
  __u32 pad;
};

struct policy_items {
  struct policy_item item[ITEM_BLOCK];
};

// What an address is to the policy: its row and its list. `list` is the number of
// the first item << LIST_BITS | the number of items. In the root of a trie the
// slot may be a node instead: ROOT_NODE | its number.
struct policy_class {
  __u32 row;
  __u32 list;
};

#define ROOT_NODE (1u << 31)
enum { LIST_BITS = 6 };

// A node of a trie (classifier.TrieNode).
struct trie_node {
  __u64 inner;
  __u64 runs;
  __u32 first_node;
  __u32 first_leaf;
};

struct trie_nodes {
  struct trie_node node[NODE_BLOCK];
};

struct trie_leaves {
  struct policy_class leaf[LEAF_BLOCK];
};

struct trie_root {
  struct policy_class slot[65536];
};

// The roots. Nodes and leaves of all four tries are numbered through.
enum { SOURCE4 = 0, SOURCE6 = 1, DESTINATION4 = 2, DESTINATION6 = 3, TRIES = 4 };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SLOTS);
  __type(key, __u32);
  __type(value, struct policy_settings);
} settings SEC(".maps");

// A slot each; the inner maps are made anew for every policy.
#define TABLES(name, inner_type, inner_flags, inner_key, inner_value)                              \
  struct name##_table {                                                                            \
    __uint(type, inner_type);                                                                      \
    __uint(map_flags, inner_flags);                                                                \
    __uint(max_entries, 1);                                                                        \
    __uint(key_size, sizeof(inner_key));                                                           \
    __uint(value_size, sizeof(inner_value));                                                       \
  };                                                                                               \
  struct {                                                                                         \
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                      \
    __uint(max_entries, SLOTS);                                                                    \
    __type(key, __u32);                                                                            \
    __array(values, struct name##_table);                                                          \
  } name SEC(".maps")

TABLES(roots, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct trie_root);
TABLES(nodes, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct trie_nodes);
TABLES(leaves, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct trie_leaves);
TABLES(items, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_items);
TABLES(services, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_services);
TABLES(rows, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_row);
TABLES(summaries, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_summary);
TABLES(entries, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_entries);
TABLES(matches, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, __u64);
TABLES(labels, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct rule_label);

// Matches by name, of tables that are gone; for user space alone.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 20);
  __type(key, struct rule_label);
  __type(value, __u64);
} rule_totals SEC(".maps");

#endif
