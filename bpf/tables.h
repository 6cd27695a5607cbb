// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The tables that a policy is compiled to (internal/classifier makes them). Each
// criterion maps its fact to a row: a bitmap of the entries that the fact
// satisfies.
#ifndef WEIR_TABLES_H
#define WEIR_TABLES_H

#include "maps.h"

enum {
  SLOTS = 2,
  ROW_WORDS = 64, // of 64 entries each; longer rows are chunks of it
};

// What a rule says of answering the sender of blocked packets.
enum reject_choice { REJECT_BY_POLICY = 0, REJECT_YES = 1, REJECT_NO = 2 };

enum reject_mode { REJECT_OUTBOUND = 0, REJECT_ALWAYS = 1, REJECT_NEVER = 2 };

struct policy_settings {
  __u32 chunks; // of a row; 0 without entries
  __u8 prevent;
  __u8 default_action; // NO_ACTION without any rules
  __u8 reject_mode;
  __u8 block_malformed;
  __u8 block_non_ip;
  __u8 related_icmp; // the safeguard icmp-errors
  __u8 pad[2];
  __u32 zero;   // see struct walk
  __u32 tables; // the number they were made for, 0 while they are incomplete;
  __u32 pad2;
  __u64 generation; // both for user space
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

// One transport of one rule.
struct policy_entry {
  __u64 over; // ns a TCP connection must last; 0: any
  __u32 rule;
  __u8 action;
  __u8 flags;
  __u8 reject;
  __u8 pad;
};

struct policy_row {
  __u64 word[ROW_WORDS];
};

// Rows by port (of ICMP: type and code), protocol and direction.
struct policy_services {
  __u16 source_port[65536];
  __u16 destination_port[65536];
  __u16 protocol[256];
  __u16 direction[4];
};

struct prefix4 {
  __u32 bits;
  __u32 address;
};

struct prefix6 {
  __u32 bits;
  __u32 address[4];
};

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

TABLES(sources4, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct prefix4, __u32);
TABLES(sources6, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct prefix6, __u32);
TABLES(destinations4, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct prefix4, __u32);
TABLES(destinations6, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct prefix6, __u32);
TABLES(services, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_services);
TABLES(rows, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_row);
TABLES(entries, BPF_MAP_TYPE_ARRAY, BPF_F_INNER_MAP, __u32, struct policy_entry);
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
