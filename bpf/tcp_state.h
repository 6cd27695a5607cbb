// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where a TCP connection stands, as far as opening, closing and reset need it.
// Only segments that the receiver is certain to process move it, so that a blind
// attacker (RFC 5961) neither ends an entry nor shifts what is expected: there
// are as many guesses as sequence numbers. internal/flow is the reference.
#ifndef WEIR_TCP_STATE_H
#define WEIR_TCP_STATE_H

#include "flow.h"
#include "packet.h"

// How far beyond a gap a segment may be: the largest window there is (RFC 7323
// section 2.3).
#define FARTHEST (1U << 30)

static __always_inline __u32 is_after(__u32 a, __u32 b) { return (__s32)(a - b) > 0; }

static __always_inline __u32 is_within(__u32 n, __u32 low, __u32 high) {
  return n - low <= high - low;
}

static __always_inline __u32 has_tcp(const struct flow *f, __u32 flag, __u32 end) {
  return f->tcp & (flag << (end & 1));
}

static __always_inline void set_tcp(struct flow *f, __u32 flag, __u32 end) {
  set_bits(&f->tcp, flag << (end & 1));
}

static __always_inline void clear_tcp(struct flow *f, __u32 flag, __u32 end) {
  clear_bits(&f->tcp, flag << (end & 1));
}

static __always_inline __u32 segment_end(const struct packet *p) {
  return p->seq + p->payload_bytes + !!(p->tcp_flags & TCP_FLAG_SYN_) +
         !!(p->tcp_flags & TCP_FLAG_FIN_);
}

// None of SYN, ACK and RST (null, FIN and XMAS scans; RFC 9293 section 3.10.7.4:
// dropped in every state), or SYN together with FIN or RST. No stack acts on
// them, so they change nothing here.
static __always_inline int has_odd_flags(const struct packet *p) {
  if (MUTANT(ODD_FLAGS))
    return 0;
  if (p->tcp_flags & TCP_FLAG_SYN_)
    return p->tcp_flags & (TCP_FLAG_FIN_ | TCP_FLAG_RST_);
  return !(p->tcp_flags & (TCP_FLAG_ACK_ | TCP_FLAG_RST_));
}

// Whether p neither begins nor ends its connection, nor comes near to it: when it
// came is of no more interest than that the connection goes on.
static __always_inline __u32 is_amid(const struct flow *f, const struct packet *p) {
  return (f->flags & (FLOW_SETTLED | FLOW_CLOSED)) == FLOW_SETTLED &&
         !(f->tcp & ((TCP_FIN | TCP_FIN_AHEAD) * 3)) &&
         !(p->tcp_flags & (TCP_FLAG_SYN_ | TCP_FLAG_FIN_ | TCP_FLAG_RST_));
}

// Whether the packet can only be the first of a connection.
static __always_inline __u32 opens(const struct packet *p) {
  return p->protocol == IPPROTO_TCP && !p->is_later_fragment && !has_odd_flags(p) &&
         (p->tcp_flags & (TCP_FLAG_SYN_ | TCP_FLAG_ACK_)) == TCP_FLAG_SYN_;
}

static __always_inline void close_flow(struct flow *f, enum end_reason why) {
  if (f->flags & FLOW_CLOSED)
    return;
  f->end = why;
  set_bits(&f->flags, FLOW_CLOSED);
}

// Whether an RST sent by `end` counts: only at exactly what its receiver expects
// next (RFC 9293 section 3.10.7.4), which is what it acknowledged, or what has
// been sent in order since. The answer to a SYN acknowledges it.
static __always_inline int resets(const struct flow *f, const struct packet *p, __u32 end) {
  __u32 other = (end ^ 1) & 1;
  end &= 1;
  if (MUTANT(ANY_RESET))
    return 1;
  if (has_tcp(f, TCP_SEEN, end) && p->seq == f->next[end])
    return 1;
  if (has_tcp(f, TCP_ACKS, other) && p->seq == f->acked[other])
    return 1;
  if (!(p->tcp_flags & TCP_FLAG_ACK_) || has_tcp(f, TCP_SEEN, end) || !has_tcp(f, TCP_SEEN, other))
    return 0;
  if (has_tcp(f, TCP_SYN, other))
    return p->ack != f->initial[other] && is_within(p->ack, f->initial[other], f->next[other]);
  return p->ack == f->next[other];
}

