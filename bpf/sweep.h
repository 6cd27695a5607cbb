// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The pass over all connections.
#ifndef WEIR_SWEEP_H
#define WEIR_SWEEP_H

#include "flow.h"
#include "judge.h"
#include "look_state.h"
#include "maps.h"
#include "tcp_state.h"
#include "openings.h"
#include "tell.h"

// What a run of sweep() is given and leaves behind.
struct sweep_run {
  __u64 tcp_ns; // idle times after which a connection is over
  __u64 tcp_closing_ns;
  __u64 udp_ns;
  __u64 icmp_ns;   // and all other protocols
  __u64 update_ns; // between updates; 0: none
  __u64 now;
  __u64 active; // connections that are not over
  __u64 entries;
  __u64 ended;
  __u64 delayed;       // events that found the ring buffer full
  __u32 oldest_tables; // the lowest table sequence an entry refers to
  __u32 last_time;     // nobody comes after this one to tell what is to be told
};

static __always_inline __u64 idle_limit(const struct flow_key *k, const struct flow *f,
                                        const struct sweep_run *s) {
  if (protocol_of(k) == IPPROTO_TCP) {
    if ((f->flags & (FLOW_CLOSED | FLOW_DROP)) || !(f->flags & FLOW_SETTLED) ||
        (f->tcp & (TCP_FIN * 3)))
      return s->tcp_closing_ns;
    return s->tcp_ns;
  }
  return protocol_of(k) == IPPROTO_UDP ? s->udp_ns : s->icmp_ns;
}

// How long a quiet connection may take to settle before its start is counted.
#define SETTLE_NS 1000000000ULL

// How long a connection that was reset, and had carried data, must be silent until
// its end is told; and one that is looked into, where user space says nothing.
#define LINGER_NS 1000000000ULL

struct bpf_map;

static long sweep_flow(struct bpf_map *map, struct flow_key *key, struct flow *f,
                       struct sweep_run *s) {
  struct flow_key copy = *key; // the map's own must not be handed on
  struct flow_key *k = &copy;
  __u64 last = f->last;
  __u64 idle = s->now > last ? s->now - last : 0;
  s->entries += 1;
  if (f->tables && f->tables < s->oldest_tables)
    s->oldest_tables = f->tables;
  __u32 expired = idle > idle_limit(k, f, s);
  // Nothing is told of those that were taken over until a packet of them came.
  if ((f->flags & FLOW_FOLLOWER) || !f->tables) {
    if (expired)
      bpf_map_delete_elem(&flows, k);
    return 0;
  }
  if (expired)
    close_flow(f, idle_reason(f));
  if (expired || s->last_time || idle > LINGER_NS)
    clear_bits(&f->flags, FLOW_LINGERS | FLOW_AWAITS);
  if ((f->flags & FLOW_CLOSED) && end_look(k, f) < 0) {
    s->delayed += 1;
    return 0;
  }
  // Whoever answers does so within a second, mostly.
  if ((f->flags & FLOW_QUIET) && s->now - f->first > SETTLE_NS)
    fold_due(k, f);
  if (tell_due(k, f)) {
    s->delayed += 1;
    return 0;
  }
  if (expired) {
    bpf_map_delete_elem(&flows, k);
    s->ended += 1;
    return 0;
  }
  if (f->flags & FLOW_CLOSED)
    return 0;
  s->active += 1;
  if (s->update_ns && !(f->flags & FLOW_QUIET) && ticks(s->now) - f->told >= ticks(s->update_ns)) {
    if (tell(k, f, EVENT_UPDATE, s->now))
      s->delayed += 1;
    else
      f->told = ticks(s->now);
  }
  return 0;
}

// What a processor began to look into while another ended it.
static long sweep_look(struct bpf_map *map, struct flow_key *key, struct look *l,
                       struct sweep_run *s) {
  struct flow_key copy = *key;
  struct flow *f = bpf_map_lookup_elem(&flows, &copy);
  if (!f || f->id != l->id || !(f->flags & (FLOW_LOOKED | FLOW_HELD)))
    bpf_map_delete_elem(&looks, &copy);
  else if (l->done && s->now > l->drain_until) {
    clear_bits(&f->flags, FLOW_HELD);
    bpf_map_delete_elem(&looks, &copy);
  }
  return 0;
}

// Run by user space every second or so: ends what is idle, sends what is due,
// and notes that the agent, in whose context it runs, is alive.
SEC("syscall")
int sweep(struct sweep_run *args) {
  struct sweep_run s = {
      .tcp_ns = args->tcp_ns,
      .tcp_closing_ns = args->tcp_closing_ns,
      .udp_ns = args->udp_ns,
      .icmp_ns = args->icmp_ns,
      .update_ns = args->update_ns,
      .last_time = args->last_time,
      .now = bpf_ktime_get_ns(),
      .oldest_tables = ~0U,
  };
  __u32 zero = 0;
  struct agent *agent = bpf_map_lookup_elem(&agents, &zero);
  if (agent) {
    agent->tgid = bpf_get_current_pid_tgid() >> 32;
    agent->alive = s.now;
  }
  bpf_for_each_map_elem(&flows, sweep_flow, &s, 0);
  bpf_for_each_map_elem(&looks, sweep_look, &s, 0);
  args->active = s.active;
  args->entries = s.entries;
  args->ended = s.ended;
  args->delayed = s.delayed;
  args->oldest_tables = s.oldest_tables;
  args->now = s.now;
  return 0;
}

#endif
