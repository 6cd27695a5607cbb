// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Connections that user space looks into: which, and how far. The program that
// copies their packets (look.c) is loaded only where there is something to look
// for, and reached by a tail call; every other connection costs the test of a flag.
#ifndef WEIR_LOOK_STATE_H
#define WEIR_LOOK_STATE_H

#include "copy.h"
#include "counters.h"
#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "tcp_state.h"

// Programs that others go on to. An empty slot is passed over. New ones come last.
enum stage { STAGE_LOOK = 0, STAGE_HOLD = 1, STAGES };

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, STAGES);
  __type(key, __u32);
  __type(value, __u32);
} stages SEC(".maps");

// What is to be looked into, of the connections that open from now on.
enum look_wanted {
  LOOK_TCP = 1 << 0,
  LOOK_UDP = 1 << 1,
  LOOK_PENDING = 1 << 2, // those whose walk needs facts that are not known yet
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} looks_wanted SEC(".maps");

// How far a connection is looked into; each end's own. It is made when there is
// first something to copy, and goes when user space wants no more, or with the
// connection.
struct look {
  __u64 id; // of the flow
  // TCP: the bytes that pass without a look, as the number of the first << 32 | how
  // many. In one word, for no packet to see half of a change.
  __u64 window[2];
  // What may be copied until user space gives more: bytes of TCP, datagrams of UDP.
  __s32 credit[2];
  __u32 lost; // packets of both ends that were not copied since the last that was
  // The rest is of connections that are held.
  __u32 away;        // packets that are in user space
  __u64 drain_until; // until when later ones do not overtake them
  // What packets lose on the way through user space, of each end's last one.
  __u32 mark[2];
  __u32 priority[2];
  __u8 macs[2][12];
  __u32 done; // user space wants no more
  // The policy by which what the destination sends passes while there is credit, with a
  // copy of it to user space; 0: none, and it waits.
  __u32 answers_by;
  // The ends, 1 << end, of which user space is to be told when a packet is in the second
  // half of the window: it moves the window on before that ends.
  __u32 renews;
};

enum {
  // Enough for any handshake, and for a request with its headers. An agent that
  // does not answer costs no more than these.
  FIRST_BYTES = 1 << 16,
  FIRST_DATAGRAMS = 16,
  // The longest window: with longer ones, what comes 4 GiB later would be taken for
  // part of it too soon.
  MAX_WINDOW = 1 << 28,
  MAX_CREDIT = 1 << 30,
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 18);
  __type(key, struct flow_key);
  __type(value, struct look);
} looks SEC(".maps");

// Whether a connection that p opens, and that was judged, is to be looked into.
// `accepted`: p is the answer to a SYN that was seen. What has begun unseen is not.
static __always_inline __u32 wants_look(const struct packet *p, const struct flow *f,
                                        __u32 accepted) {
  __u32 zero = 0;
  volatile __u32 *wanted = bpf_map_lookup_elem(&looks_wanted, &zero);
  __u32 which = wanted ? *wanted : 0;
  if (!which || (f->flags & (FLOW_OWN | FLOW_DROP)) || f->reason == REASON_SAFEGUARD ||
      p->is_later_fragment)
    return 0;
  __u32 of_kind;
  if (p->protocol == IPPROTO_TCP) {
    if (!accepted && !opens(p))
      return 0;
    of_kind = LOOK_TCP;
  } else if (p->protocol == IPPROTO_UDP) {
    of_kind = LOOK_UDP;
  } else {
    return 0;
  }
  return (which & of_kind) || ((which & LOOK_PENDING) && f->reason == REASON_PENDING);
}

// Says, in the order of the copies, that a connection is over, and forgets how far
// it was looked into. Returns 1 where it said so, 0 where nothing was copied of it,
// and -1 where the ring buffer is full.
__noinline int end_look(const struct flow_key *k, struct flow *f) {
  if (!k || !f || !(f->flags & FLOW_LOOKED))
    return 0;
  struct flow_key own = *k; // as in candidate_of_given()
  struct look *l = bpf_map_lookup_elem(&looks, &own);
  if (!l || l->id != f->id) {
    clear_bits(&f->flags, FLOW_LOOKED);
    return 0;
  }
  struct copy *c = bpf_ringbuf_reserve(&copies, sizeof(*c), 0);
  if (!c) {
    count(COUNT_COPY_LOST);
    return -1;
  }
  if (!(__sync_fetch_and_and(&f->flags, ~FLOW_LOOKED) & FLOW_LOOKED)) {
    bpf_ringbuf_discard(c, BPF_RB_NO_WAKEUP); // another processor was quicker
    return 0;
  }
  fill_copy(c, &own, f);
  c->time = f->last;
  c->kind = COPY_ENDED;
  c->lost = l->lost;
  bpf_ringbuf_submit(c, wakes_reader());
  bpf_map_delete_elem(&looks, &own);
  return 1;
}

#endif
