// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What is known of one packet, and how its bytes are reached. The decoder is
// that of internal/packet, which is the reference, and is tested against it.
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <stddef.h>

#include "maps.h"
#include "mutant.h"

struct packet {
  __u64 time;      // CLOCK_MONOTONIC, ns
  __u32 source[4]; // as in flow_key
  __u32 destination[4];
  __u16 source_port; // as in flow_key: of ICMP the identifier
  __u16 destination_port;
  __u8 protocol;
  __u8 is_ipv6;
  __u8 hop_limit;
  __u8 tcp_flags;         // valid for TCP, as on the wire
  __u8 icmp_reply;        // the sender is the destination of the conversation
  __u8 icmp_error;        // it reports on a packet, which it may quote at `payload`
  __u8 is_later_fragment; // no transport header: ports are the first fragment's
  __u8 is_remembered;     // a first fragment, kept for those that follow
  __u8 has_options;       // IPv4 options or IPv6 extension headers
  __u8 is_tagged;         // a VLAN tag, if only of a priority
  __u8 is_fragment;       // of an IP datagram, also the first
  __u32 network;          // offset of the network header
  __u32 zone;             // as in flow_key
  __u32 seq, ack;         // valid for TCP, host order
  __u32 transport;        // offset of the transport header
  __u32 payload;          // offset of what follows it
  __u32 payload_bytes;
  __u32 packets;     // segments of a superpacket, else 1
  __u32 bytes;       // IP bytes, with the headers of each segment
  __u32 phantom;     // bytes of headers that never reach the wire (jumbo option)
  __u32 fragment_id; // valid for fragments
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
  MAX_TAGS = 2,
  MAX_NETWORK = ETH_HLEN + 4 * MAX_TAGS, // where a network header may begin
  MAX_HEADERS_BYTES = 1024,              // from there to the transport header
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
  if (offset > MAX_NETWORK + MAX_HEADERS_BYTES + 256)
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

#endif
