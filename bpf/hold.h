// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What goes through user space, and what passes it by.
#ifndef WEIR_HOLD_H
#define WEIR_HOLD_H

#include "hold_state.h"
#include "judge.h"
#include "look_state.h"
#include "mirror.h"
#include "workspace.h"

// What a packet carries on its way through user space in place of its MAC
// addresses, which stay in the kernel: whose it is, and where it was taken out.
struct hold_handle {
  __u64 id;    // of the flow
  __u32 where; // ifindex << 8 | enum handle_flags
} __attribute__((packed));

enum handle_flags {
  HANDLE_DESTINATION = 1 << 0, // sent by the destination, else the source
  HANDLE_EGRESS = 1 << 1,
  HANDLE_BARE = 1 << 2, // the device has no MAC addresses
  // Set by user space.
  HANDLE_DROPPED = 1 << 3, // it is only to be known that it is not away any more
  HANDLE_TURNED = 1 << 4,  // it goes to the sender
  HANDLE_PART = 1 << 5,    // the beginning of a packet that is still away
};

// Named here so that the compiler describes them to the Go bindings.
const struct hold_handle *type_hold_handle __attribute__((unused));
const enum handle_flags *type_handle_flags __attribute__((unused));

enum { HANDLE_BYTES = sizeof(struct hold_handle), MAX_HANDLED = 1 << 24 };

// What on_error says of a packet that cannot be judged now. The connection stays
// undecided.
static __always_inline int answer_by(const struct flow *f, __u32 cause, __u32 passed,
                                     __u32 dropped) {
  __u32 slot = slot_of(f->tables);
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  if (set && set->on_error[cause] == ALLOW) {
    count(passed);
    return PASS;
  }
  count(dropped);
  return TC_ACT_SHOT;
}

// Lets a connection go: nothing more of it is held.
static __always_inline void let_go(const struct flow_key *k, struct flow *f) {
  clear_bits(&f->flags, FLOW_HELD);
  bpf_map_delete_elem(&looks, k);
}

// Makes an entry. By itself, for its stack is not to be that of the caller.
static __noinline int make_look(const struct flow_key *k, __u64 id) {
  struct look fresh = {.id = id};
  return bpf_map_update_elem(&looks, k, &fresh, BPF_ANY);
}

// The entry that keeps what its packets lose on their way; NULL where there is no
// room for more.
static __always_inline struct look *held_look(const struct flow_key *k, const struct flow *f) {
  struct look *l = bpf_map_lookup_elem(&looks, k);
  if (l && l->id == f->id)
    return l;
  if (make_look(k, f->id))
    return NULL;
  return bpf_map_lookup_elem(&looks, k);
}

// Sends the packet to user space. Returns what the program is to return.
static __always_inline int hand_over(struct __sk_buff *skb, struct flow *f, struct look *l,
                                     const struct packet *p, __u32 end, __u32 egress,
                                     const struct hold_state *h) {
  struct hold_handle handle = {
      .id = f->id,
      .where = skb->ifindex << 8 | (end ? HANDLE_DESTINATION : 0) | (egress ? HANDLE_EGRESS : 0),
  };
  end &= 1;
  l->mark[end] = skb->mark;
  l->priority[end] = skb->priority;
  __u32 failed = skb->ifindex >= MAX_HANDLED;
  if (p->network) {
    failed = failed || bpf_skb_load_bytes(skb, 0, l->macs[end], 12) ||
             bpf_skb_store_bytes(skb, 0, &handle, HANDLE_BYTES, 0);
  } else {
    __be16 type = skb->protocol;
    handle.where |= HANDLE_BARE;
    failed = failed || bpf_skb_change_head(skb, ETH_HLEN, 0) ||
             bpf_skb_store_bytes(skb, 0, &handle, HANDLE_BYTES, 0) ||
             bpf_skb_store_bytes(skb, HANDLE_BYTES, &type, 2, 0);
  }
  if (failed) {
    count(COUNT_HOLD_FAILED);
    return TC_ACT_SHOT;
  }
  __u32 are_cut = p->protocol == IPPROTO_UDP && (h->flags & HOLD_CUTS_UDP);
  __sync_fetch_and_add(&l->away, are_cut ? p->packets : 1);
  count(COUNT_HELD);
  return bpf_redirect(device_of(h, f->id), 0);
}

// Whether p passes and user space is to have a copy: nothing that the destination says
// is judged by the policy in force, and it overtakes nothing. Of what is long only the
// beginning does; the rest comes as fast as user space can take it.
static __always_inline __u32 is_answer(const struct flow *f, const struct look *l,
                                       const struct packet *p, __u32 end, __u32 drains) {
  return l && l->answers_by && end == DESTINATION && !drains && l->credit[DESTINATION] > 0 &&
         f->verdict == ALLOWED && p->payload_bytes <= MAX_PARTS * PART_BYTES &&
         (l->answers_by == f->tables || MUTANT(ANSWERS_ANY_TABLES));
}

// Lets p pass, with a copy to user space. Returns what the program is to return: what user
// space cannot have a copy of is dropped, and sent again, for it not to miss any.
static __always_inline int pass_answer(struct __sk_buff *skb, const struct flow_key *k,
                                       const struct flow *f, struct look *l,
                                       const struct packet *p) {
  struct part *part = part_at_hand();
  if (!part)
    return TC_ACT_SHOT;
  describe(&part->head, k, f, p, DESTINATION);
  if (send_payload(skb, part, p)) {
    count(COUNT_HELD_COPY_FAILED);
    return TC_ACT_SHOT;
  }
  __sync_fetch_and_sub(&l->credit[DESTINATION], p->payload_bytes);
  count(COUNT_HELD_COPIED);
  return PASS;
}

