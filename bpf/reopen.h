// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A SYN on a tuple that is taken. A blind attacker's must not end a connection,
// nor have one begin: it is a candidate until it is answered.
#ifndef WEIR_REOPEN_H
#define WEIR_REOPEN_H

#include "hold_state.h"
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

// Whether p is the SYN of the candidate, against the direction of a connection.
static __always_inline __u32 is_turned_candidate(const struct flow_key *k, const struct flow *f,
                                                 const struct packet *p, __u32 end) {
  struct candidate *c = opens(p) && end == DESTINATION ? candidate_of(k, f) : NULL;
  return c && (f->tcp & TCP_CANDIDATE_BY_DESTINATION) && p->seq == c->initial;
}

enum opening {
  CONTINUES = 0,
  CANDIDATE = 1, // a SYN that is no retransmission
  REOPENS = 2,   // the old connection is over, and a new one begins
  RESUMES = 3,   // ... since nobody took its end
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
    // Against its direction other rules count, and whoever has the old connection still
    // would take what follows for that one's: it waits for its answer.
    if (closed && end == SOURCE)
      return REOPENS;
    if (!closed && end == DESTINATION && has_tcp(f, TCP_SYN, SOURCE) && !(f->tcp & TCP_ANSWERED) &&
        !has_tcp(f, TCP_SEEN, DESTINATION))
      return CONTINUES; // simultaneous open (RFC 9293 section 3.5)
    return MUTANT(NO_CANDIDATE) ? REOPENS : CANDIDATE;
  }
  struct candidate *c = candidate_of_given(k, f);
  if (!c || candidate_by(f) == end || repeated)
    return CONTINUES;
  if (!closed && end == DESTINATION && has_tcp(f, TCP_SYN, SOURCE) && !(f->tcp & TCP_ANSWERED) &&
      answers_syn(f, p->ack))
    return CONTINUES; // the SYN that opened the entry is answered
  return p->ack != c->initial && is_within(p->ack, c->initial, c->after) ? REOPENS : CONTINUES;
}

// Whether p, sent by `end` of a connection that it has reset, shows that nobody took the
// RST, since it had a wrong checksum, or went no further than here: the connection goes
// on. It says what it had not, or acknowledges it; a stack that resets says no more, and
// what an RST has overtaken is older. What is held says nothing after its end (hold.h).
static __always_inline __u32 resumes(const struct flow *f, const struct packet *p, __u32 end) {
  __u32 other = (end ^ 1) & 1;
  end &= 1;
  if ((f->flags & (FLOW_CLOSED | FLOW_DROP | FLOW_RETURNS)) != FLOW_CLOSED ||
      ((f->flags & FLOW_PREVENT) && f->reason == REASON_KEPT) || !has_tcp(f, TCP_RESET, end) ||
      p->protocol != IPPROTO_TCP || p->is_later_fragment ||
      (p->tcp_flags & (TCP_FLAG_SYN_ | TCP_FLAG_RST_)) || has_odd_flags(p) || MUTANT(NOT_RESUMED))
    return 0;
  __u32 to = segment_end(p);
  if (p->payload_bytes && !is_after(p->seq, f->high[end]) && is_after(to, f->high[end]) &&
      to - f->high[end] <= FARTHEST)
    return 1;
  return (p->tcp_flags & TCP_FLAG_ACK_) && has_tcp(f, TCP_ACKS, end) &&
         is_after(p->ack, f->acked[end]) && !is_after(p->ack, f->high[other]);
}

// Of the connection that goes on after an RST that nobody took: where it stands.
static __always_inline void resume(struct flow *f, const struct flow *old) {
  f->tcp = old->tcp & (TCP_SEEN * 3 | TCP_SYN * 3 | TCP_ACKS * 3 | TCP_DATA | TCP_ANSWERED);
  for (int end = 0; end < 2; end++) {
    f->initial[end] = old->initial[end];
    f->next[end] = old->next[end];
    f->high[end] = old->high[end];
    f->acked[end] = old->acked[end];
    f->hook[end] = old->hook[end];
    f->hook_at[end] = old->hook_at[end];
  }
  f->first = old->first; // an RST makes it no younger
  f->direction = old->direction;
  __u32 same = FLOW_SOURCE_IS_HIGH | FLOW_OWN | FLOW_NEIGHBOR | FLOW_LOOPBACK;
  f->flags = (f->flags & ~same) | (old->flags & same);
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
  // Its data is dropped where packets are held (connections.c): nobody acknowledges it.
  __u32 after = (f->flags & FLOW_PREVENT) && is_holding() ? p->seq + 1 : segment_end(p);
  if (end == SOURCE)
    set_bits(&f->tcp, TCP_RIVAL_SYN);
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
