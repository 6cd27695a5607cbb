// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where a TCP connection stands, as far as opening, closing and reset need it.
// FIN and RST count only at the sequence number that the receiver expects, so
// that a blind attacker (RFC 5961) cannot end an entry.
#ifndef WEIR_TCP_STATE_H
#define WEIR_TCP_STATE_H

#include "flow.h"
#include "packet.h"

static __always_inline __s32 seq_after(__u32 a, __u32 b) { return (__s32)(a - b); }

static __always_inline __u32 segment_end(const struct packet *p) {
  return p->seq + p->payload_bytes + !!(p->tcp_flags & TCP_FLAG_SYN_) +
         !!(p->tcp_flags & TCP_FLAG_FIN_);
}

static __always_inline void close_flow(struct flow *f, enum end_reason why) {
  if (f->flags & FLOW_CLOSED)
    return;
  f->end = why;
  f->flags |= FLOW_CLOSED;
}

static __always_inline void track_rst(struct flow *f, const struct packet *p, __u32 end) {
  __u32 other = end ^ 1;
  __u8 other_seen = f->tcp & (TCP_SEEN << other);
  if (f->tcp & (TCP_SEEN << end)) {
    // The receiver takes an RST only at exactly what it expects next
    // (RFC 9293 section 3.10.7.4): that is what it acknowledged, or what we saw
    // leave since.
    __u32 expected = f->next[end];
    if (p->seq != expected && !(other_seen && p->seq == f->acked[other]))
      return;
  } else if (!(p->tcp_flags & TCP_FLAG_ACK_) || !other_seen || p->ack != f->next[other]) {
    return; // the answer to a SYN must acknowledge it
  }
  close_flow(f, END_RST);
}

// None of SYN, ACK and RST (null, FIN and XMAS scans; RFC 9293 section 3.10.7.4:
// dropped in every state), or SYN together with FIN or RST.
static __always_inline int has_odd_flags(const struct packet *p) {
  if (p->tcp_flags & TCP_FLAG_SYN_)
    return p->tcp_flags & (TCP_FLAG_FIN_ | TCP_FLAG_RST_);
  return !(p->tcp_flags & (TCP_FLAG_ACK_ | TCP_FLAG_RST_));
}

// Takes p, sent by `end`, into account. No stack acts on odd flags, so they
// change nothing here.
static __always_inline void track_tcp(struct flow *f, const struct packet *p, __u32 end) {
  __u32 other = (end ^ 1) & 1;
  end &= 1;
  if (p->is_later_fragment || has_odd_flags(p))
    return;
  if (p->tcp_flags & TCP_FLAG_RST_) {
    track_rst(f, p, end);
    return;
  }
  __u32 next = segment_end(p);
  __u8 in_order = 1;
  if (!(f->tcp & (TCP_SEEN << end))) {
    f->tcp |= TCP_SEEN << end;
    f->next[end] = next;
    if (end == DESTINATION)
      f->tcp |= TCP_ANSWERED;
  } else {
    in_order = seq_after(p->seq, f->next[end]) <= 0;
    if (seq_after(next, f->next[end]) > 0)
      f->next[end] = next;
  }
  if (p->payload_bytes)
    f->tcp |= TCP_DATA;
  if ((p->tcp_flags & TCP_FLAG_FIN_) && in_order) {
    f->fin[end] = next;
    f->tcp |= TCP_FIN << end;
  }
  if (!(p->tcp_flags & TCP_FLAG_ACK_))
    return;
  // An acknowledgment of what was never sent is not one.
  if (seq_after(p->ack, f->next[other]) > 0)
    return;
  f->acked[end] = p->ack;
  if ((f->tcp & (TCP_FIN << other)) && seq_after(p->ack, f->fin[other]) >= 0)
    f->tcp |= TCP_FIN_ACKED << other;
  if ((f->tcp & (TCP_FIN_ACKED * 3)) == TCP_FIN_ACKED * 3)
    close_flow(f, END_FIN);
}

#endif
