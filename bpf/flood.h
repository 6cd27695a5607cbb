// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Connections that are counted together instead of told of one by one: those that
// open beyond a rate and are never answered. The counts are exact.
#ifndef WEIR_FLOOD_H
#define WEIR_FLOOD_H

#include "counters.h"
#include "flow.h"
#include "maps.h"

// How many connections a processor tells of at once, in each window of time,
// before it is known that both ends take part. Set by the loader.
volatile const __u32 openings_told = 256;
enum { WINDOW_SHIFT = 27 }; // of 134 ms

struct opening_budget {
  __u64 window;
  __u32 used;
  __u32 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct opening_budget);
} opening_budgets SEC(".maps");

static __always_inline __u32 may_tell_opening(__u64 now) {
  __u32 zero = 0;
  struct opening_budget *b = bpf_map_lookup_elem(&opening_budgets, &zero);
  if (!b)
    return 1;
  if (b->window != now >> WINDOW_SHIFT) {
    b->window = now >> WINDOW_SHIFT;
    b->used = 0;
  }
  if (b->used >= openings_told)
    return 0;
  b->used += 1;
  return 1;
}

// What the connections of a flood have in common. Without its destination where
// too many are flooded at once.
struct flood_key {
  __u32 destination[4];
  __u32 rule;
  __u32 shadow_rule;
  __u32 tables;
  __u32 ifindex;
  __u32 zone;
  __u16 destination_port; // network order
  __u8 protocol;
  __u8 kind; // EVENT_START or EVENT_END
  __u8 direction;
  __u8 verdict;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 end;
  __u8 prevent;
  __u8 is_ipv6;
  __u8 has_destination;
  __u8 epoch; // of flood_epoch
  __u8 pad[2];
};

struct flood {
  __u64 count;
  __u64 first;
  __u64 last;
  __u64 packets[2];
  __u64 bytes[2];
};

enum { FLOODS = 4096, MERGED_FLOODS = 8192 };

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, FLOODS);
  __type(key, struct flood_key);
  __type(value, struct flood);
} floods SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MERGED_FLOODS);
  __type(key, struct flood_key);
  __type(value, struct flood);
} merged_floods SEC(".maps");

// Alternates between 0 and 1: user space changes it, waits until no program is at
// work with the old one, and then reads and removes that one's floods. So none is
// counted while it is read.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} flood_epoch SEC(".maps");

// What is too large for the stack.
struct folding {
  struct flood_key key;
  struct flood none;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct folding);
} foldings SEC(".maps");

static __always_inline struct flood *flood_of(void *map, const struct folding *w) {
  struct flood *found = bpf_map_lookup_elem(map, &w->key);
  if (found)
    return found;
  bpf_map_update_elem(map, &w->key, &w->none, BPF_NOEXIST);
  return bpf_map_lookup_elem(map, &w->key);
}

// Adds a connection's start or end to its flood.
static __always_inline void fold_event(const struct flow_key *k, const struct flow *f, __u8 kind,
                                       __u64 time) {
  __u32 zero = 0;
  struct folding *w = bpf_map_lookup_elem(&foldings, &zero);
  if (!w)
    return;
  volatile __u32 *epoch = bpf_map_lookup_elem(&flood_epoch, &zero);
  __u32 source_is_high = f->flags & FLOW_SOURCE_IS_HIGH;
  struct flood_key *key = &w->key;
  __builtin_memset(key, 0, sizeof(*key));
  key->rule = f->rule;
  key->shadow_rule = f->shadow_rule;
  key->tables = f->tables;
  key->ifindex = f->ifindex;
  key->zone = k->protocol_zone >> 8;
  key->protocol = protocol_of(k);
  key->kind = kind;
  key->direction = f->direction;
  key->verdict = f->verdict;
  key->action = f->action;
  key->reason = f->reason;
  key->shadow_action = f->shadow_action;
  key->end = kind == EVENT_END ? f->end : END_NONE;
  key->prevent = !!(f->flags & FLOW_PREVENT);
  key->has_destination = 1;
  key->epoch = epoch ? *epoch & 1 : 0;
  key->is_ipv6 = k->low[0] || k->low[1] || k->low[2] != bpf_htonl(0xffff);
  __builtin_memcpy(key->destination, source_is_high ? k->low : k->high, 16);
  if (key->protocol == IPPROTO_TCP || key->protocol == IPPROTO_UDP)
    key->destination_port = source_is_high ? k->low_port : k->high_port;
  else
    key->destination_port = k->high_port; // ICMP: type and code
  struct flood *flood = flood_of(&floods, w);
  if (!flood) {
    __builtin_memset(key->destination, 0, sizeof(key->destination));
    key->destination_port = 0;
    key->has_destination = 0;
    flood = flood_of(&merged_floods, w);
  }
  if (!flood) {
    count(COUNT_FLOOD_UNTOLD);
    return;
  }
  __sync_fetch_and_add(&flood->count, 1);
  if (!flood->first || time < flood->first)
    flood->first = time;
  if (time > flood->last)
    flood->last = time;
  if (kind != EVENT_END)
    return;
  for (int i = 0; i < 2; i++) {
    __sync_fetch_and_add(&flood->packets[i], f->packets[i]);
    __sync_fetch_and_add(&flood->bytes[i], f->bytes[i]);
  }
}

// Counts a quiet connection in its flood: its start, and when it is over its end.
__noinline int fold_due(const struct flow_key *k, struct flow *f) {
  if (!k || !f)
    return 0;
  if (!(__sync_fetch_and_or(&f->flags, FLOW_START_TOLD) & FLOW_START_TOLD)) {
    set_bits(&f->flags, FLOW_FOLDED);
    fold_event(k, f, EVENT_START, f->first);
  }
  clear_bits(&f->flags, FLOW_VERDICT_DUE);
  if ((f->flags & FLOW_CLOSED) && !(__sync_fetch_and_or(&f->flags, FLOW_END_TOLD) & FLOW_END_TOLD))
    fold_event(k, f, EVENT_END, f->last);
  return 0;
}

#endif
