// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// ICMP errors that belong to a connection.
#ifndef WEIR_RELATED_H
#define WEIR_RELATED_H

#include "fragment.h"
#include "key.h"
#include "tables.h"
#include "transport.h"

// No error is longer, with its IP header (RFC 4443 section 2.4; of IPv4 RFC 1812
// section 4.3.2.3): what it has beyond is not looked at.
enum { MAX_ERROR_BYTES = 1280 };

// Fills in the tuple that an ICMP error quotes: its headers, and the eight bytes
// of transport header that RFC 792 promises. Its length, checksum and hop limit
// may have been changed on the way and are not looked at. Returns 0, or -1 where
// it quotes none.
static __always_inline int decode_quote(struct __sk_buff *skb, const struct packet *p,
                                        struct packet *quoted) {
  struct fragmentation frag = {};
  __u32 at = p->payload;
  __u32 end = at + p->payload_bytes;
  if (end > p->network + MAX_ERROR_BYTES)
    end = p->network + MAX_ERROR_BYTES;
  quoted->zone = p->zone;
  if (p->is_ipv6) {
    struct ipv6hdr *ip = bytes_at(skb, at, sizeof(*ip));
    if (!ip || ip->version != 6 || at + sizeof(*ip) > end)
      return -1;
    __builtin_memcpy(quoted->source, &ip->saddr, 16);
    __builtin_memcpy(quoted->destination, &ip->daddr, 16);
    if (is_mapped(quoted->source) || is_mapped(quoted->destination))
      return -1;
    struct extension e = {.start = at, .at = at + sizeof(*ip), .end = end, .next = ip->nexthdr};
    for (int i = 0; i <= MAX_EXTENSIONS && !e.done; i++) {
      if (read_extension(skb, &e, quoted, &frag))
        return -1;
    }
    if (!e.done || e.at > end)
      return -1;
    quoted->protocol = e.next;
    quoted->transport = e.at;
  } else {
    struct iphdr *ip = bytes_at(skb, at, sizeof(*ip));
    if (!ip || ip->version != 4 || ip->ihl < 5 || at + sizeof(*ip) > end)
      return -1;
    frag.offset = bpf_ntohs(ip->frag_off) & 0x1fff;
    map_ipv4(quoted->source, ip->saddr);
    map_ipv4(quoted->destination, ip->daddr);
    quoted->protocol = ip->protocol;
    quoted->transport = at + ip->ihl * 4;
  }
  if (frag.offset)
    return -1; // a later fragment: what follows are no ports
  if (quoted->protocol == IPPROTO_ICMP || quoted->protocol == IPPROTO_ICMPV6)
    // No error answers an error (RFC 1122 section 3.2.2).
    return decode_icmp(skb, quoted, end) || quoted->icmp_error ? -1 : 0;
  if (quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP)
    return 0;
  __u16 *ports = bytes_at(skb, quoted->transport, 8);
  if (!ports || quoted->transport + 8 > end)
    return -1;
  quoted->source_port = ports[0];
  quoted->destination_port = ports[1];
  return 0;
}

// Fills in the key of the connection that p, an ICMP error, quotes, if it may
// belong to one. Returns 0, or -1.
static __always_inline int quoted_key(struct __sk_buff *skb, const struct packet *p,
                                      struct flow_key *k) {
  // Unreachable, time exceeded, parameter problem; ICMPv6 packet too big. Those
  // that steer traffic (redirect, source quench) are connections of their own.
  // ICMP belongs to IPv4, ICMPv6 to IPv6: in the other no host acts on them.
  __u8 type = bpf_ntohs(p->destination_port) >> 8;
  if ((p->protocol == IPPROTO_ICMPV6) != p->is_ipv6)
    return -1;
  if (p->is_ipv6 ? type > 4 : type != 3 && type != 11 && type != 12)
    return -1;
  struct packet quoted = {};
  if (decode_quote(skb, p, &quoted))
    return -1;
  // It must go to the end that sent what it quotes: else whoever quotes any
  // connection of ours would reach every address with it.
  for (int i = 0; i < 4; i++) {
    if (p->destination[i] != quoted.source[i] && !MUTANT(ANY_ADDRESS))
      return -1;
  }
  make_key(&quoted, k);
  return 0;
}

static __always_inline __u32 relates_icmp(void) {
  __u32 slot = slot_of(current_tables(bpf_ktime_get_ns()));
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  return set && set->related_icmp;
}

// Whether p, an ICMP error, belongs to a connection that passes.
__noinline int is_related(struct __sk_buff *skb, const struct packet *p) {
  struct flow_key k = {};
  if (!p)
    return 0;
  if (p->is_later_fragment) {
    if (recall_quote(p, &k))
      return 0;
  } else {
    if (quoted_key(skb, p, &k))
      return 0;
    if (p->is_remembered)
      remember_quote(p, &k);
  }
  if (!relates_icmp())
    return 0;
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  return f && !(f->flags & FLOW_DROP) && f->action != BLOCK;
}

#endif
