// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What of a packet is copied: its payload where it is wanted, and the segments that
// close a stream. A SYN, and acknowledgments by themselves, are not, and the answer to a
// SYN only where its rules need more than the packet: every copy has the numbers of both
// SYNs, and the highest that each end has acknowledged.
#ifndef WEIR_MIRROR_H
#define WEIR_MIRROR_H

#include "copy.h"
#include "look_state.h"
#include "mutant.h"

enum {
  // Of payload in one copy: the values of a per-processor map have 32 KiB.
  PART_BYTES = 1 << 14,
  // And copies of one packet: what BIG TCP's superpackets have beyond is missing.
  MAX_PARTS = 16,
};

struct part {
  struct copy head;
  __u8 payload[PART_BYTES];
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct part);
} parts SEC(".maps");

static __always_inline struct part *part_at_hand(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&parts, &zero);
}

// Sends the part at hand with `length` bytes of the packet from `offset` on.
__noinline int send_part(struct __sk_buff *skb, __u32 offset, __u32 length) {
  struct part *part = part_at_hand();
  if (!part || length > PART_BYTES)
    return -1;
  // That something which is not 0 is at least 1 is nothing to the verifier of 6.1.
  __u32 beyond_first = length - 1;
  barrier_var(beyond_first);
  if (beyond_first < PART_BYTES && bpf_skb_load_bytes(skb, offset, part->payload, beyond_first + 1))
    return -1;
  part->head.length = length;
  if (bpf_ringbuf_output(&copies, part, sizeof(part->head) + length, wakes_reader()))
    return -1;
  part->head.lost = 0;
  return 0;
}

// Finds how far the connection is looked into, and begins where it was not yet.
static __always_inline struct look *look_of(const struct flow_key *k, struct flow *f,
                                            __u32 begins) {
  struct look *l = bpf_map_lookup_elem(&looks, k);
  if (l && l->id == f->id)
    return l;
  if (!begins)
    return NULL;
  struct look fresh = {.id = f->id};
  fresh.credit[0] = protocol_of(k) == IPPROTO_TCP ? FIRST_BYTES : FIRST_DATAGRAMS;
  fresh.credit[1] = fresh.credit[0];
  if (bpf_map_update_elem(&looks, k, &fresh, BPF_ANY)) {
    count(COUNT_LOOKS_FULL);
    clear_bits(&f->flags, FLOW_LOOKED);
    return NULL;
  }
  return bpf_map_lookup_elem(&looks, k);
}

// Whether all of the payload lies where nothing is looked for. A superpacket that
// reaches beyond is copied whole.
static __always_inline __u32 passes_window(const struct look *l, __u32 end, __u32 seq,
                                           __u32 length) {
  __u64 window = *(volatile __u64 *)&l->window[end & 1];
  __u32 bytes = window;
  __u32 at = seq - (__u32)(window >> 32);
  return length && at < bytes && length <= bytes - at;
}

// Sends the payload, in parts. Returns 0, or -1 where one of them had no room.
static __always_inline int send_payload(struct __sk_buff *skb, struct part *part,
                                        const struct packet *p) {
  __u32 left = p->payload_bytes, sent = 0, longest = PART_BYTES;
  __u8 flags = p->tcp_flags;
  if (part->head.segment) // whole datagrams
    longest = PART_BYTES / part->head.segment * part->head.segment;
  for (int i = 0; i < MAX_PARTS; i++) {
    __u32 length = left < longest ? left : longest;
    // Of a datagram that is longer, the beginning.
    __u32 is_last =
        length == left || i == MAX_PARTS - 1 || (p->protocol == IPPROTO_UDP && !part->head.segment);
    part->head.missing = is_last ? left - length : 0;
    part->head.tcp_flags = is_last ? flags : flags & ~TCP_FLAG_FIN_;
    if (send_part(skb, p->payload + sent, length))
      return -1;
    if (is_last)
      break;
    sent += length;
    left -= length;
    part->head.seq += length + !!(flags & TCP_FLAG_SYN_);
    flags &= ~TCP_FLAG_SYN_;
  }
  return 0;
}

// Begins a copy of p, which `end` sent.
static __always_inline void describe(struct copy *c, const struct flow_key *k, const struct flow *f,
                                     const struct packet *p, __u32 end) {
  fill_copy(c, k, f);
  c->kind = COPY_PACKET;
  c->end = end;
  c->time = p->time;
  c->seq = p->seq;
  c->ack = p->ack;
  c->tcp_flags = p->tcp_flags;
}

// Copies what is wanted of p, which `end` sent.
static __always_inline int mirror(struct __sk_buff *skb, const struct flow_key *k, struct flow *f,
                                  const struct packet *p, __u32 end) {
  __u32 is_tcp = p->protocol == IPPROTO_TCP;
  __u32 bytes = p->payload_bytes;
  if (p->is_later_fragment || (is_tcp && has_odd_flags(p)))
    return 0;
  // A flood of SYNs with made-up sources, answered or not, costs no copies; but for
  // answers where rules have not decided, some of which need no more than a name.
  __u32 answer = (p->tcp_flags & TCP_FLAG_SYN_) && (p->tcp_flags & TCP_FLAG_ACK_) &&
                 f->reason == REASON_PENDING;
  __u32 closing = p->tcp_flags & (TCP_FLAG_FIN_ | TCP_FLAG_RST_);
  if (!bytes && is_tcp && !answer && !closing)
    return 0;
  struct look *l = look_of(k, f, bytes || answer || !is_tcp);
  struct part *part = part_at_hand();
  if (!l || !part)
    return 0;
  end &= 1;
  __u32 first = p->seq + !!(p->tcp_flags & TCP_FLAG_SYN_);
  __u32 wanted = !is_tcp || MUTANT(NO_WINDOW) || !passes_window(l, end, first, bytes);
  if (!wanted && !closing)
    return 0;
  if (wanted && (bytes || !is_tcp)) {
    if (l->credit[end] <= 0 && !MUTANT(NO_CREDIT)) {
      count(COUNT_COPY_WITHHELD);
      __sync_fetch_and_add(&l->lost, 1);
      if (!closing)
        return 0;
      wanted = 0;
    } else {
      __sync_fetch_and_sub(&l->credit[end], is_tcp ? bytes : p->packets);
    }
  }
  describe(&part->head, k, f, p, end);
  part->head.credit = l->credit[end];
  part->head.flags = p->is_remembered ? COPY_FRAGMENT : 0;
  if (!is_tcp && p->packets > 1)
    part->head.segment = skb->gso_size;
  if (part->head.segment > PART_BYTES)
    part->head.segment = 0;
  part->head.lost = __sync_lock_test_and_set(&l->lost, 0);
  int failed;
  if (wanted) {
    failed = send_payload(skb, part, p);
    if (part->head.missing)
      count(COUNT_COPY_CUT);
  } else {
    part->head.missing = bytes;
    failed = send_part(skb, 0, 0);
  }
  if (failed) {
    count(COUNT_COPY_LOST);
    __sync_fetch_and_add(&l->lost, part->head.lost + 1);
  }
  return 0;
}

#endif
