// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// VLAN tags, IPv4 and IPv6 headers.
#ifndef WEIR_NETWORK_H
#define WEIR_NETWORK_H

#include "fragment.h"
#include "packet.h"

enum { VLAN_ID = 0xfff };

// Of a frame whose inner id is 4095: no VLAN has it (IEEE 802.1Q 9.6), and with
// it the frame would be taken for a VRF's.
#define NO_ZONE 0xffffffff

static __always_inline __u32 is_tag(__u16 ethertype) {
  if (MUTANT(NO_TAGS))
    return 0;
  return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

static __always_inline __u32 is_vrf(__u32 zone) { return zone >> 12 == VLAN_ID; }

// The zone of a packet with one more tag. An id of 0 names no VLAN, only a
// priority. A VRF's zone is for packets without an id.
static __always_inline __u32 add_tag(__u32 zone, __u32 id) {
  if (!id || zone == NO_ZONE)
    return zone;
  if (!zone || is_vrf(zone))
    return id;
  return id == VLAN_ID ? NO_ZONE : (zone & VLAN_ID) | id << 12;
}

// Follows up to MAX_TAGS VLAN tags (IEEE 802.1Q, 802.1ad); further ones are a
// payload like any other. The outermost may have been taken off the packet and
// be in the skb; those of the interface's `zone` are gone already. Returns the
// ethertype of what they carry, 0 where the packet is too short or has no zone.
static __always_inline __u16 skip_tags(struct __sk_buff *skb, __u32 zone, __u32 egress,
                                       struct packet *p) {
  __u16 ethertype = skb->protocol;
  __u32 tags = 0;
  if (egress && p->network >= ETH_HLEN) {
    // What skb->protocol says of a packet socket's is what its process says.
    __u16 *type = bytes_at(skb, p->network - sizeof(*type), sizeof(*type));
    if (!type)
      return 0;
    ethertype = *type;
  }
  if (skb->vlan_present) {
    zone = add_tag(zone, skb->vlan_tci & VLAN_ID);
    tags = 1;
    p->is_tagged = 1;
  }
  for (int i = 0; i < MAX_TAGS && is_tag(ethertype) && tags < MAX_TAGS; i++, tags++) {
    __u16 *tag = bytes_at(skb, p->network, 4);
    if (!tag)
      return 0;
    zone = add_tag(zone, bpf_ntohs(tag[0]) & VLAN_ID);
    ethertype = tag[1];
    p->network += 4;
    p->is_tagged = 1;
  }
  if (zone == NO_ZONE)
    return 0;
  p->zone = zone;
  return ethertype ? ethertype : bpf_htons(ETH_P_802_2); // 0 is a length, too
}

static __always_inline void map_ipv4(__u32 to[4], __be32 address) {
  to[0] = 0;
  to[1] = 0;
  to[2] = bpf_htonl(0xffff);
  to[3] = address;
}

// ::ffff:0:0/96 (RFC 4291 section 2.5.5.2): on the wire it would be taken for
// IPv4; Linux drops it as a source (ipv6_rcv).
static __always_inline int is_mapped(const __u32 a[4]) {
  return !a[0] && !a[1] && a[2] == bpf_htonl(0xffff);
}

static __always_inline int is_ones(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff;
}

// Whether the checksum of an IPv4 header is right (RFC 791): hosts drop it
// otherwise (RFC 1122 section 3.2.1.2), and no state may come of it.
static __always_inline int checksum_is_right(struct __sk_buff *skb, const struct iphdr *ip,
                                             __u32 at, __u32 header) {
  const __u32 *word = (const void *)ip;
  if (header == sizeof(*ip))
    return is_ones((__u64)word[0] + word[1] + word[2] + word[3] + word[4]);
  __be32 words[15] = {};
  // What the compiler knows of the length, and two comparisons that it makes one, are
  // nothing to the verifier of Linux 6.1.
  barrier_var(header);
  if (header < sizeof(*ip))
    return 0;
  barrier_var(header);
  if (header > sizeof(words) || bpf_skb_load_bytes(skb, at, words, header))
    return 0;
  return is_ones((__u32)bpf_csum_diff(NULL, 0, words, sizeof(words), 0));
}

static __always_inline int decode_ipv4(struct __sk_buff *skb, __u32 at, struct packet *p,
                                       struct fragmentation *frag) {
  struct iphdr *ip = bytes_at(skb, at, sizeof(*ip));
  if (!ip || ip->version != 4 || ip->ihl < 5)
    return MALFORMED;
  __u32 header = ip->ihl * 4;
  __u32 total = bpf_ntohs(ip->tot_len);
  __u32 present = skb->len - at;
  // A superpacket above 64 KiB (BIG TCP) carries length 0.
  if (total == 0 && skb->gso_size && ip->protocol == IPPROTO_TCP)
    total = present;
  if (total < header || total > present ||
      (!checksum_is_right(skb, ip, at, header) && !MUTANT(NO_HEADER_CHECKSUM)))
    return MALFORMED;
  map_ipv4(p->source, ip->saddr);
  map_ipv4(p->destination, ip->daddr);
  p->protocol = ip->protocol;
  p->hop_limit = ip->ttl;
  p->has_options = header > sizeof(*ip);
  p->bytes = total;
  p->transport = at + header;
  __u32 fragment = bpf_ntohs(ip->frag_off);
  if (fragment & 0x3fff) {
    frag->is_fragment = 1;
    frag->more = (fragment & 0x2000) != 0;
    frag->offset = (fragment & 0x1fff) * FRAGMENT_UNIT;
    frag->length = total - header;
    frag->ahead = header;
    frag->id = bpf_ntohs(ip->id);
  }
  return DECODED;
}

// Extension headers that are read through to what follows: those of Linux's
// ipv6_ext_hdr.
static __always_inline int is_extension(__u8 header) {
  return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING || header == IPPROTO_FRAGMENT ||
         header == IPPROTO_AH || (header == IPPROTO_DSTOPTS && !MUTANT(NO_DESTINATION_OPTIONS));
}

// One extension header, the number-th, at `at`.
struct extension {
  __u32 at;
  __u32 end;   // of the packet
  __u32 start; // of the IPv6 header
  __u8 next;
  __u8 number;
  __u8 fragmented;
  __u8 jumbo;
  __u8 done;
};

static __always_inline int read_extension(struct __sk_buff *skb, struct extension *e,
                                          struct packet *p, struct fragmentation *frag) {
  __u8 this = e->next;
  if (!is_extension(this)) {
    e->done = 1;
    return 0;
  }
  if (e->number == MAX_EXTENSIONS || (this == IPPROTO_HOPOPTS && e->number > 0) ||
      (this == IPPROTO_FRAGMENT && e->fragmented))
    return -1;
  __u8 *h = bytes_at(skb, e->at, 8);
  if (!h || e->at + 8 > e->end)
    return -1;
  p->has_options = 1;
  e->next = h[0];
  __u32 length = (h[1] + 1) * 8;
  if (this == IPPROTO_AH)
    length = (h[1] + 2) * 4; // RFC 4302 section 2.2
  // Linux puts this header before a superpacket, and takes it off again when the
  // packet is cut: it never reaches the wire (RFC 2675).
  if (this == IPPROTO_HOPOPTS && e->jumbo && length == 8 && h[2] == 0xc2 && h[3] == 4)
    p->phantom = length;
  if (this == IPPROTO_FRAGMENT) {
    e->fragmented = 1;
    length = 8;
    __u32 field = h[2] << 8 | h[3];
    if (field & 0xfff9) { // an atomic fragment is whole (RFC 6946)
      frag->is_fragment = 1;
      frag->more = field & 1;
      frag->offset = field & 0xfff8;
      frag->id = h[4] << 24 | h[5] << 16 | h[6] << 8 | h[7];
      frag->ahead = e->at - e->start - sizeof(struct ipv6hdr);
      frag->length = e->end - e->at - 8;
    }
  }
  e->at += length;
  e->number += 1;
  if (e->at - e->start > MAX_HEADERS_BYTES)
    return -1;
  if (frag->offset)
    e->done = 1; // the rest of the chain is in the first fragment
  return 0;
}

static __always_inline int decode_ipv6(struct __sk_buff *skb, __u32 at, struct packet *p,
                                       struct fragmentation *frag) {
  struct ipv6hdr *ip = bytes_at(skb, at, sizeof(*ip));
  if (!ip || ip->version != 6)
    return MALFORMED;
  __u32 length = bpf_ntohs(ip->payload_len);
  __u32 present = skb->len - at - sizeof(*ip);
  struct extension e = {.start = at, .at = at + sizeof(*ip), .next = ip->nexthdr};
  e.jumbo = !length && skb->gso_size && (e.next == IPPROTO_TCP || e.next == IPPROTO_HOPOPTS);
  if (e.jumbo)
    length = present;
  if (length > present)
    return MALFORMED;
  __builtin_memcpy(p->source, &ip->saddr, 16);
  __builtin_memcpy(p->destination, &ip->daddr, 16);
  if (is_mapped(p->source) || is_mapped(p->destination))
    return MALFORMED;
  p->is_ipv6 = 1;
  p->hop_limit = ip->hop_limit;
  p->bytes = length + sizeof(*ip);
  e.end = at + p->bytes;
  for (int i = 0; i <= MAX_EXTENSIONS && !e.done; i++) {
    if (read_extension(skb, &e, p, frag))
      return MALFORMED;
  }
  if (!e.done || e.at > e.end)
    return MALFORMED;
  p->protocol = e.next;
  p->transport = e.at;
  p->bytes -= p->phantom;
  return DECODED;
}

#endif
