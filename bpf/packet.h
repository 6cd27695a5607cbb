// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// From bytes to a tuple. Headers are read directly where they are linear and
// pulled in where they are not.
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <stddef.h>

#include "maps.h"

struct packet {
  __u32 source[4]; // as in flow_key
  __u32 destination[4];
  __u16 source_port;
  __u16 destination_port;
  __u8 protocol;
  __u8 is_ipv6;
  __u8 hop_limit;
  __u8 tcp_flags;         // valid for TCP, as on the wire
  __u8 icmp_reply;        // the sender is the destination of the conversation
  __u8 icmp_error;        // it quotes a packet, at `payload`
  __u8 is_later_fragment; // no transport header: ports are the first fragment's
  __u8 has_options;       // IPv4 options or IPv6 extension headers
  __u32 network;          // offset of the network header
  __u32 zone;             // as in flow_key
  __u32 seq, ack;         // valid for TCP, host order
  __u32 transport;        // offset of the transport header
  __u32 payload;          // offset of what follows it
  __u32 payload_bytes;
  __u32 packets; // segments of a superpacket, else 1
  __u32 bytes;   // IP bytes, with the headers of each segment
};

enum decoded {
  DECODED = 0,
  NOT_IP = 1,
  MALFORMED = 2,
  ORPHAN = 3, // a later fragment whose first was not seen
  ARP = 4,
};

enum tcp_flag { TCP_FLAG_FIN_ = 1, TCP_FLAG_SYN_ = 2, TCP_FLAG_RST_ = 4, TCP_FLAG_ACK_ = 16 };

enum {
  MAX_HEADERS_BYTES = 1024, // what precedes the payload
  MAX_EXTENSIONS = 8,
};

// The bounds of the linear part. In assembly, since the compiler would keep them
// in 32 bits, which the verifier takes for numbers.
static __always_inline void *packet_start(struct __sk_buff *skb) {
  void *at;
  asm volatile("%0 = *(u32 *)(%1 + %2)"
               : "=r"(at)
               : "r"(skb), "i"(offsetof(struct __sk_buff, data)));
  return at;
}

static __always_inline void *packet_end(struct __sk_buff *skb) {
  void *at;
  asm volatile("%0 = *(u32 *)(%1 + %2)"
               : "=r"(at)
               : "r"(skb), "i"(offsetof(struct __sk_buff, data_end)));
  return at;
}

// Returns `length` bytes at `offset`, or NULL where the packet is shorter.
static __always_inline void *bytes_at(struct __sk_buff *skb, __u64 offset, __u32 length) {
  // One register from the check to the use, else the bound is lost on the way.
  asm volatile("" : "+r"(offset));
  if (offset > MAX_HEADERS_BYTES)
    return NULL;
  void *at = packet_start(skb) + offset;
  if (at + length <= packet_end(skb))
    return at;
  // A packet that came in pages, or a local one whose payload is: its headers
  // may lie outside the linear part.
  if (bpf_skb_pull_data(skb, offset + length))
    return NULL;
  at = packet_start(skb) + offset;
  if (at + length > packet_end(skb))
    return NULL;
  return at;
}

// The first fragment of a datagram leaves its ports for those that follow.
struct fragment_key {
  __u32 source[4];
  __u32 destination[4];
  __u32 id;
  __u32 protocol_zone;
};

struct fragment_ports {
  __u16 source;
  __u16 destination;
  __u32 protocol; // a later IPv6 fragment may name an extension header instead
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct fragment_key);
  __type(value, struct fragment_ports);
} fragments SEC(".maps");

static __always_inline void map_ipv4(__u32 to[4], __be32 address) {
  to[0] = 0;
  to[1] = 0;
  to[2] = bpf_htonl(0xffff);
  to[3] = address;
}

struct fragmentation {
  __u32 id;
  __u8 is_fragment;
  __u8 is_later;
};

static __always_inline enum decoded decode_ipv4(struct __sk_buff *skb, __u32 offset,
                                                struct packet *p, struct fragmentation *frag) {
  struct iphdr *ip = bytes_at(skb, offset, sizeof(*ip));
  if (!ip || ip->version != 4 || ip->ihl < 5)
    return MALFORMED;
  __u32 header = ip->ihl * 4;
  __u32 total = bpf_ntohs(ip->tot_len);
  __u32 present = skb->len - offset;
  // A superpacket above 64 KiB (BIG TCP) carries length 0.
  if (total == 0 && skb->gso_size)
    total = present;
  if (total < header || total > present)
    return MALFORMED;
  map_ipv4(p->source, ip->saddr);
  map_ipv4(p->destination, ip->daddr);
  p->protocol = ip->protocol;
  p->hop_limit = ip->ttl;
  p->has_options = header > sizeof(*ip);
  p->bytes = total;
  p->transport = offset + header;
  __u32 fragment = bpf_ntohs(ip->frag_off);
  frag->is_fragment = (fragment & 0x3fff) != 0;
  frag->is_later = (fragment & 0x1fff) != 0;
  frag->id = ip->id;
  return DECODED;
}

