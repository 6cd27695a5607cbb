// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Superpackets inside tunnels: what the network card cuts is the payload of the
// packet that the tunnel carries, and each segment has the headers of both.
#ifndef WEIR_TUNNEL_H
#define WEIR_TUNNEL_H

#include "packet.h"

enum {
  PORT_VXLAN = 4789,       // RFC 7348
  PORT_VXLAN_LINUX = 8472, // Linux's default, and flannel's
  PORT_GENEVE = 6081,      // RFC 8926
  TUNNEL_HEADER = 8,       // of both, without Geneve's options
};

// What a tunnel carries: an ethertype, and where it begins.
struct carried {
  __u32 at;
  __u16 type;
};

// Reads what is at offset `at`, within the bytes that headers may take.
static __always_inline __u8 *header_at(struct __sk_buff *skb, const struct packet *p, __u32 at,
                                       __u32 length) {
  return at - p->network > MAX_HEADERS_BYTES ? NULL : bytes_at(skb, at, length);
}

// Reads the tunnel's own header. Leaves type 0 where there is none that Linux
// would let the network card cut.
static __always_inline void read_tunnel(struct __sk_buff *skb, const struct packet *p,
                                        struct carried *c) {
  __u8 *h;
  c->at = p->payload;
  switch (p->protocol) {
  case IPPROTO_IPIP:
    c->type = bpf_htons(ETH_P_IP);
    return;
  case IPPROTO_IPV6:
    c->type = bpf_htons(ETH_P_IPV6);
    return;
  case IPPROTO_GRE: // RFC 2784, RFC 2890: checksum, key and sequence number may follow
    h = header_at(skb, p, c->at, 4);
    if (!h || (h[1] & 7))
      return;
    c->at += 4 + 4 * (!!(h[0] & 0x80) + !!(h[0] & 0x20) + !!(h[0] & 0x10));
    c->type = *(__u16 *)(h + 2);
    return;
  case IPPROTO_UDP:
    if (p->destination_port == bpf_htons(PORT_VXLAN) ||
        p->destination_port == bpf_htons(PORT_VXLAN_LINUX)) {
      c->at += TUNNEL_HEADER;
      c->type = bpf_htons(ETH_P_TEB);
      return;
    }
    if (p->destination_port != bpf_htons(PORT_GENEVE))
      return;
    h = header_at(skb, p, c->at, 4);
    if (!h)
      return;
    c->at += TUNNEL_HEADER + 4 * (h[0] & 0x3f);
    c->type = *(__u16 *)(h + 2);
  }
}

// Returns how many bytes of headers lie between p's own and the payload that is cut;
// 0 where p is no tunnel's, or carries what is not cut.
static __always_inline __u32 carried_headers(struct __sk_buff *skb, const struct packet *p) {
  struct carried c = {};
  __u8 protocol;
  __u8 *h;
  if (p->protocol == IPPROTO_TCP || MUTANT(NO_TUNNELS))
    return 0;
  read_tunnel(skb, p, &c);
  if (c.type == bpf_htons(ETH_P_TEB)) {
    h = header_at(skb, p, c.at, ETH_HLEN);
    if (!h)
      return 0;
    c.type = *(__u16 *)(h + 12);
    c.at += ETH_HLEN;
  }
  if (c.type == bpf_htons(ETH_P_IP)) {
    h = header_at(skb, p, c.at, sizeof(struct iphdr));
    if (!h)
      return 0;
    protocol = h[9];
    c.at += (h[0] & 15) * 4;
  } else if (c.type == bpf_htons(ETH_P_IPV6)) {
    h = header_at(skb, p, c.at, sizeof(struct ipv6hdr));
    if (!h)
      return 0;
    protocol = h[6];
    c.at += sizeof(struct ipv6hdr);
  } else {
    return 0;
  }
  if (protocol == IPPROTO_TCP) {
    h = header_at(skb, p, c.at, sizeof(struct tcphdr));
    if (!h)
      return 0;
    c.at += (h[12] >> 4) * 4;
  } else if (protocol == IPPROTO_UDP) {
    c.at += sizeof(struct udphdr);
  } else {
    return 0;
  }
  __u32 length = c.at - p->payload;
  return length < p->payload_bytes ? length : 0;
}

#endif
