// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The flow table's key of a packet.
#ifndef WEIR_KEY_H
#define WEIR_KEY_H

#include "flow.h"
#include "packet.h"

// Fills the key of p's connection. Returns whether p's sender is its high end.
static __always_inline __u32 make_key(const struct packet *p, struct flow_key *k) {
  int order = 0;
  for (int i = 0; i < 4 && !order; i++)
    order = p->source[i] < p->destination[i] ? -1 : p->source[i] > p->destination[i] ? 1 : 0;
  __u32 has_ports = p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP;
  if (!order && has_ports)
    order = p->source_port < p->destination_port   ? -1
            : p->source_port > p->destination_port ? 1
                                                   : 0;
  // An ICMP query from an address to itself: the reply is the high end's.
  __u32 is_high = order ? order > 0 : p->icmp_reply;
  __builtin_memcpy(k->low, is_high ? p->destination : p->source, 16);
  __builtin_memcpy(k->high, is_high ? p->source : p->destination, 16);
  k->low_port = is_high && has_ports ? p->destination_port : p->source_port;
  k->high_port = is_high && has_ports ? p->source_port : p->destination_port;
  k->protocol_zone = (MUTANT(NO_ZONE) ? 0 : p->zone << 8) | p->protocol;
  return is_high;
}

#endif
