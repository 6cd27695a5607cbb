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
  REASON_KEPT = 5, // what the new policy asks for was not seen: as before
  // What could not be known, and on_error says what then.
  REASON_MALFORMED = 6,
  REASON_LIMIT = 7,
  REASON_OVERLOAD = 8,
  REASON_AGENT_DOWN = 9,
  REASON_NOT_SEEN = 10,
};

// What a connection speaks, as far as user space has told.
enum application {
  APPLICATION_UNKNOWN = 0,
  APPLICATION_HTTP = 1,
  APPLICATION_TLS = 2,
  APPLICATION_QUIC = 3,
  APPLICATION_DNS = 4,
  APPLICATION_SSH = 5,
  APPLICATION_OTHER = 6, // none of these
};

enum end_reason {
  END_NONE = 0,
  END_FIN = 1,
  END_RST = 2,
  END_TIMEOUT = 3,
  END_BLOCKED = 4,
  END_POLICY = 5,
  END_DURATION = 6,
  END_EVICTED = 7,
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
  // The protocol, and in the upper 24 bits the zone, so that equal tuples of two
  // networks stay apart: the VLAN ids of the packet, those that its interface has
  // taken off included, inner << 12 | outer; without any, the VRF of its interface
  // as 0xfff << 12 | number (internal/datapath/zone.go).
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
  FLOW_REJECT = 1 << 6,    // what is dropped is answered
  FLOW_LOOPBACK = 1 << 7,  // first seen on a loopback interface
  FLOW_NEIGHBOR = 1 << 8,  // first packet had IPv6 hop limit 255
  FLOW_OWN = 1 << 9,       // a socket of the agent's own process
  FLOW_PREVENT = 1 << 10,  // judged in prevent mode
  FLOW_FOLLOWER = 1 << 11, // judged under other addresses: passes, is not told of or counted
  FLOW_SETTLED = 1 << 12,  // both ends take part: nothing evicts it
  FLOW_QUIET = 1 << 13,    // too many opened with it: not told of until it settles
  FLOW_FOLDED = 1 << 14,   // quiet, and its start is in the count of a flood
  FLOW_JUDGING = 1 << 15,  // a processor is judging it again
  FLOW_LINGERS = 1 << 16,  // closed, but its end is not told yet: packets are under way
  FLOW_LOOKED = 1 << 17,   // user space looks into it
  FLOW_AWAITS = 1 << 18,  // closed, but its end is not told yet: user space looks at the last of it
  FLOW_HELD = 1 << 19,    // its packets go through user space, see hold_state.h
  FLOW_RETURNS = 1 << 20, // there were such: what user space sends on is honoured
  FLOW_UNREAD = 1 << 21,  // on_error.agent_down has let pass what the source said meanwhile
};

// struct flow.tcp. Those up to TCP_FIN_ACKED are a bit for each end: << end.
enum flow_tcp {
  TCP_SEEN = 1 << 0,       // it has sent a segment
  TCP_SYN = 1 << 2,        // it has sent its SYN
  TCP_ACKS = 1 << 4,       // it has acknowledged something
  TCP_FIN_AHEAD = 1 << 6,  // its FIN was seen after a gap
  TCP_FIN = 1 << 8,        // it has sent its FIN
  TCP_FIN_ACKED = 1 << 10, // its FIN was acknowledged
  TCP_DATA = 1 << 12,      // either end has sent data
  TCP_ANSWERED = 1 << 13,  // the destination has answered
  // A SYN wants to open the tuple anew, sent by the destination or the source.
  TCP_CANDIDATE = 1 << 14,
  TCP_CANDIDATE_BY_DESTINATION = 1 << 15,
  TCP_RESET = 1 << 16,        // << end: it has reset the connection
  TCP_RIVAL_SYN = 1 << 18,    // the source has sent a SYN with another number
  TCP_RIVAL_ANSWER = 1 << 19, // so has the destination, and it is not known which is taken
};

// With the hash table's own header (48), the key (40) and what the kernel's allocator
// puts before it (8) an entry is of 256 bytes, which the allocator has; one more would
// cost twice that (/proc/slabinfo: kmalloc-cg-256, kmalloc-cg-512).
enum { MAX_FLOW_BYTES = 160 };

struct flow {
#ifdef WEIR_OTHER_LAYOUT // for the test that takes over from another version
  __u64 other;
#endif
  __u64 id;
  __u64 first;       // CLOCK_MONOTONIC, ns
  __u64 last;        // amid a connection only to a tick of the kernel's timer (clock.h)
  __u64 judge_at;    // judge again at a packet after this time; 0: never
  __u64 packets[2];  // sent by SOURCE, DESTINATION
  __u64 bytes[2];    // IP bytes
  __u32 told;        // when an update was last sent, in ticks
  __u32 hook_at[2];  // when each end's last packet was counted at its hook, in ticks
  __u32 initial[2];  // TCP, with TCP_SYN: the sequence number of the SYN
  __u32 next[2];     // after what was sent in order
  __u32 high[2];     // after the highest, with a gap before it
  __u32 acked[2];    // with TCP_ACKS: the highest acknowledgment sent
  __u32 fin[2];      // with TCP_FIN, TCP_FIN_AHEAD: the number after the FIN
  __u32 tables;      // table sequence that judged it
  __u32 rule;        // index into the walked rules, NO_RULE where none decided
  __u32 shadow_rule; // likewise, of the second walk where it differs
  __u32 ifindex;     // of the first packet
  __u32 hook[2];     // where the packets of each end are counted: ifindex << 1 | egress
  __u32 flags;
  __u32 tcp;
  __u8 direction;
  __u8 verdict;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 end;
  __u8 application;
  __u8 pad;
};

#ifndef WEIR_OTHER_LAYOUT
_Static_assert(sizeof(struct flow) <= MAX_FLOW_BYTES, "an entry takes twice the memory");
#endif

// The two directions of a connection may be on two processors at once: bits are
// changed atomically, so that neither undoes what the other did.
static __always_inline void set_bits(__u32 *word, __u32 bits) {
  if ((*word & bits) != bits)
    __sync_fetch_and_or(word, bits);
}

static __always_inline void clear_bits(__u32 *word, __u32 bits) {
  if (*word & bits)
    __sync_fetch_and_and(word, ~bits);
}

// Whether the entry's end is to be told now.
static __always_inline __u32 is_end_due(const struct flow *f) {
  return (f->flags & (FLOW_CLOSED | FLOW_END_TOLD | FLOW_LINGERS | FLOW_AWAITS)) == FLOW_CLOSED;
}

// Times of which only differences count, and those to a few milliseconds.
static __always_inline __u32 ticks(__u64 ns) { return ns >> 20; }

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
  __u8 application;
  __u8 looked; // user space looks into it
  __u8 pad[4];
};

#endif
