// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Connections that are not settled: only one end has been heard of, or the other
// has answered and got no more. Whoever makes up addresses can open any number of
// them, so a ring holds the latest ones, and each that enters evicts the oldest.
// Those that are settled have the rest of the table to themselves.
#ifndef WEIR_OPENINGS_H
#define WEIR_OPENINGS_H

#include "flood.h"
#include "look_state.h"
#include "tcp_state.h"
#include "tell.h"

struct opening_slot {
  struct flow_key key;
  __u64 id; // of the flow; 0: empty
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1 << 18);
  __type(key, __u32);
  __type(value, struct opening_slot);
} openings SEC(".maps");

// The number of slots. Set by the loader.
volatile const __u32 opening_slots = 1 << 18;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} next_opening SEC(".maps");

enum {
  // A stream in one direction, such as syslog or multicast, never settles. One
  // that has sent this much is passed over, a few times at each turn.
  STREAM_PACKETS = 8,
  PASSED_OVER = 4,
};

// Ends the connection of a slot, if it is still there and not settled. Returns
// whether the slot is free.
static __always_inline __u32 evict(struct opening_slot *s, __u32 spares_streams) {
  struct flow_key key = s->key;
  if (!s->id)
    return 1;
  struct flow *f = bpf_map_lookup_elem(&flows, &key);
  if (!f || f->id != s->id || (f->flags & FLOW_SETTLED))
    return 1;
  if (spares_streams && !(f->flags & (FLOW_CLOSED | FLOW_DROP)) &&
      f->packets[SOURCE] >= STREAM_PACKETS)
    return 0;
  if (!(f->flags & FLOW_FOLLOWER)) {
    close_flow(f, f->flags & FLOW_DROP ? f->end ? f->end : END_BLOCKED : END_EVICTED);
    clear_bits(&f->flags, FLOW_LINGERS | FLOW_AWAITS);
    end_look(&key, f);
    if (tell_due(&key, f)) {
      set_bits(&f->flags, FLOW_QUIET); // no room for the event: it is counted
      fold_due(&key, f);
    }
    count(COUNT_EVICTED);
  }
  bpf_map_delete_elem(&flows, &key);
  return 1;
}

// Gives a new connection its place in the ring.
__noinline int admit(const struct flow_key *k, const struct flow *f) {
  if (!k || !f || !opening_slots)
    return 0;
  __u32 zero = 0;
  __u64 *next = bpf_map_lookup_elem(&next_opening, &zero);
  if (!next)
    return 0;
  for (int i = 0; i <= PASSED_OVER; i++) {
    __u32 number = __sync_fetch_and_add(next, 1) % opening_slots;
    struct opening_slot *s = bpf_map_lookup_elem(&openings, &number);
    if (!s)
      return 0;
    if (!evict(s, i < PASSED_OVER))
      continue;
    s->key = *k;
    s->id = f->id;
    return 0;
  }
  return 0;
}

// Notes that `end` has sent. The connection is settled when its source goes on
// after the destination answered: made-up sources do not.
static __always_inline void settle(struct flow *f, __u8 protocol, __u32 end) {
  if (f->flags & (FLOW_SETTLED | FLOW_DROP))
    return;
  if (end == DESTINATION) {
    if (protocol != IPPROTO_TCP)
      set_bits(&f->tcp, TCP_ANSWERED); // of TCP the tracker notes valid answers
    return;
  }
  if (!(f->tcp & TCP_ANSWERED) || (protocol == IPPROTO_TCP && !acks_answer(f)))
    return;
  set_bits(&f->flags, FLOW_SETTLED);
  if (!(f->flags & FLOW_FOLDED))
    clear_bits(&f->flags, FLOW_QUIET); // its start is told now
}

#endif