// Tells user space of p, which lies in a window, where half of that is used. Where there is
// no room to say so now, the next packet does.
static __always_inline void ask_renewal(struct __sk_buff *skb, const struct flow_key *k,
                                        const struct flow *f, struct look *l,
                                        const struct packet *p, __u32 end) {
  __u32 bit = 1u << (end & 1);
  struct part *part = part_at_hand();
  if (!l || !part || !(l->renews & bit) || !p->payload_bytes)
    return;
  __u64 window = *(volatile __u64 *)&l->window[end & 1];
  if (p->seq - (__u32)(window >> 32) < (__u32)window / 2 ||
      !(__sync_fetch_and_and(&l->renews, ~bit) & bit))
    return;
  describe(&part->head, k, f, p, end);
  part->head.missing = p->payload_bytes;
  if (send_part(skb, 0, 0))
    __sync_fetch_and_or(&l->renews, bit);
}

// Whether p may pass although its connection is held: it has nothing that could be
// judged, or lies where nothing is looked for and overtakes nothing.
static __always_inline __u32 passes_by(const struct flow *f, const struct look *l,
                                       const struct packet *p, __u32 end, __u32 drains,
                                       __u32 from_opening) {
  if (p->protocol != IPPROTO_TCP)
    return 0;
  __u32 syn = p->tcp_flags & TCP_FLAG_SYN_;
  if (!p->payload_bytes) {
    if (drains && (p->tcp_flags & TCP_FLAG_FIN_))
      return 0;
    return !(syn && from_opening && f->verdict == PENDING);
  }
  if (!l || drains)
    return 0;
  if (MUTANT(HELD_WINDOW))
    return 0;
  __u32 seq = p->seq + !!syn;
  if (MUTANT(HELD_RESENT) && (__s32)(seq - (__u32)(l->window[end & 1] >> 32)) < 0)
    return 1;
  return passes_window(l, end, seq, p->payload_bytes);
}

// What p, with payload, is to the sequence numbers of its connection: where it is none
// of them, whoever takes it has another connection on the tuple than is known here.
enum place {
  IN_PLACE,
  UNANSWERED,   // nobody has agreed to the numbers yet
  BEHIND_END,   // the connection is over
  ACKNOWLEDGED, // it is over, and its receiver has it
};

static __always_inline enum place place_of(const struct flow *f, const struct packet *p,
                                           __u32 end) {
  __u32 other = (end ^ 1) & 1;
  if (p->protocol != IPPROTO_TCP || !p->payload_bytes || MUTANT(HELD_ANYWHERE))
    return IN_PLACE;
  if (f->flags & FLOW_CLOSED)
    return has_tcp(f, TCP_ACKS, other) && !is_after(segment_end(p), f->acked[other]) ? ACKNOWLEDGED
                                                                                     : BEHIND_END;
  return (p->tcp_flags & TCP_FLAG_SYN_) || is_agreed(f) ? IN_PLACE : UNANSWERED;
}

// Says what becomes of p, which `end` sent.
static __always_inline int hold_packet(struct __sk_buff *skb, struct workspace *w,
                                       const struct flow_key *k, struct flow *f,
                                       const struct packet *p, __u32 end) {
  struct hold_state *h = hold_state();
  if (!h || (w->arrival & ARRIVES_CANDIDATE))
    return PASS;
  __u64 now = p->time;
  struct look *l = bpf_map_lookup_elem(&looks, k);
  if (l && l->id != f->id)
    l = NULL;
  barrier_var(l); // else the verifier is shown a look at what may be NULL
  __u32 reads = is_read(h, now);
  // While nobody reads, nothing comes back that could be overtaken.
  __u32 drains = reads && l && *(volatile __u32 *)&l->away && now < l->drain_until;
  if (l && l->done && !drains) {
    let_go(k, f);
    return PASS;
  }
  if (p->is_fragment)
    return answer_by(f, CAUSE_MALFORMED, COUNT_HELD_FRAGMENT_PASSED, COUNT_HELD_FRAGMENT_DROPPED);
  switch (place_of(f, p, end)) {
  case UNANSWERED:
    return answer_by(f, CAUSE_NOT_SEEN, COUNT_HELD_UNANSWERED_PASSED,
                     COUNT_HELD_UNANSWERED_DROPPED);
  case BEHIND_END:
    count(COUNT_HELD_OVER_DROPPED);
    return TC_ACT_SHOT;
  case ACKNOWLEDGED:
    return PASS;
  default:
    break;
  }
  if (passes_by(f, l, p, end, drains, h->flags & HOLD_OPENING)) {
    ask_renewal(skb, k, f, l, p, end);
    return PASS;
  }
  if (!reads) {
    int answer = answer_by(f, CAUSE_AGENT_DOWN, COUNT_AGENT_DOWN_PASSED, COUNT_AGENT_DOWN_DROPPED);
    // Whoever reads next is to know that this is not the beginning any more.
    if (answer == PASS && end == SOURCE)
      set_bits(&f->flags, FLOW_UNREAD);
    return answer;
  }
  if (is_answer(f, l, p, end, drains))
    return pass_answer(skb, k, f, l, p);
  l = held_look(k, f);
  if (!l) {
    count(COUNT_LOOKS_FULL);
    clear_bits(&f->flags, FLOW_HELD);
    w->cause = REASON_OVERLOAD;
    judge_again(k, f, now);
    w->cause = 0;
    return f->flags & FLOW_DROP || f->verdict == PENDING ? TC_ACT_SHOT : PASS;
  }
  return hand_over(skb, f, l, p, end, w->arrival & ARRIVES_EGRESS, h);
}

#endif