// Whether the source has acknowledged the destination's SYN, or more: it has seen
// it, or guesses one number of 2^32. Where no SYN was seen, that it acknowledges.
static __always_inline __u32 acks_answer(const struct flow *f) {
  if (!has_tcp(f, TCP_SYN, DESTINATION))
    return has_tcp(f, TCP_ACKS, SOURCE);
  return has_tcp(f, TCP_ACKS, SOURCE) &&
         is_within(f->acked[SOURCE], f->initial[DESTINATION] + 1, f->high[DESTINATION]);
}

// Whether each end has the number of the other's SYN: it was answered by one. An ACK
// alone may be of an older connection, which an end has still.
static __always_inline __u32 is_agreed(const struct flow *f) {
  __u32 all = TCP_SYN * 3 | TCP_ANSWERED;
  return (f->tcp & (all | TCP_RIVAL_ANSWER)) == all;
}

// Whether a SYN of the destination's that acknowledges `ack` answers the source's. It
// may acknowledge data with it (RFC 7413); but where the source has sent another SYN, or
// more than that before it had an answer, only the SYN's own number tells which is
// answered: the server may begin in the midst of what has come here, and of that has
// taken nothing.
static __always_inline __u32 answers_syn(const struct flow *f, __u32 ack) {
  if ((f->tcp & TCP_RIVAL_SYN) || has_tcp(f, TCP_ACKS, SOURCE))
    return ack == f->initial[SOURCE] + 1;
  return ack != f->initial[SOURCE] && is_within(ack, f->initial[SOURCE], f->next[SOURCE]);
}

// Whether p answers the source's SYN with a number other than that of an answer
// which the source has not acknowledged: the server forgot the first, or several
// share an address. The source goes on with the one that reaches it.
static __always_inline __u32 answers_anew(const struct flow *f, const struct packet *p, __u32 end) {
  __u32 both = TCP_FLAG_SYN_ | TCP_FLAG_ACK_;
  return end == DESTINATION && (p->tcp_flags & both) == both && has_tcp(f, TCP_SYN, SOURCE) &&
         has_tcp(f, TCP_SYN, DESTINATION) && p->seq != f->initial[DESTINATION] && !acks_answer(f) &&
         answers_syn(f, p->ack);
}

// Whether p is of this connection; takes what is an end's first.
static __always_inline int begins(struct flow *f, const struct packet *p, __u32 end) {
  __u32 other = (end ^ 1) & 1;
  end &= 1;
  __u32 syn = p->tcp_flags & TCP_FLAG_SYN_;
  __u32 ack = p->tcp_flags & TCP_FLAG_ACK_;
  // While the source's SYN is out, the other end can only answer it, or cross it
  // with a SYN of its own. What else comes is of an older connection (a challenge
  // ACK, RFC 9293 section 3.5.1).
  __u32 opening = has_tcp(f, TCP_SYN, other) && !(f->tcp & TCP_ANSWERED) &&
                  !(end == SOURCE && has_tcp(f, TCP_SEEN, SOURCE));
  if (opening && ack &&
      (p->ack == f->initial[other] || !is_within(p->ack, f->initial[other], f->next[other])))
    return 0;
  if (opening && ack && syn && end == DESTINATION && !answers_syn(f, p->ack))
    return 0;
  if (answers_anew(f, p, end)) {
    set_bits(&f->tcp, TCP_RIVAL_ANSWER);
    clear_bits(&f->tcp, (TCP_FIN_AHEAD | TCP_FIN | TCP_FIN_ACKED) << DESTINATION);
    clear_tcp(f, TCP_ACKS, SOURCE);
  } else if (has_tcp(f, TCP_SEEN, end) && !(opening && syn && ack))
    return !syn || (has_tcp(f, TCP_SYN, end) && p->seq == f->initial[end]);
  f->next[end] = segment_end(p);
  f->high[end] = f->next[end];
  set_tcp(f, TCP_SEEN, end);
  if (syn) {
    f->initial[end] = p->seq;
    set_tcp(f, TCP_SYN, end);
  }
  return 1;
}

