// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Fragments: the first of a datagram leaves its ports for those that follow. A
// later one passes only for bytes that none brought since the first, so that
// nothing rewrites the header that was judged, however the receiver resolves
// overlaps (RFC 1858, RFC 5722). At another hook (a bridge after its port, a VLAN's
// device after the one below) the same fragments come again: there, those that came
// where the datagram was first seen pass.
#ifndef WEIR_FRAGMENT_H
#define WEIR_FRAGMENT_H

#include "flow.h"
#include "packet.h"

enum {
  MAX_PIECES = 8, // separate places of one datagram that may have come
  MAX_DATAGRAM = 65535,
  FRAGMENT_UNIT = 8, // bytes; offsets count them
};

// How long a datagram may take from its first fragment on: Linux's ipfrag_time,
// and RFC 8200 section 4.5.
#define FRAGMENT_TIMEOUT4 (30 * 1000000000ULL)
#define FRAGMENT_TIMEOUT6 (60 * 1000000000ULL)

// A packet passes from one hook to the next in microseconds: a first fragment that
// comes later than this at another hook begins a datagram of its own.
#define NEXT_HOOK_NS (50 * 1000000ULL)

// What a receiver reassembles by: of IPv6 the protocol is no part of it.
struct fragment_key {
  __u32 source[4];
  __u32 destination[4];
  __u32 id;
  __u32 protocol_zone; // of IPv6 without the protocol
};

// A part of a datagram that came, from start to before end, in FRAGMENT_UNITs.
struct piece {
  __u16 start;
  __u16 end;
};

struct datagram {
  __u64 started;
  __u16 source_port;
  __u16 destination_port;
  __u8 protocol;
  __u8 icmp_reply;
  __u8 icmp_error;
  __u8 used;
  struct piece pieces[MAX_PIECES];
  // The connection that the first fragment, an ICMP error, quotes: the rest of it
  // belongs to that one, too. Its protocol_zone is valid with has_quote.
  struct flow_key quoted;
  __u32 hook; // where the first was seen: ifindex << 1 | egress
  __u16 head; // where the first ends, in FRAGMENT_UNITs
  __u8 has_quote;
  __u8 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct fragment_key);
  __type(value, struct datagram);
} fragments SEC(".maps");

// Two processors must not add a piece to one datagram at once. An LRU map cannot
// hold locks itself.
struct fragment_lock {
  struct bpf_spin_lock lock;
};

enum { FRAGMENT_LOCKS = 256 };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, FRAGMENT_LOCKS);
  __type(key, __u32);
  __type(value, struct fragment_lock);
} fragment_locks SEC(".maps");

// What an IP header says of a fragment.
struct fragmentation {
  __u32 id;
  __u32 offset; // bytes
  __u32 length; // bytes
  __u32 ahead;  // bytes of the datagram before what is fragmented
  __u8 is_fragment;
  __u8 more;
};

// Empty, not a multiple of eight bytes though more follow, or beyond the largest
// datagram (the "ping of death").
static __always_inline int is_bad_fragment(const struct fragmentation *frag) {
  return !frag->length || (frag->more && frag->length % FRAGMENT_UNIT) ||
         frag->ahead + frag->offset + frag->length > MAX_DATAGRAM;
}

static __always_inline void fragment_key_of(const struct packet *p, struct fragment_key *k) {
  __builtin_memcpy(k->source, p->source, 16);
  __builtin_memcpy(k->destination, p->destination, 16);
  k->id = p->fragment_id;
  k->protocol_zone = p->zone << 8 | (p->is_ipv6 ? 0 : p->protocol);
}

static __always_inline struct piece piece_of(const struct fragmentation *frag) {
  struct piece piece = {
      .start = frag->offset / FRAGMENT_UNIT,
      .end = (frag->offset + frag->length + FRAGMENT_UNIT - 1) / FRAGMENT_UNIT,
  };
  return piece;
}

