// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// IP headers of answers.
#ifndef WEIR_ANSWER_IP_H
#define WEIR_ANSWER_IP_H

#include "packet.h"

enum { ANSWER_TTL = 64 };

static __always_inline __u16 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

static __always_inline int write_ipv4(struct __sk_buff *skb, __u32 l3, __u32 source,
                                      __u32 destination, __u8 protocol, __u32 payload) {
  struct iphdr ip = {
      .version = 4,
      .ihl = 5,
      .tot_len = bpf_htons(sizeof(ip) + payload),
      .frag_off = bpf_htons(0x4000), // DF
      .ttl = ANSWER_TTL,
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
      .hop_limit = ANSWER_TTL,
  };
  __builtin_memcpy(&ip.saddr, source, 16);
  __builtin_memcpy(&ip.daddr, destination, 16);
  return bpf_skb_store_bytes(skb, l3, &ip, sizeof(ip), 0);
}

#endif