// Notes what p brings. Returns whether the receiver is certain to take it: it
// begins no later than what is expected, and ends no earlier than what was
// acknowledged.
static __always_inline int advances(struct flow *f, const struct packet *p, __u32 end) {
  __u32 other = (end ^ 1) & 1;
  end &= 1;
  __u32 to = segment_end(p);
  __u32 fin = p->tcp_flags & TCP_FLAG_FIN_;
  if (is_after(p->seq, f->next[end])) {
    // After a gap. Whether the receiver has what is missing is told by its
    // acknowledgment, as is whether a FIN counts.
    if (to - f->next[end] > FARTHEST)
      return 0;
    if (is_after(to, f->high[end]))
      f->high[end] = to;
    if (fin && !has_tcp(f, TCP_FIN, end)) {
      f->fin[end] = to;
      set_tcp(f, TCP_FIN_AHEAD, end);
    }
    return 0;
  }
  if (has_tcp(f, TCP_ACKS, other) && is_after(f->acked[other], to))
    return 0; // all of it was acknowledged before
  if (is_after(to, f->next[end])) {
    f->next[end] = to;
    if (is_after(to, f->high[end]))
      f->high[end] = to;
  }
  if (has_tcp(f, TCP_FIN_AHEAD, end) && !is_after(f->fin[end] - 1, f->next[end])) {
    clear_tcp(f, TCP_FIN_AHEAD, end);
    if (f->next[end] == f->fin[end] - 1) { // the gap before it is closed
      f->next[end] = f->fin[end];
      set_tcp(f, TCP_FIN, end);
    }
  }
  // At the end of what was sent, and nowhere else.
  if (fin && to == f->next[end]) {
    f->fin[end] = to;
    set_tcp(f, TCP_FIN, end);
  }
  return 1;
}

// Takes an acknowledgment sent by `end`. Returns 0 for one of what the other
// never sent.
static __always_inline int acknowledges(struct flow *f, __u32 ack, __u32 end) {
  __u32 other = (end ^ 1) & 1;
  end &= 1;
  if (has_tcp(f, TCP_SEEN, other)) {
    if (is_after(ack, f->high[other]))
      return 0;
    if (is_after(ack, f->next[other])) {
      f->next[other] = ack; // what was not seen, or not in order, has come
      if (has_tcp(f, TCP_FIN_AHEAD, other) && !is_after(f->fin[other], ack)) {
        clear_tcp(f, TCP_FIN_AHEAD, other);
        if (ack == f->fin[other])
          set_tcp(f, TCP_FIN, other);
      }
    }
  }
  if ((f->tcp & TCP_RIVAL_ANSWER) && end == SOURCE && ack == f->initial[DESTINATION] + 1)
    clear_bits(&f->tcp, TCP_RIVAL_ANSWER);
  // Never back: a stale one would let an RST at its number through.
  if (!has_tcp(f, TCP_ACKS, end) || is_after(ack, f->acked[end])) {
    f->acked[end] = ack;
    set_tcp(f, TCP_ACKS, end);
  }
  if (has_tcp(f, TCP_FIN, other) && !is_after(f->fin[other], ack))
    set_tcp(f, TCP_FIN_ACKED, other);
  return 1;
}

// Takes p, sent by `end`, into account. Returns the end reason where it closes the
// connection, else END_NONE.
static __always_inline int track(struct flow *f, const struct packet *p, __u32 end) {
  if (p->is_later_fragment || has_odd_flags(p))
    return END_NONE;
  if (p->tcp_flags & TCP_FLAG_RST_) {
    if (!resets(f, p, end))
      return END_NONE;
    set_tcp(f, TCP_RESET, end);
    return END_RST;
  }
  if (!begins(f, p, end))
    return END_NONE;
  if (p->payload_bytes)
    set_bits(&f->tcp, TCP_DATA);
  if (!advances(f, p, end) || !(p->tcp_flags & TCP_FLAG_ACK_) || !acknowledges(f, p->ack, end))
    return END_NONE;
  if (end == DESTINATION)
    set_bits(&f->tcp, TCP_ANSWERED);
  return (f->tcp & (TCP_FIN_ACKED * 3)) == TCP_FIN_ACKED * 3 ? END_FIN : END_NONE;
}

// The same for callers that are in all four programs. Not static, so that the
// verifier looks at it once.
__noinline int track_tcp(struct flow *f, const struct packet *p, __u32 end) {
  return f && p ? track(f, p, end) : END_NONE;
}

// Remembers the SYN of a connection whose packets are dropped, so that its
// retransmissions are known.
static __always_inline void note_blocked(struct flow *f, const struct packet *p, __u32 end) {
  if (p->is_later_fragment || has_tcp(f, TCP_SEEN, end) ||
      (p->tcp_flags & (TCP_FLAG_SYN_ | TCP_FLAG_ACK_ | TCP_FLAG_RST_)) != TCP_FLAG_SYN_ ||
      has_odd_flags(p))
    return;
  begins(f, p, end);
}

#endif
