// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What a walk over the policy's entries is about, what it comes to, and how far it
// has come.
#ifndef WEIR_PROGRESS_H
#define WEIR_PROGRESS_H

#include "tables.h"

// What the walk needs to know of a connection.
struct subject {
  __u64 source[2]; // host order, upper half first; IPv4 in the upper half of that
  __u64 destination[2];
  __u16 source_port; // host order; of ICMP the type
  __u16 destination_port;
  __u16 flags; // flow_flags
  __u8 protocol;
  __u8 direction;
  __u8 is_ipv6;
  __u8 lost_reason; // facts cannot be had, and why; 0: they may still come
  __u8 lost_action; // and what a block rule that asks for them says then
  __u64 age;        // ns
  __u64 now;        // CLOCK_MONOTONIC, ns
};

struct decision {
  __u64 judge_after; // age at which a duration rule may change the answer; 0: none
  __u64 expires;     // when a rule that matched expires first; 0: none does
  __u32 rule;
  __u32 shadow_rule;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 reject;
  __u8 by_duration; // the rule is about the connection's age
  __u8 pad[3];
};

enum { DIMENSIONS = 5, CAN_ALLOW = 1, CAN_BLOCK = 2 };

#define NO_ORDER 0xffffffff

// The items of one side's address, and the first of them from `at` on that
// matches.
struct list {
  __u64 other[2]; // the other side's address
  __u32 at;
  __u32 end;
  __u32 order; // of the entry that matches; NO_ORDER: none is left
  __u32 entry;
  __u32 known; // whether the last two are
};

// How far a walk has come. It lies in a map, where the verifier does not follow
// what the numbers are: on the stack, each step would be another state to it.
struct progress {
  struct policy_class source;
  struct policy_class destination;
  struct list list[2]; // of the source, of the destination
  __u64 words;         // of the current chunk, those not yet read
  __u64 bits;          // of the current word, those not yet looked at
  __u32 row_number[DIMENSIONS];
  __u32 chunks; // those not yet read, a bit each
  __u32 chunk;  // the current one
  __u32 word;
  __u32 has_lists;
  __u32 order; // of the entry of the last bit that was found, if it is known
  __u32 entry;
  __u32 known;
  __u8 can;        // what the enforced walk may still come to
  __u8 can_shadow; // likewise, shadow rules included
  __u8 shadow_done;
  __u8 done;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct progress);
} walks SEC(".maps");

struct walk {
  struct policy_row *row[DIMENSIONS];
  struct policy_summary *summary[DIMENSIONS];
  const struct subject *subject;
  struct decision *decision;
  struct progress *at;
  __u32 slot;
  __u32 row_chunks;
};

#endif
