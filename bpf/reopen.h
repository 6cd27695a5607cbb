// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A SYN on a tuple that is taken. A blind attacker's must not end a connection,
// nor have one begin: it is a candidate until it is answered.
#ifndef WEIR_REOPEN_H
#define WEIR_REOPEN_H

#include "tcp_state.h"

enum opening {
  CONTINUES = 0,
  CANDIDATE = 1, // a SYN that is no retransmission
  REOPENS = 2,   // the old connection is over, and a new one begins
};

static __always_inline __u32 candidate_by(const struct flow *f) {
  return f->tcp & TCP_CANDIDATE_BY_DESTINATION ? DESTINATION : SOURCE;
}

// What p, a TCP packet sent by `end`, is to the connection that has its tuple.
__noinline int opening_of(const struct flow *f, const struct packet *p, __u32 end) {
  if (!f || !p || p->is_later_fragment || has_odd_flags(p) || !(p->tcp_flags & TCP_FLAG_SYN_))
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
  if (!(f->tcp & TCP_CANDIDATE) || candidate_by(f) == end || repeated)
    return CONTINUES;
  if (!closed && end == DESTINATION && has_tcp(f, TCP_SYN, SOURCE) && !(f->tcp & TCP_ANSWERED) &&
      p->ack != f->initial[SOURCE] && is_within(p->ack, f->initial[SOURCE], f->next[SOURCE]))
    return CONTINUES; // the SYN that opened the entry is answered
  return p->ack != f->candidate && is_within(p->ack, f->candidate, f->candidate_after) ? REOPENS
                                                                                       : CONTINUES;
}

// Remembers a SYN that wants the tuple; `counted` says whether its packet was, on
// the connection that has it.
static __always_inline void note_candidate(struct flow *f, const struct packet *p, __u32 end,
                                           __u32 counted, __u64 now) {
  __u32 after = segment_end(p);
  if (!(f->tcp & TCP_CANDIDATE) || f->candidate != p->seq || candidate_by(f) != end) {
    f->tcp |= TCP_CANDIDATE;
    f->tcp &= ~TCP_CANDIDATE_BY_DESTINATION;
    if (end == DESTINATION)
      f->tcp |= TCP_CANDIDATE_BY_DESTINATION;
    f->candidate = p->seq;
    f->candidate_after = after;
    f->candidate_first = now;
    f->candidate_packets = 0;
    f->candidate_bytes = 0;
  }
  if (is_after(after, f->candidate_after))
    f->candidate_after = after;
  if (counted) {
    f->candidate_packets += p->packets;
    f->candidate_bytes += p->bytes;
  }
}

// What a connection inherits from the one that had its tuple: the SYN that opens
// it, where the packet at hand is the answer.
struct inheritance {
  __u64 first;
  __u64 packets;
  __u64 bytes;
  __u64 hook_at;
  __u32 hook;
  __u32 initial;
  __u32 after;
  __u32 accepted; // 0: nothing
};

// Takes the candidate's packets out of the connection that they were counted on.
static __always_inline void disinherit(struct flow *f, const struct packet *p,
                                       struct inheritance *i) {
  if (!(p->tcp_flags & TCP_FLAG_ACK_))
    return;
  __u32 by = candidate_by(f) & 1;
  i->accepted = 1;
  i->first = f->candidate_first;
  i->packets = f->candidate_packets;
  i->bytes = f->candidate_bytes;
  i->hook = f->hook[by];
  i->hook_at = f->hook_at[by];
  i->initial = f->candidate;
  i->after = f->candidate_after;
  if (f->flags & FLOW_END_TOLD)
    return;
  f->packets[by] -= i->packets;
  f->bytes[by] -= i->bytes;
  f->last = f->last_own;
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
