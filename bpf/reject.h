// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Answers to whoever sent a blocked packet: the packet itself is made the
// answer and turned around. TCP gets RST (RFC 9293 section 3.10.7.1), the rest
// ICMP "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443
// section 3.1). Superpackets and clones are no matter: what is sent is new
// headers only.
#ifndef WEIR_REJECT_H
#define WEIR_REJECT_H

#include "counters.h"
#include "packet.h"
#include "tcp_state.h"

// <linux/icmp.h> needs the C library's headers.
struct icmp_error {
  __u8 type;
  __u8 code;
  __u16 checksum;
  __u32 unused;
};

enum {
  ICMP_DEST_UNREACH = 3,
  ICMP_PKT_FILTERED = 13,
  ICMPV6_DEST_UNREACH = 1,
  ICMPV6_ADM_PROHIBITED = 1,
};

enum {
  REJECT_BURST = 64,         // answers to one sender at once
  REJECT_EVERY_NS = 5000000, // and then one in 5 ms
  ICMP_QUOTE = 28,           // IPv4 header and 8 bytes (RFC 792)
  ICMPV6_QUOTE = 48,         // IPv6 header and 8 bytes
  REJECT_TTL = 64,
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

static __always_inline __u16 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

static __always_inline void swap_macs(struct __sk_buff *skb) {
  __u8 macs[12], turned[12];
  if (bpf_skb_load_bytes(skb, 0, macs, 12))
    return;
  __builtin_memcpy(turned, macs + 6, 6);
  __builtin_memcpy(turned + 6, macs, 6);
  bpf_skb_store_bytes(skb, 0, turned, 12, 0);
}

// A segment that carries nothing but flags.
struct rst {
  __u32 source[4];
  __u32 destination[4];
  __u16 source_port;
  __u16 destination_port;
  __u32 seq;
  __u32 ack;
  __u8 flags;
};

static __always_inline __u64 pseudo_sum(const struct rst *r, __u32 is_ipv6) {
  __u64 sum = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(struct tcphdr));
  if (is_ipv6) {
    for (int i = 0; i < 4; i++)
      sum += (__u64)r->source[i] + r->destination[i];
    return sum;
  }
  return sum + r->source[3] + r->destination[3];
}

// A packet whose checksum the device is to fill in (CHECKSUM_PARTIAL) must hold
// the sum of the pseudo header there, any other the whole checksum. The helper
// leaves the field of the first kind alone when told of a change that is not in
// the pseudo header, and so tells them apart.
static __always_inline int checksum_is_partial(struct __sk_buff *skb, __u32 field) {
  __u16 probe = 0x1234, read = 0;
  if (bpf_skb_store_bytes(skb, field, &probe, 2, 0))
    return 0;
  bpf_l4_csum_replace(skb, field, 0, 0x4321, 2);
  if (bpf_skb_load_bytes(skb, field, &read, 2))
    return 0;
  return read == probe;
}

static __always_inline int write_ipv4(struct __sk_buff *skb, __u32 l3, __u32 source,
                                      __u32 destination, __u8 protocol, __u32 payload) {
  struct iphdr ip = {
      .version = 4,
      .ihl = 5,
      .tot_len = bpf_htons(sizeof(ip) + payload),
      .frag_off = bpf_htons(0x4000), // DF
      .ttl = REJECT_TTL,
      .protocol = protocol,
      .saddr = source,
      .daddr = destination,
  };
  ip.check = ~fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
  return bpf_skb_store_bytes(skb, l3, &ip, sizeof(ip), 0);
}

static __always_inline int write_ipv6(struct __sk_buff *skb, __u32 l3, const __u32 source[4],
                                      const __u32 destination[4], __u8 protocol, __u32 payload) {
  struct ipv6hdr ip = {
      .version = 6,
      .payload_len = bpf_htons(payload),
      .nexthdr = protocol,
      .hop_limit = REJECT_TTL,
  };
  __builtin_memcpy(&ip.saddr, source, 16);
  __builtin_memcpy(&ip.daddr, destination, 16);
  return bpf_skb_store_bytes(skb, l3, &ip, sizeof(ip), 0);
}

// Makes the packet the segment r. Returns 0, or -1 where it could not be done.
static __always_inline int write_rst(struct __sk_buff *skb, __u32 l3, __u32 is_ipv6,
                                     const struct rst *r) {
  __u32 l4 = l3 + (is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
  if (bpf_skb_change_tail(skb, l4 + sizeof(struct tcphdr), 0))
    return -1;
  struct tcphdr tcp = {
      .source = r->source_port,
      .dest = r->destination_port,
      .seq = bpf_htonl(r->seq),
      .ack_seq = bpf_htonl(r->ack),
      .doff = sizeof(tcp) / 4,
  };
  ((__u8 *)&tcp)[13] = r->flags;
  __u64 pseudo = pseudo_sum(r, is_ipv6);
  if (checksum_is_partial(skb, l4 + offsetof(struct tcphdr, check)))
    tcp.check = fold(pseudo);
  else
    tcp.check = ~fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&tcp, sizeof(tcp), 0) + pseudo);
  int failed = is_ipv6
                   ? write_ipv6(skb, l3, r->source, r->destination, IPPROTO_TCP, sizeof(tcp))
                   : write_ipv4(skb, l3, r->source[3], r->destination[3], IPPROTO_TCP, sizeof(tcp));
  if (failed)
    return -1;
  return bpf_skb_store_bytes(skb, l4, &tcp, sizeof(tcp), BPF_F_INVALIDATE_HASH);
}

