//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The firewall proper: every packet of a watched interface, in and out.
// Needs bpf_loop (Linux 5.17), map iteration by callback (5.13).
//
// One lookup finds the connection; its entry says what becomes of the packet.
// Only a connection's first packet, and the first after a change of policy,
// walks the rules.
#include <linux/types.h>
#include <stddef.h>

#include "clock.h"
#include "counters.h"
#include "flow.h"
#include "handover.h"
#include "hold_state.h"
#include "judge.h"
#include "key.h"
#include "life.h"
#include "look_state.h"
#include "maps.h"
#include "mutant.h"
#include "packet.h"
#include "related.h"
#include "reject.h"
#include "reopen.h"
#include "settle.h"
#include "sweep.h"
#include "tcp_state.h"
#include "tell.h"
#include "transport.h"
#include "types.h"
#include "workspace.h"

// Whether a connection that the policy cuts is reset, or falls silent.
static __always_inline int resets_cut(const struct flow *f) {
  __u32 slot = slot_of(f->tables);
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  return (f->flags & FLOW_REJECT) || (set && set->reject_mode != REJECT_NEVER);
}

static __always_inline int blocked(struct __sk_buff *skb, __u32 l2, const struct flow_key *k,
                                   struct flow *f, const struct packet *p, __u32 egress,
                                   __u64 now) {
  // Why it is cut is known before it ends only of one that was let pass.
  __u32 was_open = f->end != END_NONE;
  if (was_open && !(f->flags & FLOW_CLOSED) && (f->tcp & TCP_DATA) && resets_cut(f)) {
    tell_due(k, f);
    // The packet itself is made the two resets, which an RST or a fragment cannot
    // be: the next one is.
    if (p->is_later_fragment || (p->tcp_flags & TCP_FLAG_RST_))
      return TC_ACT_SHOT;
    set_bits(&f->flags, FLOW_CLOSED);
    tell_due(k, f);
    // The receiver was not given this packet: its first byte is what it expects.
    return reset_both(skb, l2, p, egress, p->seq);
  }
  if (!(f->flags & FLOW_REJECT)) {
    tell_due(k, f);
    return TC_ACT_SHOT;
  }
  if (p->protocol == IPPROTO_TCP)
    close_flow(f, cut_reason(f));
  tell_due(k, f);
  return reject(skb, l2, p, egress, now);
}

static __always_inline int undecodable(int why) {
  __u32 slot = slot_of(current_tables(bpf_ktime_get_ns()));
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  __u32 prevent = set && set->prevent;
  __u32 drop = 0;
  switch (why) {
  case NOT_IP:
    drop = prevent && set->block_non_ip;
    count(drop ? COUNT_NON_IP_DROPPED : COUNT_NON_IP);
    break;
  case ORPHAN:
    drop = prevent && set->block_malformed;
    count(drop ? COUNT_FRAGMENT_DROPPED : COUNT_FRAGMENT_ORPHAN);
    break;
  default:
    drop = prevent && set->block_malformed;
    count(drop ? COUNT_MALFORMED_DROPPED : COUNT_MALFORMED);
  }
  return drop ? TC_ACT_SHOT : PASS;
}

