// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// ICMP "administratively prohibited".
#ifndef WEIR_ANSWER_ICMP_H
#define WEIR_ANSWER_ICMP_H

#include "answer_ip.h"

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
  ICMP_QUOTE = 28,   // IPv4 header and 8 bytes (RFC 792)
  ICMPV6_QUOTE = 48, // IPv6 header and 8 bytes
};

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

#endif