// The RST that p's sender takes for its peer's.
static __always_inline void rst_to_sender(struct rst *r, const struct packet *p) {
  __builtin_memcpy(r->source, p->destination, 16);
  __builtin_memcpy(r->destination, p->source, 16);
  r->source_port = p->destination_port;
  r->destination_port = p->source_port;
  if (p->tcp_flags & TCP_FLAG_ACK_) {
    r->seq = p->ack;
    r->ack = 0;
    r->flags = TCP_FLAG_RST_;
  } else {
    r->seq = 0;
    r->ack = segment_end(p);
    r->flags = TCP_FLAG_RST_ | TCP_FLAG_ACK_;
  }
}

// The RST that p's receiver takes for its peer's.
static __always_inline void rst_to_receiver(struct rst *r, const struct packet *p, __u32 seq) {
  __builtin_memcpy(r->source, p->source, 16);
  __builtin_memcpy(r->destination, p->destination, 16);
  r->source_port = p->source_port;
  r->destination_port = p->destination_port;
  r->seq = seq;
  r->ack = p->ack;
  r->flags = TCP_FLAG_RST_ | (p->tcp_flags & TCP_FLAG_ACK_);
}

static __always_inline int answer_icmp4(struct __sk_buff *skb, __u32 l3, const struct packet *p) {
  struct {
    struct icmp_error icmp;
    __u8 quote[ICMP_QUOTE];
  } body = {.icmp = {.type = ICMP_DEST_UNREACH, .code = ICMP_PKT_FILTERED}};
  if (bpf_skb_change_tail(skb, l3 + ICMP_QUOTE, 0))
    return -1;
  if (bpf_skb_load_bytes(skb, l3, body.quote, ICMP_QUOTE))
    return -1;
  if (bpf_skb_adjust_room(skb, sizeof(struct iphdr) + sizeof(struct icmp_error), BPF_ADJ_ROOM_MAC,
                          0))
    return -1;
  body.icmp.checksum = ~fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&body, sizeof(body), 0));
  if (write_ipv4(skb, l3, p->destination[3], p->source[3], IPPROTO_ICMP, sizeof(body)))
    return -1;
  return bpf_skb_store_bytes(skb, l3 + sizeof(struct iphdr), &body.icmp, sizeof(body.icmp),
                             BPF_F_INVALIDATE_HASH);
}

static __always_inline int answer_icmp6(struct __sk_buff *skb, __u32 l3, const struct packet *p) {
  struct {
    struct icmp_error icmp;
    __u8 quote[ICMPV6_QUOTE];
  } body = {.icmp = {.type = ICMPV6_DEST_UNREACH, .code = ICMPV6_ADM_PROHIBITED}};
  if (bpf_skb_change_tail(skb, l3 + ICMPV6_QUOTE, 0))
    return -1;
  if (bpf_skb_load_bytes(skb, l3, body.quote, ICMPV6_QUOTE))
    return -1;
  if (bpf_skb_adjust_room(skb, sizeof(struct ipv6hdr) + sizeof(struct icmp_error), BPF_ADJ_ROOM_MAC,
                          0))
    return -1;
  __u64 sum = bpf_htons(IPPROTO_ICMPV6) + bpf_htons(sizeof(body));
  for (int i = 0; i < 4; i++)
    sum += (__u64)p->source[i] + p->destination[i];
  sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&body, sizeof(body), 0);
  body.icmp.checksum = ~fold(sum);
  if (write_ipv6(skb, l3, p->destination, p->source, IPPROTO_ICMPV6, sizeof(body)))
    return -1;
  return bpf_skb_store_bytes(skb, l3 + sizeof(struct ipv6hdr), &body.icmp, sizeof(body.icmp),
                             BPF_F_INVALIDATE_HASH);
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
  if (bpf_clone_redirect(skb, skb->ifindex, egress ? BPF_F_INGRESS : 0))
    count(COUNT_REJECT_FAILED);
  else
    count(COUNT_REJECTED);
  rst_to_receiver(&r, p, seq);
  if (l2)
    swap_macs(skb);
  skb->mark = mark;
  if (write_rst(skb, l3, p->is_ipv6, &r))
    return TC_ACT_SHOT;
  return PASS;
}

#endif
