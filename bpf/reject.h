// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Answers to whoever sent a blocked packet: the packet itself is made the
// answer and turned around. TCP gets RST (RFC 9293 section 3.10.7.1), the rest
// ICMP "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443
// section 3.1). Superpackets and clones are no matter: what is sent is new
// headers only.
#ifndef WEIR_REJECT_H
#define WEIR_REJECT_H

#include "answer_icmp.h"
#include "answer_rst.h"
#include "counters.h"
#include "packet.h"

enum {
  REJECT_BURST = 64,         // answers to one sender at once
  REJECT_EVERY_NS = 5000000, // and then one in 5 ms
};

struct reject_budget {
  __u64 refilled; // ns
  __u64 left;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 8192);
  __type(key, __u32[4]);
  __type(value, struct reject_budget);
} reject_budgets SEC(".maps");

static __always_inline int may_answer(const __u32 sender[4], __u64 now) {
  __u32 key[4] = {sender[0], sender[1], sender[2], sender[3]};
  struct reject_budget *b = bpf_map_lookup_elem(&reject_budgets, key);
  if (!b) {
    struct reject_budget fresh = {.refilled = now, .left = REJECT_BURST - 1};
    bpf_map_update_elem(&reject_budgets, key, &fresh, BPF_ANY);
    return 1;
  }
  __u64 more = (now - b->refilled) / REJECT_EVERY_NS;
  if (more) {
    b->refilled = now;
    b->left = b->left + more > REJECT_BURST ? REJECT_BURST : b->left + more;
  }
  if (!b->left)
    return 0;
  b->left -= 1;
  return 1;
}

static __always_inline void swap_macs(struct __sk_buff *skb) {
  __u8 macs[12], turned[12];
  if (bpf_skb_load_bytes(skb, 0, macs, 12))
    return;
  __builtin_memcpy(turned, macs + 6, 6);
  __builtin_memcpy(turned + 6, macs, 6);
  bpf_skb_store_bytes(skb, 0, turned, 12, 0);
}

// ICMP errors are never answered, nor what has no single sender (RFC 1122
// section 3.2.2).
static __always_inline int is_answerable(struct __sk_buff *skb, const struct packet *p) {
  if (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST)
    return 0;
  if (p->is_later_fragment || p->icmp_error)
    return 0;
  if (p->protocol == IPPROTO_TCP)
    return !(p->tcp_flags & TCP_FLAG_RST_);
  if (p->has_options || p->payload_bytes + p->payload - p->transport < 8)
    return 0; // the quote has a fixed size
  if (p->is_ipv6)
    return (p->destination[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000);
  __u32 first = bpf_ntohl(p->destination[3]) >> 24;
  return first < 224;
}

// Answers the sender of p. Returns what the program is to return.
__noinline int reject(struct __sk_buff *skb, __u32 l2, const struct packet *p, __u32 egress,
                      __u64 now) {
  if (!p || l2 > ETH_HLEN || !is_answerable(skb, p))
    return TC_ACT_SHOT;
  if (!may_answer(p->source, now)) {
    count(COUNT_REJECT_LIMITED);
    return TC_ACT_SHOT;
  }
  int failed = -1;
  __u32 l3 = p->network;
  if (l3 > MAX_NETWORK)
    return TC_ACT_SHOT;
  if (p->protocol == IPPROTO_TCP) {
    struct rst r = {};
    rst_to_sender(&r, p);
    failed = write_rst(skb, l3, p->is_ipv6, &r);
  } else if (l3 == l2) { // room is made right after the MAC header: not before tags
    failed = p->is_ipv6 ? answer_icmp6(skb, l2, p) : answer_icmp4(skb, l2, p);
  }
  if (failed) {
    count(COUNT_REJECT_FAILED);
    return TC_ACT_SHOT;
  }
  if (l2)
    swap_macs(skb);
  count(COUNT_REJECTED);
  skb->mark = reject_mark;
  // Loopback turns the packet around itself; redirected, it would lose its route
  // and be taken for a martian.
  if (egress && (interface_of(skb->ifindex) & INTERFACE_LOOPBACK))
    return PASS;
  return bpf_redirect(skb->ifindex, egress ? BPF_F_INGRESS : 0);
}

// Cuts a connection both ends believe in: a copy goes back to the sender, the
// packet itself goes on, each as an RST of the other end.
__noinline int reset_both(struct __sk_buff *skb, __u32 l2, const struct packet *p, __u32 egress,
                          __u32 seq) {
  struct rst r = {};
  if (!p || l2 > ETH_HLEN || p->is_later_fragment || (p->tcp_flags & TCP_FLAG_RST_))
    return TC_ACT_SHOT;
  __u32 l3 = p->network;
  if (l3 > MAX_NETWORK)
    return TC_ACT_SHOT;
  rst_to_sender(&r, p);
  if (write_rst(skb, l3, p->is_ipv6, &r)) {
    count(COUNT_REJECT_FAILED);
    return TC_ACT_SHOT;
  }
  __u32 mark = skb->mark;
  skb->mark = reject_mark;
  if (l2)
    swap_macs(skb);
  __u32 loops = egress && (interface_of(skb->ifindex) & INTERFACE_LOOPBACK);
  if (bpf_clone_redirect(skb, skb->ifindex, egress && !loops ? BPF_F_INGRESS : 0))
    count(COUNT_REJECT_FAILED);
  else
    count(COUNT_REJECTED);
  rst_to_receiver(&r, p, seq);
  if (l2)
    swap_macs(skb);
  skb->mark = loops ? reject_mark : mark;
  if (write_rst(skb, l3, p->is_ipv6, &r))
    return TC_ACT_SHOT;
  return PASS;
}

#endif
