// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Connections whose packets wait in user space until it knows what the policy asks
// for (hold.c): which, and whether anybody reads.
#ifndef WEIR_HOLD_STATE_H
#define WEIR_HOLD_STATE_H

#include "maps.h"
#include "tcp_state.h"

enum hold_flags {
  HOLD_ON = 1 << 0,      // what needs facts is held, and what cannot be is answered by on_error
  HOLD_OPENING = 1 << 1, // from the first packet on, whatever it carries
  // The device has superpackets of UDP cut before they come to it: each datagram comes
  // back by itself.
  HOLD_CUTS_UDP = 1 << 2,
};

// Written by user space alone.
struct hold_state {
  __u64 alive; // CLOCK_MONOTONIC, ns: when user space last said that it reads
  // The index of the TAP device; 0: none. Where there are several, those that follow it are
  // the others.
  __u32 device;
  __u32 queues; // how many there are
  __u32 flags;
  __u32 mark; // of what comes back to an ingress hook, within the mask
  __u32 mask;
  // CLOCK_MONOTONIC, ns: a TCP connection that is first seen in the middle before then
  // was open when Weir first attached.
  __u64 open_until;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct hold_state);
} holds SEC(".maps");

enum {
  // Nobody reads who has not said so for this long: on_error.agent_down.
  HOLD_TIMEOUT_NS = 1000000000,
  // How long packets that are away are not overtaken by later ones.
  DRAIN_NS = 250000000,
};

static __always_inline struct hold_state *hold_state(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&holds, &zero);
}

// Whether a connection of which the first packet was just seen began before Weir.
static __always_inline __u32 was_open_before(const struct flow *f, __u8 protocol) {
  struct hold_state *h = hold_state();
  return h && protocol == IPPROTO_TCP && f->first < h->open_until &&
         !(f->flags & (FLOW_OWN | FLOW_LOOPBACK));
}

static __always_inline __u32 is_holding(void) {
  struct hold_state *h = hold_state();
  return h && (h->flags & HOLD_ON);
}

static __always_inline __u32 holds_openings(void) {
  struct hold_state *h = hold_state();
  return h && (h->flags & HOLD_OPENING);
}

// The device by which a connection's packets go: all of them by one, whose reader sees them
// in their order. The id is drawn at random.
static __always_inline __u32 device_of(const struct hold_state *h, __u64 id) {
  __u32 queues = h->queues;
  return h->device + (queues > 1 ? (__u16)id % queues : 0);
}

static __always_inline __u32 is_read(const struct hold_state *h, __u64 now) {
  return h->device && now < *(volatile __u64 *)&h->alive + HOLD_TIMEOUT_NS;
}

// Whether the packet comes from the TAP device, where only what user space wrote
// for a connection that is held gets past hold_return(). A device that is given the
// index of one that is gone does not count.
static __always_inline __u32 is_from_hold(struct __sk_buff *skb) {
  struct hold_state *h = skb->ingress_ifindex ? hold_state() : NULL;
  return h && skb->ingress_ifindex - h->device < h->queues && is_read(h, bpf_ktime_get_ns());
}

// The stack forgets where a packet that is handed to it came from: a mark says so,
// and counts only on a connection that is held.
static __always_inline __u32 has_hold_mark(struct __sk_buff *skb) {
  struct hold_state *h = skb->mark ? hold_state() : NULL;
  return h && h->mask && (skb->mark & h->mask) == h->mark;
}

// Whether a connection that p opens is held, should the policy need facts of it.
// `accepted`: p is the answer to a SYN that was seen. What has begun unseen is not,
// nor what a loopback carries: its packets lose their route on the way.
static __always_inline __u32 may_hold(const struct packet *p, const struct flow *f,
                                      __u32 accepted) {
  struct hold_state *h = hold_state();
  if (!h || !(h->flags & HOLD_ON) || MUTANT(NOT_HELD) || p->is_later_fragment ||
      (f->flags & (FLOW_OWN | FLOW_LOOPBACK)))
    return 0;
  if (p->protocol == IPPROTO_TCP)
    return accepted || opens(p);
  return p->protocol == IPPROTO_UDP || (h->flags & HOLD_OPENING);
}

// Whether user space may know what a new policy asks for of a connection that was let pass
// before, and of which the packets alone do not tell: they wait for its word, as they did
// when the connection opened. What on_error says of facts that were not seen is its word, too.
static __noinline __attribute__((unused)) int may_be_known(const struct flow *f, __u8 protocol) {
  struct hold_state *h = hold_state();
  return h && is_read(h, bpf_ktime_get_ns()) && (f->verdict == ALLOWED || f->verdict == DETECTED) &&
         (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) &&
         !(f->flags & (FLOW_OWN | FLOW_LOOPBACK)) && !MUTANT(NOT_AWAITED);
}

#endif
