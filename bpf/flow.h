// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the kernel remembers of a connection, and what it tells user space.
// Both structs are read by Go (internal/datapath): no padding but what is named.
#ifndef WEIR_FLOW_H
#define WEIR_FLOW_H

#include <linux/types.h>

// The ends of a connection, as indexes.
enum end { SOURCE = 0, DESTINATION = 1 };

enum direction { INBOUND = 1, OUTBOUND = 2, FORWARDED = 3 };

enum verdict { PENDING = 0, DETECTED = 1, ALLOWED = 2, BLOCKED = 3 };

enum action { NO_ACTION = 0, ALLOW = 1, BLOCK = 2 };

enum reason {
  REASON_NONE = 0,
  REASON_RULE = 1,
  REASON_DEFAULT = 2,
  REASON_SAFEGUARD = 3,
  REASON_PENDING = 4,
};

enum end_reason {
  END_NONE = 0,
  END_FIN = 1,
  END_RST = 2,
  END_TIMEOUT = 3,
  END_BLOCKED = 4,
  END_POLICY = 5,
  END_DURATION = 6,
};

enum event_kind { EVENT_START = 1, EVENT_VERDICT = 2, EVENT_UPDATE = 3, EVENT_END = 4 };

// Both directions of a connection have the same key: the end with the lower
// address (and port, where the addresses are equal) is `low`. Addresses and
// ports are in network order; IPv4 is mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2).
struct flow_key {
  __u32 low[4];
  __u32 high[4];
  // TCP and UDP: the ports. ICMP: the identifier of queries, else 0, and
  // type << 8 | code in network order, of a reply those of its query.
  __u16 low_port;
  __u16 high_port;
  // The protocol, and in the upper 24 bits the zone: the VLAN ids of the packet,
  // inner << 12 | outer, so that equal tuples of two networks stay apart.
  __u32 protocol_zone;
};

static __always_inline __u8 protocol_of(const struct flow_key *k) { return k->protocol_zone; }

// struct flow.flags
enum flow_flags {
  FLOW_SOURCE_IS_HIGH = 1 << 0, // the initiator is the key's `high` end
  FLOW_DROP = 1 << 1,           // its packets are dropped
  FLOW_CLOSED = 1 << 2,         // over; the entry stays to absorb stragglers
  FLOW_START_TOLD = 1 << 3,     // events that user space has been sent
  FLOW_VERDICT_DUE = 1 << 4,
  FLOW_END_TOLD = 1 << 5,
  FLOW_REJECT = 1 << 6,     // what is dropped is answered
  FLOW_LOOPBACK = 1 << 7,   // first seen on a loopback interface
  FLOW_NEIGHBOR = 1 << 8,   // first packet had IPv6 hop limit 255
  FLOW_OWN = 1 << 9,        // a socket of the agent's own process
  FLOW_CANDIDATE = 1 << 10, // a SYN wants to open the tuple anew
  FLOW_CANDIDATE_BY_DESTINATION = 1 << 11,
  FLOW_PREVENT = 1 << 12,  // judged in prevent mode
  FLOW_FOLLOWER = 1 << 13, // judged under other addresses: passes, is not told of or counted
};

// struct flow.tcp, a bit for each end
enum flow_tcp {
  TCP_SEEN = 1 << 0,      // << end: it has sent a segment
  TCP_FIN = 1 << 2,       // << end: it has sent its FIN
  TCP_FIN_ACKED = 1 << 4, // << end: its FIN was acknowledged
  TCP_DATA = 1 << 6,      // either end has sent data
  TCP_ANSWERED = 1 << 7,  // the destination accepted (SYN-ACK or data)
};

struct flow {
  __u64 id;
  __u64 first; // CLOCK_MONOTONIC, ns
  __u64 last;
  __u64 told;       // when an update was last sent
  __u64 judge_at;   // judge again at a packet after this time; 0: never
  __u64 hook_at[2]; // when each end's last packet was counted at its hook
  __u64 packets[2]; // sent by SOURCE, DESTINATION
  __u64 bytes[2];   // IP bytes
  __u32 next[2];    // TCP: the sequence number after the highest sent
  __u32 acked[2];   // TCP: the highest acknowledgment number sent
  __u32 fin[2];     // TCP: the sequence number after the FIN
  __u32 candidate;  // TCP: initial sequence number of the SYN that wants the tuple
  __u32 candidate_bytes;
  __u32 tables;      // table sequence that judged it
  __u32 rule;        // index into the walked rules, NO_RULE where none decided
  __u32 shadow_rule; // likewise, of the second walk where it differs
  __u32 ifindex;     // of the first packet
  __u32 hook[2];     // where the packets of each end are counted: ifindex << 1 | egress
  __u16 flags;
  __u8 tcp;
  __u8 direction;
  __u8 verdict;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 end;
  __u8 told_verdict; // verdict and action of the last event, to tell changes
  __u8 told_action;
  __u8 pad;
};

#define NO_RULE 0xffffffff

struct event {
  __u64 time;
  __u64 id;
  __u64 first;
  __u64 last;
  __u64 packets[2];
  __u64 bytes[2];
  __u32 source[4];
  __u32 destination[4];
  __u16 source_port; // as in flow_key: ICMP has its identifier here
  __u16 destination_port;
  __u32 ifindex;
  __u32 tables;
  __u32 rule;
  __u32 shadow_rule;
  __u32 zone; // as in flow_key
  __u16 flags;
  __u8 protocol;
  __u8 kind;
  __u8 direction;
  __u8 verdict;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 end;
  __u8 pad[6];
};

#endif
