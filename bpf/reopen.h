// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A SYN on a tuple that is taken. A blind attacker's must not end a connection,
// nor have one begin: it is a candidate until it is answered.
#ifndef WEIR_REOPEN_H
#define WEIR_REOPEN_H

#include "tcp_state.h"

// The SYN that wants a tuple (TCP_CANDIDATE): when and what was seen of it.
struct candidate {
  __u64 first;
  __u64 last_own; // the last packet of the connection that has the tuple
  __u64 packets;
  __u64 bytes;
  __u32 initial; // its sequence number
  __u32 after;   // the number after its data
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, struct flow_key);
  __type(value, struct candidate);
} candidates SEC(".maps");

static __always_inline struct candidate *candidate_of(const struct flow_key *k,
                                                      const struct flow *f) {
  return f->tcp & TCP_CANDIDATE ? bpf_map_lookup_elem(&candidates, k) : NULL;
}

// The same in functions that are not inlined: before Linux 6.2 what they are given
// a pointer to is no key of a map; a copy on the stack is.
static __always_inline struct candidate *candidate_of_given(const struct flow_key *k,
                                                            const struct flow *f) {
  if (!(f->tcp & TCP_CANDIDATE))
    return NULL;
  struct flow_key own = *k;
  return bpf_map_lookup_elem(&candidates, &own);
}

enum opening {
  CONTINUES = 0,
  CANDIDATE = 1, // a SYN that is no retransmission
  REOPENS = 2,   // the old connection is over, and a new one begins
};

static __always_inline __u32 candidate_by(const struct flow *f) {
  return f->tcp & TCP_CANDIDATE_BY_DESTINATION ? DESTINATION : SOURCE;
}

// What p, a TCP packet sent by `end`, is to the connection that has its tuple.
__noinline int opening_of(const struct flow_key *k, const struct flow *f, const struct packet *p,
                          __u32 end) {
  if (!k || !f || !p || p->is_later_fragment || has_odd_flags(p) || !(p->tcp_flags & TCP_FLAG_SYN_))
    return CONTINUES;
  end &= 1;
  __u32 closed = f->flags & FLOW_CLOSED;
  __u32 repeated = has_tcp(f, TCP_SYN, end) && p->seq == f->initial[end];
  if (!(p->tcp_flags & TCP_FLAG_ACK_)) {
    // Some stacks try again with the same number after an RST.
    if (repeated)
      return closed && !(f->flags & FLOW_DROP) ? CANDIDATE : CONTINUES;
    if (closed)
      return REOPENS;
    if (end == DESTINATION && has_tcp(f, TCP_SYN, SOURCE) && !(f->tcp & TCP_ANSWERED) &&
        !has_tcp(f, TCP_SEEN, DESTINATION))
      return CONTINUES; // simultaneous open (RFC 9293 section 3.5)
    return MUTANT(NO_CANDIDATE) ? REOPENS : CANDIDATE;
  }
  struct candidate *c = candidate_of_given(k, f);
  if (!c || candidate_by(f) == end || repeated)
    return CONTINUES;
  if (!closed && end == DESTINATION && has_tcp(f, TCP_SYN, SOURCE) && !(f->tcp & TCP_ANSWERED) &&
      p->ack != f->initial[SOURCE] && is_within(p->ack, f->initial[SOURCE], f->next[SOURCE]))
    return CONTINUES; // the SYN that opened the entry is answered
  return p->ack != c->initial && is_within(p->ack, c->initial, c->after) ? REOPENS : CONTINUES;
}

enum { CANDIDATE_END = 1, CANDIDATE_COUNTED = 2 };

// Remembers a SYN that wants the tuple. `how` is the end that sent it, and whether
// its packet was counted on the connection that has the tuple; last_own is when
// the last packet of that one came.
__noinline int note_candidate(const struct flow_key *k, struct flow *f, const struct packet *p,
                              __u32 how, __u64 last_own) {
  if (!k || !f || !p)
    return 0;
  __u32 end = how & CANDIDATE_END;
  __u32 after = segment_end(p);
  struct candidate *c = candidate_of_given(k, f);
  if (!c || c->initial != p->seq || candidate_by(f) != end) {
    struct candidate next = {
        .first = p->time,
        .last_own = c ? c->last_own : last_own,
        .initial = p->seq,
        .after = after,
    };
    struct flow_key own = *k; // as in candidate_of_given()
    if (bpf_map_update_elem(&candidates, &own, &next, BPF_ANY))
      return 0;
    c = bpf_map_lookup_elem(&candidates, &own);
    if (!c)
      return 0;
    set_bits(&f->tcp, TCP_CANDIDATE);
    clear_bits(&f->tcp, TCP_CANDIDATE_BY_DESTINATION);
    if (end == DESTINATION)
      set_bits(&f->tcp, TCP_CANDIDATE_BY_DESTINATION);
  }
  if (is_after(after, c->after))
    c->after = after;
  if (how & CANDIDATE_COUNTED) {
    c->packets += p->packets;
    c->bytes += p->bytes;
  }
  return 0;
}

// What a connection inherits from the one that had its tuple: the SYN that opens
// it, where the packet at hand is the answer.
struct inheritance {
  __u64 first;
  __u64 packets;
  __u64 bytes;
  __u32 hook_at;
  __u32 hook;
  __u32 initial;
  __u32 after;
  __u32 accepted; // 0: nothing
};

// Takes the candidate's packets out of the connection that they were counted on.
static __always_inline void disinherit(const struct flow_key *k, struct flow *f,
                                       const struct packet *p, struct inheritance *i) {
  struct candidate *c = candidate_of(k, f);
  if (!(p->tcp_flags & TCP_FLAG_ACK_) || !c)
    return;
  __u32 by = candidate_by(f) & 1;
  i->accepted = 1;
  i->first = c->first;
  i->packets = c->packets;
  i->bytes = c->bytes;
  i->hook = f->hook[by];
  i->hook_at = f->hook_at[by];
  i->initial = c->initial;
  i->after = c->after;
  if (f->flags & FLOW_END_TOLD)
    return;
  f->packets[by] -= i->packets;
  f->bytes[by] -= i->bytes;
  f->last = c->last_own;
}

// The state of a connection of which only the SYN was seen, sent by the source.
static __always_inline void accept_candidate(struct flow *f, __u32 initial, __u32 after) {
  f->tcp = (TCP_SEEN | TCP_SYN) << SOURCE;
  f->initial[SOURCE] = initial;
  f->next[SOURCE] = after;
  f->high[SOURCE] = after;
}

static __always_inline void inherit(struct flow *f, const struct inheritance *i) {
  if (!i->accepted)
    return;
  accept_candidate(f, i->initial, i->after);
  f->first = i->first;
  f->packets[SOURCE] = i->packets;
  f->bytes[SOURCE] = i->bytes;
  if (i->hook) {
    f->hook[SOURCE] = i->hook;
    f->hook_at[SOURCE] = i->hook_at;
    f->ifindex = i->hook >> 1;
  }
}

#endif
