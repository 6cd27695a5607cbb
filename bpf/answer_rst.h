// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// TCP segments that carry nothing but RST.
#ifndef WEIR_ANSWER_RST_H
#define WEIR_ANSWER_RST_H

#include <stddef.h>

#include "answer_ip.h"
#include "tcp_state.h"

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

#endif