// Counts the packet on its connection, and takes it into the TCP state. Returns
// whether it is the packet's first sighting.
static __always_inline int note_packet(struct __sk_buff *skb, const struct flow_key *k,
                                       struct flow *f, const struct packet *p, __u32 arrival) {
  __u64 now = p->time;
  __u32 candidate = arrival & ARRIVES_CANDIDATE;
  __u32 end = arrival & ARRIVES_FROM_DESTINATION ? DESTINATION : SOURCE;
  __u32 counted =
      !is_follower(skb, f, end, arrival & ARRIVES_EGRESS, arrival & ARRIVES_JUDGED, now);
  __u64 last = f->last;
  if (counted) {
    f->last = now;
    if (!MUTANT(ONE_SIDED) || end == SOURCE) {
      __sync_fetch_and_add(&f->packets[end], p->packets);
      __sync_fetch_and_add(&f->bytes[end], p->bytes);
    }
    count_traffic(f, p->protocol, end, p->packets, p->bytes);
    if (f->flags & FLOW_END_TOLD)
      count(COUNT_LATE);
  }
  if (p->protocol != IPPROTO_TCP) {
    if (counted)
      settle(f, p->protocol, end);
    return counted;
  }
  struct candidate *c = candidate || !counted ? NULL : candidate_of(k, f);
  if (c)
    c->last_own = now;
  if (candidate) {
    note_candidate(k, f, p, end | (counted ? CANDIDATE_COUNTED : 0), last);
  } else if (f->flags & FLOW_DROP) {
    note_blocked(f, p, end);
  } else if (counted && !p->is_later_fragment) {
    int why = track(f, p, end);
    // What was on its way to the end that reset it is still to come.
    if (why == END_RST && (f->tcp & TCP_DATA) && !(f->flags & FLOW_CLOSED))
      set_bits(&f->flags, FLOW_LINGERS);
    if (why)
      close_flow(f, why);
    settle(f, p->protocol, end);
  }
  return counted && !candidate;
}

// Goes on to the program that copies the packet, or hands it to user space, where
// there is one.
static __always_inline void go_on_to(struct __sk_buff *skb, struct workspace *w, __u32 stage,
                                     const struct flow_key *k, __u32 arrival) {
  w->key = *k;
  w->arrival = arrival;
  bpf_tail_call(skb, &stages, stage);
}

// Whether the stack shows the device what it has taken from one beneath it.
static __always_inline __u32 is_above(const struct packet *p, __u32 interface) {
  __u32 zone = interface & INTERFACE_ZONE;
  return (interface & (INTERFACE_BRIDGE | INTERFACE_LOOPBACK)) ||
         (zone && !is_vrf(zone) && !p->is_tagged);
}

// Judges the connection at hand anew, of which facts cannot be had since the table
// is full. Returns whether it is dropped.
static __always_inline __u32 judge_untracked(const struct flow_key *k, struct workspace *w,
                                             __u64 now) {
  if (!(w->flow.flags & FLOW_HELD))
    return w->flow.flags & FLOW_DROP;
  w->flow.flags &= ~FLOW_HELD;
  w->cause = REASON_OVERLOAD;
  int failed = judge_flow(k, &w->flow, now);
  w->cause = 0;
  return failed || (w->flow.flags & FLOW_DROP);
}

// A SYN that is to be dropped, on a tuple that a follower has, or a connection in the
// other direction: it is told of, and leaves these be. Whoever guesses a port would else
// cut them.
static __always_inline int drop_beside(struct __sk_buff *skb, __u32 l2, const struct flow_key *k,
                                       struct flow *f, const struct packet *p, __u32 egress,
                                       __u64 now) {
  count_judgement(k, f);
  f->packets[SOURCE] = p->packets;
  f->bytes[SOURCE] = p->bytes;
  count_traffic(f, p->protocol, SOURCE, p->packets, p->bytes);
  close_flow(f, END_BLOCKED);
  tell_due(k, f);
  return f->flags & FLOW_REJECT ? reject(skb, l2, p, egress, now) : TC_ACT_SHOT;
}