// Notes a first fragment, and returns whether it did. One of a datagram that is known begins it
// anew: the 16 bits of an IPv4 identification come round within the timeout.
static __always_inline __u8 remember_fragment(const struct packet *p,
                                              const struct fragmentation *frag, __u32 hook,
                                              __u64 now) {
  struct fragment_key k;
  fragment_key_of(p, &k);
  struct datagram *known = bpf_map_lookup_elem(&fragments, &k);
  if (known && known->hook != hook && now - known->started <= NEXT_HOOK_NS)
    return 0;
  struct datagram d = {
      .source_port = p->source_port,
      .destination_port = p->destination_port,
      .started = now,
      .protocol = p->protocol,
      .icmp_reply = p->icmp_reply,
      .icmp_error = p->icmp_error,
      .used = 1,
      .hook = hook,
  };
  d.pieces[0] = piece_of(frag);
  d.head = d.pieces[0].end;
  bpf_map_update_elem(&fragments, &k, &d, BPF_ANY);
  return 1;
}

// Whether all of a piece came before, other than in the first fragment, whose
// header nothing may rewrite.
static __always_inline int has_come(const struct datagram *d, struct piece came) {
  for (int i = 0; i < MAX_PIECES && came.start >= d->head; i++) {
    if (i >= d->used)
      break;
    if (d->pieces[i].start <= came.start && came.end <= d->pieces[i].end)
      return 1;
  }
  return 0;
}

// Adds a piece. Returns 0, or -1 where it overlaps another or there are too many.
// Under the datagram's lock: no calls.
static __always_inline int add_piece(struct datagram *d, struct piece came, __u32 hook) {
  int joins = -1;
  if (d->hook != hook && !MUTANT(SEEN_ONCE) && has_come(d, came))
    return 0;
  for (int i = 0; i < MAX_PIECES; i++) {
    if (i >= d->used)
      break;
    if (came.start < d->pieces[i].end && d->pieces[i].start < came.end && !MUTANT(OVERLAPS))
      return -1;
    if (joins < 0 && (d->pieces[i].end == came.start || d->pieces[i].start == came.end))
      joins = i;
  }
  if (joins >= 0 && joins < MAX_PIECES) {
    if (d->pieces[joins].end == came.start)
      d->pieces[joins].end = came.end;
    else
      d->pieces[joins].start = came.start;
    return 0;
  }
  __u32 used = d->used;
  if (used >= MAX_PIECES)
    return -1;
  d->pieces[used] = came;
  d->used = used + 1;
  return 0;
}

// Gives a later fragment the ports of its first. Returns an enum decoded.
static __always_inline int follow_fragment(struct packet *p, const struct fragmentation *frag,
                                           __u32 hook, __u64 now) {
  struct fragment_key k;
  fragment_key_of(p, &k);
  struct datagram *d = bpf_map_lookup_elem(&fragments, &k);
  if (MUTANT(NO_FOLLOW_UP) || !d ||
      now - d->started > (p->is_ipv6 ? FRAGMENT_TIMEOUT6 : FRAGMENT_TIMEOUT4))
    return ORPHAN;
  __u32 which = frag->id % FRAGMENT_LOCKS;
  struct fragment_lock *lock = bpf_map_lookup_elem(&fragment_locks, &which);
  if (!lock)
    return MALFORMED;
  struct piece came = piece_of(frag);
  bpf_spin_lock(&lock->lock);
  int refused = add_piece(d, came, hook);
  bpf_spin_unlock(&lock->lock);
  if (refused)
    return MALFORMED;
  p->source_port = d->source_port;
  p->destination_port = d->destination_port;
  p->protocol = d->protocol; // a later IPv6 fragment may name an extension header
  p->icmp_reply = d->icmp_reply;
  p->icmp_error = d->icmp_error;
  p->is_later_fragment = 1;
  return DECODED;
}

// Leaves the connection that p, a first fragment, quotes for those that follow.
static __always_inline void remember_quote(const struct packet *p, const struct flow_key *quoted) {
  struct fragment_key k;
  fragment_key_of(p, &k);
  struct datagram *d = bpf_map_lookup_elem(&fragments, &k);
  if (!d)
    return;
  d->quoted = *quoted;
  d->has_quote = 1;
}

// Fills in the connection that the first fragment of p's datagram quotes. Returns
// 0, or -1 where it quotes none.
static __always_inline int recall_quote(const struct packet *p, struct flow_key *quoted) {
  struct fragment_key k;
  fragment_key_of(p, &k);
  struct datagram *d = bpf_map_lookup_elem(&fragments, &k);
  if (!d || !d->has_quote || MUTANT(NO_RELATED_FRAGMENTS))
    return -1;
  *quoted = d->quoted;
  return 0;
}

#endif