static __always_inline enum decoded decode_ipv6(struct __sk_buff *skb, __u32 offset,
                                                struct packet *p, struct fragmentation *frag) {
  struct ipv6hdr *ip = bytes_at(skb, offset, sizeof(*ip));
  if (!ip || ip->version != 6)
    return MALFORMED;
  __u32 total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
  __u32 present = skb->len - offset;
  if (total == sizeof(*ip) && skb->gso_size)
    total = present;
  if (total > present)
    return MALFORMED;
  __builtin_memcpy(p->source, &ip->saddr, 16);
  __builtin_memcpy(p->destination, &ip->daddr, 16);
  p->is_ipv6 = 1;
  p->hop_limit = ip->hop_limit;
  p->bytes = total;
  __u8 next = ip->nexthdr;
  __u32 at = offset + sizeof(*ip);
  for (int i = 0; i < MAX_EXTENSIONS; i++) {
    __u32 length;
    if (next == IPPROTO_FRAGMENT) {
      __u8 *h = bytes_at(skb, at, 8);
      if (!h)
        return MALFORMED;
      __u32 fragment = h[2] << 8 | h[3];
      frag->is_fragment = (fragment & 0xfff9) != 0; // an atomic fragment (RFC 6946) is whole
      frag->is_later = (fragment & 0xfff8) != 0;
      frag->id = *(__u32 *)(h + 4);
      next = h[0];
      length = 8;
      at += length;
      p->has_options = 1;
      if (frag->is_later)
        break; // the rest of the chain is in the first fragment's bytes
      continue;
    }
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
        next != IPPROTO_AH && next != IPPROTO_MH)
      break;
    __u8 *h = bytes_at(skb, at, 8);
    if (!h)
      return MALFORMED;
    length = next == IPPROTO_AH ? (h[1] + 2) * 4 : (h[1] + 1) * 8;
    next = h[0];
    at += length;
    p->has_options = 1;
    if (i == MAX_EXTENSIONS - 1)
      return MALFORMED;
  }
  if (at - offset > total)
    return MALFORMED;
  p->protocol = next;
  p->transport = at;
  return DECODED;
}

