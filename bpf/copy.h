// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Copies of packets for user space, in a ring buffer of their own: they never take
// the room of events.
#ifndef WEIR_COPY_H
#define WEIR_COPY_H

#include "flow.h"
#include "maps.h"

enum copy_kind {
  COPY_PACKET = 1,
  COPY_ENDED = 2, // the connection is over; nothing of a packet is valid
};

enum copy_flags {
  COPY_FRAGMENT = 1 << 0, // the first of an IP datagram: the rest is not copied
};

// A packet of a connection, or a part of it, followed by `length` bytes of payload.
// It says all there is to know of the connection.
struct copy {
  struct flow_key key;
  __u64 id;
  __u64 time; // of the packet
  __u64 first;
  __u32 tables;
  __u32 rule;
  __u32 ifindex;
  __u32 flow_flags;
  __u32 tcp; // as in struct flow: which of the next two are valid
  __u32 initial[2];
  __u32 acked[2]; // the highest number that each end has acknowledged so far
  __u32 seq;      // of the first byte of payload, or of SYN
  __u32 ack;
  __u32 length;
  __u32 missing;  // bytes of payload that follow and are not copied
  __u32 lost;     // packets of the connection that were not copied before this one
  __s32 credit;   // what is left of the sender's, see struct look
  __u16 segment;  // UDP: of a superpacket, the size of the datagrams in it; else 0
  __u8 tcp_flags; // of a packet in several copies, FIN comes with the last
  __u8 kind;
  __u8 end; // the sender
  __u8 flags;
  __u8 direction;
  __u8 verdict;
  __u8 action;
  __u8 reason;
  __u8 pad[2];
};

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 24);
} copies SEC(".maps");

// Whether the reader sleeps until it is woken. While there is much to read it looks
// by itself, every millisecond, and nobody pays for waking it.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} reader_sleeps SEC(".maps");

static __always_inline __u64 wakes_reader(void) {
  __u32 zero = 0;
  __u32 *sleeps = bpf_map_lookup_elem(&reader_sleeps, &zero);
  if (!sleeps || !*(volatile __u32 *)sleeps || !__sync_lock_test_and_set(sleeps, 0))
    return BPF_RB_NO_WAKEUP;
  return BPF_RB_FORCE_WAKEUP;
}

// Fills in what is known of the connection; the rest is zero.
static __always_inline void fill_copy(struct copy *c, const struct flow_key *k,
                                      const struct flow *f) {
  __builtin_memset(c, 0, sizeof(*c));
  c->key = *k;
  c->id = f->id;
  c->first = f->first;
  c->tables = f->tables;
  c->rule = f->rule;
  c->ifindex = f->ifindex;
  c->flow_flags = f->flags;
  c->tcp = f->tcp;
  for (int i = 0; i < 2; i++) {
    c->initial[i] = f->initial[i];
    c->acked[i] = f->acked[i];
  }
  c->direction = f->direction;
  c->verdict = f->verdict;
  c->action = f->action;
  c->reason = f->reason;
}

#endif
