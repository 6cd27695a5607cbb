// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// TCP, UDP and ICMP headers, and the packet as a whole.
#ifndef WEIR_TRANSPORT_H
#define WEIR_TRANSPORT_H

#include "fragment.h"
#include "network.h"
#include "packet.h"
#include "tunnel.h"

// RFC 9293 section 3.1. `end` is that of the packet.
static __always_inline int decode_tcp(struct __sk_buff *skb, struct packet *p, __u32 end) {
  struct tcphdr *tcp = bytes_at(skb, p->transport, sizeof(*tcp));
  if (!tcp || p->transport + sizeof(*tcp) > end || tcp->doff < 5)
    return MALFORMED;
  __u32 header = tcp->doff * 4;
  if (p->transport + header > end)
    return MALFORMED;
  p->source_port = tcp->source;
  p->destination_port = tcp->dest;
  p->seq = bpf_ntohl(tcp->seq);
  p->ack = bpf_ntohl(tcp->ack_seq);
  p->tcp_flags = ((__u8 *)tcp)[13];
  p->payload = p->transport + header;
  p->payload_bytes = end - p->payload;
  return DECODED;
}

// RFC 768. What the IP packet has beyond the UDP length is not payload.
static __always_inline int decode_udp(struct __sk_buff *skb, struct packet *p, __u32 end,
                                      __u32 is_fragment) {
  struct udphdr *udp = bytes_at(skb, p->transport, sizeof(*udp));
  if (!udp || p->transport + sizeof(*udp) > end)
    return MALFORMED;
  __u32 present = end - p->transport;
  __u32 length = bpf_ntohs(udp->len);
  if (!length && skb->gso_size)
    length = present; // a superpacket of more than 64 KiB
  if (length < sizeof(*udp))
    return MALFORMED;
  if (is_fragment)
    length = present; // the UDP length is the whole datagram's
  if (length > present)
    return MALFORMED;
  p->source_port = udp->source;
  p->destination_port = udp->dest;
  p->payload = p->transport + sizeof(*udp);
  p->payload_bytes = length - sizeof(*udp);
  return DECODED;
}

struct icmp_kind {
  __u8 type; // of a reply, the query's
  __u8 is_query;
  __u8 is_reply;
  __u8 is_error;
};

// Queries that carry an identifier, and their replies: RFC 792 (echo 8/0,
// timestamp 13/14, information 15/16), RFC 950 (address mask 17/18), RFC 4443
// (echo 128/129), RFC 8335 (extended echo 42/43, 160/161).
static __always_inline struct icmp_kind icmp_kind_of(__u8 protocol, __u8 type) {
  struct icmp_kind k = {.type = type};
  if (protocol == IPPROTO_ICMP) {
    if (type == 0) {
      k.type = 8;
      k.is_reply = 1;
    } else if (type == 14 || type == 16 || type == 18 || type == 43) {
      k.type = type - 1;
      k.is_reply = 1;
    }
    k.is_query = k.type == 8 || k.type == 13 || k.type == 15 || k.type == 17 || k.type == 42;
    k.is_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    return k;
  }
  if (type == 129 || type == 161) {
    k.type = type - 1;
    k.is_reply = 1;
  }
  k.is_query = k.type == 128 || k.type == 160;
  k.is_error = type < 128;
  return k;
}

static __always_inline int decode_icmp(struct __sk_buff *skb, struct packet *p, __u32 end) {
  __u8 *icmp = bytes_at(skb, p->transport, 8);
  if (!icmp || p->transport + 8 > end)
    return MALFORMED;
  struct icmp_kind k = icmp_kind_of(p->protocol, icmp[0]);
  __u8 code = icmp[1];
  // The code of an extended echo reply is its result (RFC 8335 section 3).
  if (k.is_reply && (k.type == 42 || k.type == 160))
    code = 0;
  p->icmp_reply = k.is_reply;
  p->icmp_error = k.is_error;
  p->source_port = k.is_query ? *(__u16 *)(icmp + 4) : 0;
  p->destination_port = bpf_htons(k.type << 8 | code);
  p->payload = p->transport + 8;
  p->payload_bytes = end - p->payload;
  return DECODED;
}

// Superpackets: each segment on the wire has the headers of its own, and of the
// tunnel that it is in.
static __always_inline void count_segments(struct __sk_buff *skb, struct packet *p) {
  p->packets = 1;
  __u32 size = skb->gso_size;
  if (!size || p->payload_bytes <= size || MUTANT(NO_SEGMENTS))
    return;
  __u32 carried = carried_headers(skb, p);
  p->packets = (p->payload_bytes - carried + size - 1) / size;
  p->bytes += (p->packets - 1) * (p->payload - p->network - p->phantom + carried);
}

static __always_inline int decode_transport(struct __sk_buff *skb, struct packet *p, __u32 end,
                                            __u32 is_fragment) {
  switch (p->protocol) {
  case IPPROTO_TCP:
    return decode_tcp(skb, p, end);
  case IPPROTO_UDP:
    return decode_udp(skb, p, end, is_fragment);
  case IPPROTO_ICMP:
  case IPPROTO_ICMPV6:
    return decode_icmp(skb, p, end);
  }
  p->payload = p->transport;
  p->payload_bytes = end - p->transport;
  return DECODED;
}

// Reads the packet into p, which is all zero; l2 is the length of its link-layer
// header. `zone` is that of the interface. Returns an enum decoded. Not static, so
// that the verifier looks at it once.
__noinline int decode(struct __sk_buff *skb, __u32 l2, __u32 zone, __u32 egress, struct packet *p) {
  struct fragmentation frag = {};
  int result;
  if (!p || l2 > ETH_HLEN)
    return MALFORMED;
  p->network = l2;
  __u16 ethertype = skip_tags(skb, zone, egress, p);
  __u32 at = p->network;
  if (!ethertype || at > MAX_NETWORK)
    return MALFORMED;
  if (ethertype == bpf_htons(ETH_P_IP))
    result = decode_ipv4(skb, at, p, &frag);
  else if (ethertype == bpf_htons(ETH_P_IPV6))
    result = decode_ipv6(skb, at, p, &frag);
  else
    return ethertype == bpf_htons(ETH_P_ARP) ? ARP : NOT_IP;
  if (result)
    return result;
  p->packets = 1;
  p->fragment_id = frag.id;
  p->is_fragment = frag.is_fragment;
  if (frag.is_fragment && is_bad_fragment(&frag))
    return MALFORMED;
  __u32 end = at + p->bytes + p->phantom;
  __u32 hook = skb->ifindex << 1 | !!egress;
  if (frag.offset) {
    p->payload = p->transport;
    p->payload_bytes = end - p->transport;
    return follow_fragment(p, &frag, hook, bpf_ktime_get_ns());
  }
  result = decode_transport(skb, p, end, frag.is_fragment);
  if (result)
    return result;
  count_segments(skb, p);
  if (frag.is_fragment)
    p->is_remembered = remember_fragment(p, &frag, hook, bpf_ktime_get_ns());
  return DECODED;
}

#endif