static __always_inline enum decoded decode_tcp(struct __sk_buff *skb, struct packet *p, __u32 end) {
  struct tcphdr *tcp = bytes_at(skb, p->transport, sizeof(*tcp));
  if (!tcp || tcp->doff < 5)
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

static __always_inline enum decoded decode_udp(struct __sk_buff *skb, struct packet *p, __u32 end) {
  struct udphdr *udp = bytes_at(skb, p->transport, sizeof(*udp));
  if (!udp || p->transport + sizeof(*udp) > end)
    return MALFORMED;
  p->source_port = udp->source;
  p->destination_port = udp->dest;
  p->payload = p->transport + sizeof(*udp);
  p->payload_bytes = end - p->payload;
  return DECODED;
}

// Queries that carry an identifier, and their replies: RFC 792 (echo 8/0,
// timestamp 13/14, information 15/16), RFC 950 (address mask 17/18), RFC 4443
// (echo 128/129).
static __always_inline enum decoded decode_icmp(struct __sk_buff *skb, struct packet *p,
                                                __u32 end) {
  __u8 *icmp = bytes_at(skb, p->transport, 8);
  if (!icmp || p->transport + 8 > end)
    return MALFORMED;
  __u8 type = icmp[0], code = icmp[1];
  __u8 is_query = 0;
  if (p->protocol == IPPROTO_ICMP) {
    if (type == 0)
      type = 8, p->icmp_reply = 1;
    else if (type == 14 || type == 16 || type == 18)
      type -= 1, p->icmp_reply = 1;
    is_query = type == 8 || type == 13 || type == 15 || type == 17;
    p->icmp_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
  } else {
    if (type == 129)
      type = 128, p->icmp_reply = 1;
    is_query = type == 128;
    p->icmp_error = type < 128;
  }
  p->source_port = is_query ? *(__u16 *)(icmp + 4) : 0;
  p->destination_port = bpf_htons(type << 8 | code);
  p->payload = p->transport + 8;
  p->payload_bytes = end - p->payload;
  return DECODED;
}

// Superpackets: each segment on the wire has the headers of its own.
static __always_inline void count_segments(struct __sk_buff *skb, struct packet *p, __u32 l3) {
  p->packets = 1;
  __u32 size = skb->gso_size;
  if (!size || p->payload_bytes <= size)
    return;
  p->packets = (p->payload_bytes + size - 1) / size;
  p->bytes += (p->packets - 1) * (p->payload - l3);
}

enum { MAX_TAGS = 2, MAX_NETWORK = ETH_HLEN + 4 * MAX_TAGS, VLAN_ID = 0xfff };

static __always_inline __u32 is_tag(__u16 ethertype) {
  return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

// Follows VLAN tags (IEEE 802.1Q, 802.1ad) from the end of the Ethernet
// addresses and type on. The outermost one may have been taken off the packet
// and be in the skb. Returns the ethertype of what they carry, 0 where the packet
// is too short or has more than MAX_TAGS.
static __always_inline __u16 skip_tags(struct __sk_buff *skb, struct packet *p) {
  __u16 ethertype = skb->protocol;
  __u32 shift = 0; // of the next id: one of 0 names no VLAN, only a priority
  if (skb->vlan_present && (skb->vlan_tci & VLAN_ID)) {
    p->zone = skb->vlan_tci & VLAN_ID;
    shift = 12;
  }
  for (int i = 0; i < MAX_TAGS && is_tag(ethertype); i++) {
    __u16 *tag = bytes_at(skb, p->network, 4);
    if (!tag)
      return 0;
    __u32 id = bpf_ntohs(tag[0]) & VLAN_ID;
    ethertype = tag[1];
    p->network += 4;
    if (!id)
      continue;
    if (shift > 12)
      return 0;
    p->zone |= id << shift;
    shift += 12;
  }
  return is_tag(ethertype) ? 0 : ethertype;
}

// Reads the packet into p, which is all zero; l2 is the length of its link-layer
// header. `zone` is that of the interface, for packets without a tag. Returns an
// enum decoded. Not static, so that the verifier looks at it once.
__noinline int decode(struct __sk_buff *skb, __u32 l2, __u32 zone, struct packet *p) {
  struct fragmentation frag = {};
  enum decoded result;
  if (!p || l2 > ETH_HLEN)
    return MALFORMED;
  p->network = l2;
  __u16 ethertype = skip_tags(skb, p);
  if (!p->zone)
    p->zone = zone;
  __u32 l3 = p->network;
  if (!ethertype || l3 > MAX_NETWORK)
    return MALFORMED;
  if (ethertype == bpf_htons(ETH_P_IP))
    result = decode_ipv4(skb, l3, p, &frag);
  else if (ethertype == bpf_htons(ETH_P_IPV6))
    result = decode_ipv6(skb, l3, p, &frag);
  else if (ethertype == bpf_htons(ETH_P_ARP))
    return ARP;
  else
    return NOT_IP;
  if (result)
    return result;
  __u32 end = l3 + p->bytes;
  p->packets = 1;

  struct fragment_key fk;
  if (frag.is_fragment) {
    __builtin_memcpy(fk.source, p->source, 16);
    __builtin_memcpy(fk.destination, p->destination, 16);
    fk.id = frag.id;
    // RFC 8200 section 4.5: IPv6 reassembles by addresses and identification
    // alone.
    fk.protocol_zone = p->zone << 8 | (p->is_ipv6 ? 0 : p->protocol);
  }
  if (frag.is_later) {
    struct fragment_ports *ports = bpf_map_lookup_elem(&fragments, &fk);
    if (!ports)
      return ORPHAN;
    p->source_port = ports->source;
    p->destination_port = ports->destination;
    p->protocol = ports->protocol;
    p->is_later_fragment = 1;
    return DECODED;
  }
  switch (p->protocol) {
  case IPPROTO_TCP:
    result = decode_tcp(skb, p, end);
    break;
  case IPPROTO_UDP:
    result = decode_udp(skb, p, end);
    break;
  case IPPROTO_ICMP:
  case IPPROTO_ICMPV6:
    result = decode_icmp(skb, p, end);
    break;
  default:
    p->payload = p->transport;
    p->payload_bytes = end - p->transport;
  }
  if (result)
    return result;
  count_segments(skb, p, l3);
  if (frag.is_fragment) {
    struct fragment_ports ports = {p->source_port, p->destination_port, p->protocol};
    bpf_map_update_elem(&fragments, &fk, &ports, BPF_ANY);
  }
  return DECODED;
}

#endif
