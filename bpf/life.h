// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// How entries begin, are taken by a new connection, and follow another.
#ifndef WEIR_LIFE_H
#define WEIR_LIFE_H

#include "direction.h"
#include "judge.h"
#include "openings.h"
#include "reopen.h"
#include "tcp_state.h"

#define E2BIG 7

enum {
  AGENT_TIMEOUT_NS = 30 * 1000000000ULL,
};

// Where struct task_struct has its tgid, in bytes; 0 where the kernel gives it to
// these programs by a helper (Linux 6.10). Set by the loader.
volatile const __u32 tgid_offset = 0;

// Sockets of the agent that are known to be its own whoever's context their packets
// leave in, by their cookies: those of certificate probes. A cookie is given once.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u64);
  __type(value, __u8);
} own_sockets SEC(".maps");

// Whether the packet is sent by the agent itself. A first packet leaves in the
// context of the process that connects; a segment that is sent again, by a timer,
// in that of whoever is running, and so does one that waited for a neighbor's
// address. A dead agent's number may be another process's by now, so it must have
// been heard of lately.
static __always_inline __u32 own_process(struct __sk_buff *skb, __u32 egress, __u64 now) {
  struct bpf_sock *any = skb->sk;
  if (!egress || skb->ingress_ifindex || !any)
    return 0;
  __u64 cookie = bpf_get_socket_cookie(skb);
  if (!MUTANT(NO_OWN_SOCKETS) && bpf_map_lookup_elem(&own_sockets, &cookie))
    return 1;
  __u32 zero = 0;
  struct agent *agent = bpf_map_lookup_elem(&agents, &zero);
  if (!agent || !agent->tgid || now - agent->alive > AGENT_TIMEOUT_NS)
    return 0;
  struct bpf_sock *sk = bpf_sk_fullsock(any);
  struct bpf_tcp_sock *tcp = sk ? bpf_tcp_sock(sk) : NULL;
  if (tcp && tcp->total_retrans)
    return 0;
  if (!tgid_offset)
    return bpf_get_current_pid_tgid() >> 32 == agent->tgid;
  __u32 tgid = 0;
  bpf_probe_read_kernel(&tgid, sizeof(tgid), (void *)bpf_get_current_task() + tgid_offset);
  return tgid == agent->tgid;
}

// Puts together, in the workspace, the entry of a connection whose first packet
// is p, with what it inherits. It is not judged here: the stacks of this and of the
// walk together would be too much.
__noinline int prepare_flow(struct __sk_buff *skb, const struct packet *p, __u32 arrival,
                            __u64 now) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w || !p)
    return -1;
  struct flow *f = &w->flow;
  __builtin_memset(f, 0, sizeof(*f));
  __u32 from_source = sender_is_source(p);
  __u32 egress = arrival & ARRIVES_EGRESS;
  f->id = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
  f->first = now;
  f->last = now;
  f->told = ticks(now);
  f->ifindex = skb->ifindex;
  f->direction = direction_of(skb, p, egress, from_source);
  if (!!(arrival & ARRIVES_FROM_HIGH) == from_source)
    set_bits(&f->flags, FLOW_SOURCE_IS_HIGH);
  if (p->is_ipv6 && p->hop_limit == 255)
    set_bits(&f->flags, FLOW_NEIGHBOR);
  if (interface_of(skb->ifindex) & INTERFACE_LOOPBACK)
    set_bits(&f->flags, FLOW_LOOPBACK);
  if (own_process(skb, egress, now))
    set_bits(&f->flags, FLOW_OWN);
  if (!may_tell_opening(now))
    set_bits(&f->flags, FLOW_QUIET);
  inherit(f, &w->inheritance);
  return 0;
}

// Enters what prepare_flow() made. Returns the entry, also where another processor
// was first; NULL where the table is full.
static __always_inline struct flow *enter_flow(const struct flow_key *k, struct flow *prepared,
                                               __u64 update) {
  admit(k, prepared);
  long failed = bpf_map_update_elem(&flows, k, prepared, update);
  struct flow *f = bpf_map_lookup_elem(&flows, k);
  if (f && !failed)
    count_judgement(k, f);
  if (!f)
    count(COUNT_FLOW_TABLE_FULL);
  return f;
}

// How long an end's hook must be silent before another one counts: 50 ms, in
// ticks. A packet passes from one to the next in microseconds.
#define REROUTED 48

// Packets of each end are counted where its first was: a bridge port and its
// bridge, or both sides of loopback, see them twice.
static __always_inline __u32 is_follower(struct __sk_buff *skb, struct flow *f, __u32 end,
                                         __u32 egress, __u32 judged, __u64 now) {
  __u32 hook = skb->ifindex << 1 | egress;
  if (!MUTANT(COUNTED_TWICE) && f->hook[end] && f->hook[end] != hook &&
      (judged || (__s32)(ticks(now) - f->hook_at[end]) <= REROUTED))
    return 1;
  f->hook[end] = hook;
  f->hook_at[end] = ticks(now);
  return 0;
}

// Whether the packet came in by a watched interface and was judged there.
static __always_inline __u32 was_judged(struct __sk_buff *skb, __u32 egress) {
  __u32 from = skb->ingress_ifindex;
  return egress && from && (interface_of(from) & INTERFACE_WATCHED);
}

// A packet that was judged where it came in leaves under a tuple that has no
// entry: it was translated on its way. Its entry lets the replies to it pass;
// they are judged and counted where they bear the first tuple again. A SYN from
// outside is no reply and is judged all the same.
static __always_inline struct flow *open_follower(const struct flow_key *k, __u32 sender_is_high) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return NULL;
  __builtin_memset(&w->flow, 0, sizeof(w->flow));
  w->flow.id = bpf_get_prandom_u32() | 1;
  w->flow.action = ALLOW; // of ICMP errors that quote it
  w->flow.flags = FLOW_FOLLOWER | (sender_is_high ? FLOW_SOURCE_IS_HIGH : 0);
  admit(k, &w->flow);
  if (bpf_map_update_elem(&flows, k, &w->flow, BPF_NOEXIST) == -E2BIG)
    count(COUNT_FLOW_TABLE_FULL);
  return bpf_map_lookup_elem(&flows, k);
}

// Notes a packet of a follower, which ends when what it follows does.
static __always_inline int follow(const struct flow_key *k, struct flow *f, const struct packet *p,
                                  __u32 sender_is_high, __u64 now) {
  f->last = now;
  __u32 end = sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? SOURCE : DESTINATION;
  if (p->protocol != IPPROTO_TCP)
    settle(f, p->protocol, end);
  if (p->protocol != IPPROTO_TCP || p->is_later_fragment)
    return PASS;
  int opening = opening_of(k, f, p, end);
  if (opening == CANDIDATE) {
    note_candidate(k, f, p, end, now);
    return PASS;
  }
  if (opening == REOPENS) {
    struct candidate *c = candidate_of(k, f);
    __u32 accepted = c && (p->tcp_flags & TCP_FLAG_ACK_);
    f->tcp = 0;
    if (accepted)
      accept_candidate(f, c->initial, c->after);
    clear_bits(&f->flags, FLOW_CLOSED | FLOW_SOURCE_IS_HIGH);
    if (accepted ? !sender_is_high : sender_is_high)
      set_bits(&f->flags, FLOW_SOURCE_IS_HIGH);
    end = accepted ? DESTINATION : SOURCE;
  }
  if (track_tcp(f, p, end))
    set_bits(&f->flags, FLOW_CLOSED);
  settle(f, p->protocol, end);
  return PASS;
}

#endif
