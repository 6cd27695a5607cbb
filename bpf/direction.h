// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Which end opened a connection, and how it passes this host.
#ifndef WEIR_DIRECTION_H
#define WEIR_DIRECTION_H

#include "flow.h"
#include "packet.h"

#define AF_INET 2
#define AF_INET6 10

// Whether the packet that comes in is for this host. The routing table knows:
// it holds every local address of the interface's namespace, or of its VRF. A
// tagged packet is seen before its VLAN device has it, which may be in another.
static __always_inline int is_for_host(struct __sk_buff *skb, const struct packet *p) {
  if (skb->pkt_type == PACKET_OTHERHOST || MUTANT(NEVER_FOR_HOST))
    return 0;
  if (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST)
    return 1;
  struct bpf_fib_lookup fib = {.ifindex = skb->ifindex};
  if (p->is_tagged) {
    struct vlan_key k = {.ifindex = skb->ifindex, .zone = p->zone};
    __u32 *device = bpf_map_lookup_elem(&vlan_devices, &k);
    if (device)
      fib.ifindex = *device;
  }
  if (p->is_ipv6) {
    fib.family = AF_INET6;
    __builtin_memcpy(fib.ipv6_src, p->source, 16);
    __builtin_memcpy(fib.ipv6_dst, p->destination, 16);
  } else {
    fib.family = AF_INET;
    fib.ipv4_src = p->source[3];
    fib.ipv4_dst = p->destination[3];
  }
  long found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
  return found < 0 || found == BPF_FIB_LKUP_RET_NOT_FWDED || found == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

// Whether p, the first packet seen, was sent by the end that opened the
// connection.
static __always_inline __u32 sender_is_source(const struct packet *p) {
  if (p->icmp_reply)
    return 0;
  if (p->protocol != IPPROTO_TCP || p->is_later_fragment)
    return 1;
  if (p->tcp_flags & TCP_FLAG_SYN_)
    return !(p->tcp_flags & TCP_FLAG_ACK_);
  // Picked up in the middle: servers have the lower port.
  return bpf_ntohs(p->source_port) >= bpf_ntohs(p->destination_port);
}

// By itself for the sake of the stack.
__noinline int direction_of(struct __sk_buff *skb, const struct packet *p, __u32 egress,
                            __u32 from_source) {
  if (!p)
    return FORWARDED;
  __u32 sent_by_host = egress && !skb->ingress_ifindex;
  __u32 sent_to_host = !egress && is_for_host(skb, p);
  if (!sent_by_host && !sent_to_host)
    return FORWARDED;
  return sent_by_host == from_source ? OUTBOUND : INBOUND;
}

#endif
