// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Counters that user space turns into metrics. Nothing is lost without one.
#ifndef WEIR_COUNTERS_H
#define WEIR_COUNTERS_H

#include "flow.h"
#include "maps.h"

// Causes; internal/datapath names them. New ones come last: a later version takes
// the counts over by number.
enum counter {
  COUNT_EVENT_DELAYED = 0,   // ring buffer full: the event was put off, not lost
  COUNT_FLOW_TABLE_FULL = 1, // a connection was judged without an entry
  COUNT_MALFORMED = 2,
  COUNT_FRAGMENT_ORPHAN = 3, // a later fragment whose first was not seen
  COUNT_NON_IP = 4,
  COUNT_MALFORMED_DROPPED = 5,
  COUNT_FRAGMENT_DROPPED = 6,
  COUNT_NON_IP_DROPPED = 7,
  COUNT_REJECTED = 8,          // answered with RST or ICMP
  COUNT_REJECT_LIMITED = 9,    // not answered: the sender's rate was used up
  COUNT_REJECT_FAILED = 10,    // not answered: the packet could not be rewritten
  COUNT_RELATED_ICMP = 11,     // ICMP errors that belong to an allowed connection
  COUNT_LATE = 12,             // packets of a connection after its end was told
  COUNT_TABLES_MISSING = 13,   // no policy tables: the packet passed
  COUNT_OTHER_HOST = 14,       // flooded by a bridge, not for this host
  COUNT_EVICTED = 15,          // not settled, and the oldest of too many
  COUNT_FLOOD_UNTOLD = 16,     // of connections in too many floods at once
  COUNT_HANDOVER_DROPPED = 17, // not told: see handover.h
  COUNT_COPY_LOST = 18,        // packets not copied: the ring buffer was full
  COUNT_COPY_WITHHELD = 19,    // likewise: user space has not asked for so much
  COUNT_COPY_CUT = 20,         // packets of which the end was not copied
  COUNT_LOOKS_FULL = 21,       // connections not looked into: too many are
  // Packets of connections that are held (hold.c).
  COUNT_HELD = 22,              // handed to user space
  COUNT_HELD_RETURNED = 23,     // sent on by it
  COUNT_HELD_DROPPED = 24,      // dropped at its word
  COUNT_HELD_STALE = 25,        // sent on by it for a connection that is no more: dropped
  COUNT_HELD_BLOCKED = 26,      // ... or that is blocked by now: dropped
  COUNT_HELD_UNKNOWN = 27,      // on the device, and not from us: dropped
  COUNT_HOLD_FAILED = 28,       // could not be handed over: dropped
  COUNT_AGENT_DOWN_PASSED = 29, // nobody reads, and on_error says what then
  COUNT_AGENT_DOWN_DROPPED = 30,
  COUNT_HELD_FRAGMENT_PASSED = 31, // fragments cannot be judged; likewise
  COUNT_HELD_FRAGMENT_DROPPED = 32,
  COUNT_SYN_DROPPED = 33, // a SYN on a tuple that is taken, with data, or that would wait
  COUNT_UNHELD = 34,      // connections of which facts cannot be had
  COUNT_XDP_DROPPED = 35, // of blocked connections, before the ingress program (xdp.c)
  // Of connections that are held.
  COUNT_HELD_UNANSWERED_PASSED = 36, // before their SYN was answered, and on_error says what then
  COUNT_HELD_UNANSWERED_DROPPED = 37,
  COUNT_HELD_OVER_DROPPED = 38, // after their end
  COUNT_HELD_COPIED = 39,       // passed, and user space has a copy
  COUNT_HELD_COPY_FAILED = 40,  // it could not be given one: dropped
#ifdef WEIR_OTHER_LAYOUT
  COUNT_OTHER_LAYOUT = 41,
#endif
  COUNT_MAX,
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNT_MAX);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which) {
  __u64 *value = bpf_map_lookup_elem(&counters, &which);
  if (value)
    *value += 1;
}

// Transports that metrics tell apart.
enum transport {
  OTHER = 0,
  TRANSPORT_TCP = 1,
  TRANSPORT_UDP = 2,
  TRANSPORT_ICMP = 3,
  TRANSPORT_ICMPV6 = 4
};

enum {
  TRANSPORTS = 5,
  DIRECTIONS = 4,
  VERDICTS = 4,
  ACTIONS = 3,
  REASONS = 11,
};

static __always_inline __u32 transport_of(__u8 protocol) {
  switch (protocol) {
  case IPPROTO_TCP:
    return TRANSPORT_TCP;
  case IPPROTO_UDP:
    return TRANSPORT_UDP;
  case IPPROTO_ICMP:
    return TRANSPORT_ICMP;
  case IPPROTO_ICMPV6:
    return TRANSPORT_ICMPV6;
  }
  return OTHER;
}

struct traffic {
  __u64 packets;
  __u64 bytes;
};

// Index: ((verdict * TRANSPORTS + transport) * DIRECTIONS + direction) * 2 + end
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, VERDICTS *TRANSPORTS *DIRECTIONS * 2);
  __type(key, __u32);
  __type(value, struct traffic);
} traffic_totals SEC(".maps");

static __always_inline void count_traffic(const struct flow *f, __u8 protocol, __u32 end,
                                          __u32 packets, __u32 bytes) {
  __u32 index =
      ((f->verdict * TRANSPORTS + transport_of(protocol)) * DIRECTIONS + f->direction) * 2 + end;
  struct traffic *t = bpf_map_lookup_elem(&traffic_totals, &index);
  if (!t)
    return;
  t->packets += packets;
  t->bytes += bytes;
}

// Index: (((verdict * ACTIONS + action) * REASONS + reason) * TRANSPORTS + transport) * DIRECTIONS
//        + direction
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, VERDICTS *ACTIONS *REASONS *TRANSPORTS *DIRECTIONS);
  __type(key, __u32);
  __type(value, __u64);
} verdict_totals SEC(".maps");

static __always_inline void count_verdict(const struct flow *f, __u8 protocol) {
  __u32 index = (((f->verdict * ACTIONS + f->action) * REASONS + f->reason) * TRANSPORTS +
                 transport_of(protocol)) *
                    DIRECTIONS +
                f->direction;
  __u64 *value = bpf_map_lookup_elem(&verdict_totals, &index);
  if (value)
    *value += 1;
}

#endif