static __always_inline int handle(struct __sk_buff *skb, __u32 l2, __u32 egress) {
  __u32 interface = interface_of(skb->ifindex);
  if (reject_mark && skb->mark == reject_mark) {
    // Our own answer on its way to the sender, which over loopback leads through
    // both hooks.
    if (!egress || !(interface & INTERFACE_LOOPBACK))
      skb->mark = 0;
    return PASS;
  }
  if (!egress && (interface & INTERFACE_BRIDGE) && skb->pkt_type == PACKET_OTHERHOST &&
      !MUTANT(FLOODED)) {
    // A bridge shows itself what it floods to all its ports; the stack drops it.
    count(COUNT_OTHER_HOST);
    return PASS;
  }
  if (egress && is_from_hold(skb))
    return PASS;
  __u32 judged = was_judged(skb, egress);
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return PASS;
  struct packet *p = &w->packet;
  __builtin_memset(p, 0, sizeof(*p));
  int decoded = decode(skb, l2, interface & INTERFACE_ZONE, egress, p);
  if (decoded == ARP)
    return PASS;
  if (decoded)
    return judged ? PASS : undecodable(decoded);

  struct flow_key k;
  __u32 sender_is_high = make_key(p, &k);
  // Before the error's own entry: one that quotes nothing known would else stand
  // in the way of those that do.
  if (p->icmp_error && is_related(skb, p)) {
    if (!judged)
      count(COUNT_RELATED_ICMP);
    return PASS;
  }
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  __u64 now = f && is_amid(f, p) ? recent_time(&w->clock, f->last) : exact_time(&w->clock);
  p->time = now;
  if (!f && judged && !MUTANT(NO_FOLLOWER)) {
    f = open_follower(&k, sender_is_high);
    if (!f)
      return PASS;
  }
  if (f && (f->flags & FLOW_RETURNS) && !egress && has_hold_mark(skb)) {
    go_on_to(
        skb, w, STAGE_HOLD, &k,
        ARRIVES_RETURNED |
            (sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? 0 : ARRIVES_FROM_DESTINATION));
    count(COUNT_HOLD_FAILED); // it was taken away just now
    return TC_ACT_SHOT;
  }
  __u32 followed = f && (f->flags & FLOW_FOLLOWER);
  if (followed && (judged || !opens(p)))
    return follow(&k, f, p, sender_is_high, now);

  int opening = CONTINUES;
  __u32 turned = 0;
  if (f && !followed) {
    __u32 end = sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? SOURCE : DESTINATION;
    if (judged) {
      if ((f->flags & FLOW_DROP) && is_turned_candidate(&k, f, p, end))
        return PASS; // it was let pass where it came in
    } else if (p->tcp_flags & TCP_FLAG_SYN_)
      opening = opening_of(&k, f, p, end);
    else if (resumes(f, p, end))
      opening = RESUMES;
    // It asks for a connection in the other direction, where other rules count.
    turned = opening == CANDIDATE && end == DESTINATION && !MUTANT(TURNED);
  }
  __u32 begins_anew = opening == REOPENS || opening == RESUMES;
  if (!f || followed || turned || begins_anew) {
    __builtin_memset(&w->inheritance, 0, sizeof(w->inheritance));
    if (begins_anew) {
      if (opening == REOPENS)
        disinherit(&k, f, p, &w->inheritance);
      close_flow(f, idle_reason(f));
      clear_bits(&f->flags, FLOW_LINGERS | FLOW_AWAITS);
      end_look(&k, f);
      if (tell_due(&k, f)) // the old one's end comes first
        return f->flags & FLOW_DROP ? TC_ACT_SHOT : PASS;
    }
    __u32 arrival = (egress ? ARRIVES_EGRESS : 0) | (sender_is_high ? ARRIVES_FROM_HIGH : 0);
    if (prepare_flow(skb, p, arrival, now))
      return PASS;
    if (f && opening == RESUMES)
      resume(&w->flow, f);
    __u32 accepted = w->inheritance.accepted || opening == RESUMES;
    if (opening != RESUMES && may_hold(p, &w->flow, accepted))
      w->flow.flags |= FLOW_HELD;
    if (judge_flow(&k, &w->flow, now))
      return PASS;
    if (w->flow.flags & FLOW_HELD) {
      if ((w->flow.flags & FLOW_PREVENT) && w->flow.reason == REASON_PENDING)
        w->flow.flags |= FLOW_RETURNS;
      else
        w->flow.flags &= ~FLOW_HELD;
    }
    __u32 drop = w->flow.flags & FLOW_DROP;
    if (!f && drop && in_handover(now)) {
      count(COUNT_HANDOVER_DROPPED);
      return TC_ACT_SHOT;
    }
    if ((followed || turned) && drop)
      return drop_beside(skb, l2, &k, &w->flow, p, egress, now);
    if (turned && (w->flow.flags & FLOW_HELD) && holds_openings()) {
      count(COUNT_SYN_DROPPED); // there is no entry to hold it by
      return TC_ACT_SHOT;
    }
    if (!turned) {
      opening = CONTINUES;
      if (!(w->flow.flags & FLOW_HELD) && wants_look(p, &w->flow, accepted))
        w->flow.flags |= FLOW_LOOKED;
      f = enter_flow(&k, &w->flow, f ? BPF_ANY : BPF_NOEXIST);
      if (!f) // the table is full: judged by itself
        return judge_untracked(&k, w, now) ? TC_ACT_SHOT : PASS;
    }
  }
  __u32 arrival = (egress ? ARRIVES_EGRESS : 0) | (judged ? ARRIVES_JUDGED : 0) |
                  (opening == CANDIDATE ? ARRIVES_CANDIDATE : 0);
  if (sender_is_high != !!(f->flags & FLOW_SOURCE_IS_HIGH))
    arrival |= ARRIVES_FROM_DESTINATION;
  if (!f->tables)
    f->ifindex = skb->ifindex; // taken over: this is its first packet
  if ((f->tables != current_tables(now) && !MUTANT(JUDGED_ONCE)) ||
      (f->judge_at && now >= f->judge_at))
    judge_again(&k, f, now);

  int counted = note_packet(skb, &k, f, p, arrival);
  // Devices that show again what another has let pass.
  __u32 seen_before = judged || (!egress && is_above(p, interface));
  if ((f->flags & FLOW_DROP) && !turned) {
    // The end of a connection that was cut, on its way to the other hook.
    if (seen_before && (f->flags & FLOW_CLOSED) && p->protocol == IPPROTO_TCP &&
        !p->payload_bytes && !p->is_later_fragment && (p->tcp_flags & TCP_FLAG_RST_))
      return PASS;
    return blocked(skb, l2, &k, f, p, egress, now);
  }
  if (opening == CANDIDATE && p->payload_bytes && (f->flags & FLOW_PREVENT) && is_holding()) {
    // A server that knows the client would take it before anybody has judged the
    // connection that the SYN wants. Without an answer it comes again without.
    count(COUNT_SYN_DROPPED);
    tell_if_due(&k, f);
    return TC_ACT_SHOT;
  }
  if ((f->flags & FLOW_HELD) && (counted || !seen_before)) {
    go_on_to(skb, w, STAGE_HOLD, &k, arrival);
    if (f->verdict == PENDING) {
      count(COUNT_HOLD_FAILED);
      tell_if_due(&k, f);
      return TC_ACT_SHOT;
    }
  }
  if ((f->flags & FLOW_LOOKED) && (counted || MUTANT(EVERY_SIGHTING)))
    go_on_to(skb, w, STAGE_LOOK, &k, arrival);
  tell_if_due(&k, f);
  return PASS;
}

// Two of each: devices with an Ethernet header and those without.
SEC("tc")
int ingress(struct __sk_buff *skb) { return handle(skb, ETH_HLEN, 0); }

SEC("tc")
int egress(struct __sk_buff *skb) { return handle(skb, ETH_HLEN, 1); }

SEC("tc")
int ingress_l3(struct __sk_buff *skb) { return handle(skb, 0, 0); }

SEC("tc")
int egress_l3(struct __sk_buff *skb) { return handle(skb, 0, 1); }

char _license[] SEC("license") = "Dual BSD/GPL";
