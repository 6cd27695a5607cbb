// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Events for user space. An event that finds the ring buffer full stays due:
// the connection's next packet or the next sweep sends it.
#ifndef WEIR_TELL_H
#define WEIR_TELL_H

#include "counters.h"
#include "flood.h"
#include "maps.h"

enum {
  // Waking the reader costs more than the event: it polls, and is woken only
  // each time that this much more is waiting.
  WAKE_BYTES = 1 << 18,
  EVENT_HEADER = 8, // of the ring buffer
};

static __always_inline void fill_event(struct event *e, const struct flow_key *k,
                                       const struct flow *f) {
  __u32 source_is_high = f->flags & FLOW_SOURCE_IS_HIGH;
  const __u32 *source = source_is_high ? k->high : k->low;
  const __u32 *destination = source_is_high ? k->low : k->high;
  __builtin_memcpy(e->source, source, 16);
  __builtin_memcpy(e->destination, destination, 16);
  e->source_port = k->low_port;
  e->destination_port = k->high_port;
  if (source_is_high && (protocol_of(k) == IPPROTO_TCP || protocol_of(k) == IPPROTO_UDP)) {
    e->source_port = k->high_port;
    e->destination_port = k->low_port;
  }
  e->protocol = protocol_of(k);
  e->zone = k->protocol_zone >> 8;
  e->id = f->id;
  e->first = f->first;
  e->last = f->last;
  for (int i = 0; i < 2; i++) {
    e->packets[i] = f->packets[i];
    e->bytes[i] = f->bytes[i];
  }
  e->ifindex = f->ifindex;
  e->tables = f->tables;
  e->rule = f->rule;
  e->shadow_rule = f->shadow_rule;
  e->flags = f->flags;
  e->direction = f->direction;
  e->verdict = f->verdict;
  e->action = f->action;
  e->reason = f->reason;
  e->shadow_action = f->shadow_action;
  e->end = f->end;
  e->application = f->application;
  e->looked = !!(f->flags & FLOW_LOOKED);
  __builtin_memset(e->pad, 0, sizeof(e->pad));
}

// Whether an event is this processor's to send, and not another's.
static __always_inline __u32 claim(struct flow *f, enum event_kind kind) {
  switch (kind) {
  case EVENT_START:
    return !(__sync_fetch_and_or(&f->flags, FLOW_START_TOLD) & FLOW_START_TOLD);
  case EVENT_VERDICT:
    return __sync_fetch_and_and(&f->flags, ~FLOW_VERDICT_DUE) & FLOW_VERDICT_DUE;
  case EVENT_END:
    return !(__sync_fetch_and_or(&f->flags, FLOW_END_TOLD) & FLOW_END_TOLD);
  default:
    return 1;
  }
}

// Sends an event. It is claimed when it has its place in the ring buffer, so that
// those which follow it come after it.
static __always_inline int tell(const struct flow_key *k, struct flow *f, enum event_kind kind,
                                __u64 time) {
  struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
  if (!e) {
    count(COUNT_EVENT_DELAYED);
    return -1;
  }
  if (!claim(f, kind)) {
    bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
    return 0;
  }
  fill_event(e, k, f);
  e->kind = kind;
  e->time = time;
  __u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
  __u64 before = waiting - sizeof(*e) - EVENT_HEADER;
  __u32 wakes = waiting / WAKE_BYTES > before / WAKE_BYTES;
  bpf_ringbuf_submit(e, wakes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
  return 0;
}

// Sends what is due: the start, a changed verdict, the end, in that order. Of a
// quiet connection nothing is, but that it is counted when it is over.
__noinline int tell_due(const struct flow_key *k, struct flow *f) {
  if (!k || !f)
    return -1;
  if (f->flags & FLOW_QUIET)
    return f->flags & FLOW_CLOSED ? fold_due(k, f) : 0;
  if (!(f->flags & FLOW_START_TOLD)) {
    if (tell(k, f, EVENT_START, f->first))
      return -1;
    clear_bits(&f->flags, FLOW_VERDICT_DUE);
  }
  if (f->flags & FLOW_VERDICT_DUE) {
    if (tell(k, f, EVENT_VERDICT, f->last))
      return -1;
  }
  if (is_end_due(f)) {
    if (tell(k, f, EVENT_END, f->last))
      return -1;
  }
  return 0;
}

static __always_inline void tell_if_due(const struct flow_key *k, struct flow *f) {
  if ((f->flags & (FLOW_START_TOLD | FLOW_VERDICT_DUE)) != FLOW_START_TOLD || is_end_due(f))
    tell_due(k, f);
}

#endif
