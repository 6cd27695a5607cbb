//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The firewall proper: every packet of a watched interface, in and out.
// Needs tcx (Linux 6.6), bpf_loop (5.17), map iteration by callback (5.13).
//
// One lookup finds the connection; its entry says what becomes of the packet.
// Only a connection's first packet, and the first after a change of policy,
// walks the rules.
#include <linux/types.h>
#include <stddef.h>

#include "counters.h"
#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "policy.h"
#include "reject.h"
#include "tcp_state.h"
#include "tell.h"

#define AF_INET 2
#define AF_INET6 10
#define E2BIG 7

// What is too large for the stack. The programs run with softirqs off, and none
// is entered while another uses it.
struct workspace {
  struct flow flow;
  struct subject subject;
  struct decision decision;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct workspace);
} workspaces SEC(".maps");

// Fills the key of p's connection. Returns whether p's sender is its high end.
static __always_inline __u32 make_key(const struct packet *p, struct flow_key *k) {
  int order = 0;
  for (int i = 0; i < 4 && !order; i++)
    order = p->source[i] < p->destination[i] ? -1 : p->source[i] > p->destination[i] ? 1 : 0;
  __u32 has_ports = p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP;
  if (!order && has_ports)
    order = p->source_port < p->destination_port   ? -1
            : p->source_port > p->destination_port ? 1
                                                   : 0;
  // An ICMP query from an address to itself: the reply is the high end's.
  __u32 is_high = order ? order > 0 : p->icmp_reply;
  __builtin_memcpy(k->low, is_high ? p->destination : p->source, 16);
  __builtin_memcpy(k->high, is_high ? p->source : p->destination, 16);
  k->low_port = is_high && has_ports ? p->destination_port : p->source_port;
  k->high_port = is_high && has_ports ? p->source_port : p->destination_port;
  k->protocol_zone = p->zone << 8 | p->protocol;
  return is_high;
}

// Whether the packet that comes in is for this host. The routing table knows:
// it holds every local address of the interface's namespace.
static __always_inline int is_for_host(struct __sk_buff *skb, const struct packet *p) {
  if (skb->pkt_type == PACKET_OTHERHOST)
    return 0;
  if (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST)
    return 1;
  struct bpf_fib_lookup fib = {.ifindex = skb->ifindex};
  if (p->is_ipv6) {
    fib.family = AF_INET6;
    __builtin_memcpy(fib.ipv6_src, p->source, 16);
    __builtin_memcpy(fib.ipv6_dst, p->destination, 16);
  } else {
    fib.family = AF_INET;
    fib.ipv4_src = p->source[3];
    fib.ipv4_dst = p->destination[3];
  }
  long found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
  return found < 0 || found == BPF_FIB_LKUP_RET_NOT_FWDED || found == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

// Whether p, the first packet seen, was sent by the end that opened the
// connection.
static __always_inline __u32 sender_is_source(const struct packet *p) {
  if (p->icmp_reply)
    return 0;
  if (p->protocol != IPPROTO_TCP || p->is_later_fragment)
    return 1;
  if (p->tcp_flags & TCP_FLAG_SYN_)
    return !(p->tcp_flags & TCP_FLAG_ACK_);
  // Picked up in the middle: servers have the lower port.
  return bpf_ntohs(p->source_port) >= bpf_ntohs(p->destination_port);
}

static __always_inline __u8 direction_of(struct __sk_buff *skb, const struct packet *p,
                                         __u32 egress, __u32 from_source) {
  __u32 sent_by_host = egress && !skb->ingress_ifindex;
  __u32 sent_to_host = !egress && is_for_host(skb, p);
  if (!sent_by_host && !sent_to_host)
    return FORWARDED;
  return sent_by_host == from_source ? OUTBOUND : INBOUND;
}

static __always_inline void make_subject(const struct flow_key *k, const struct flow *f, __u64 now,
                                         struct subject *s) {
  __u32 is_high = f->flags & FLOW_SOURCE_IS_HIGH;
  __builtin_memcpy(s->source, is_high ? k->high : k->low, 16);
  __builtin_memcpy(s->destination, is_high ? k->low : k->high, 16);
  s->protocol = protocol_of(k);
  s->is_ipv6 = k->low[0] || k->low[1] || k->low[2] != bpf_htonl(0xffff);
  s->direction = f->direction;
  s->flags = f->flags;
  s->age = now - f->first;
  if (protocol_of(k) == IPPROTO_TCP || protocol_of(k) == IPPROTO_UDP) {
    s->source_port = bpf_ntohs(is_high ? k->high_port : k->low_port);
    s->destination_port = bpf_ntohs(is_high ? k->low_port : k->high_port);
  } else {
    // 0 for protocols without; the row of 0 has what asks for no port.
    s->source_port = bpf_ntohs(k->high_port) >> 8;
    s->destination_port = bpf_ntohs(k->high_port) & 0xff;
  }
}

static __always_inline __u32 wants_reject(const struct policy_settings *set, __u8 reject,
                                          __u8 direction) {
  if (reject != REJECT_BY_POLICY)
    return reject == REJECT_YES;
  return set->reject_mode == REJECT_ALWAYS ||
         (set->reject_mode == REJECT_OUTBOUND && direction == OUTBOUND);
}

// Writes what the tables say into the entry. Returns -1 where there are none.
__noinline int judge_flow(const struct flow_key *k, struct flow *f, __u64 now) {
  if (!k || !f)
    return -1;
  __u32 tables = current_tables();
  __u32 slot = tables & 1;
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  if (!w || !set)
    return -1;
  struct decision *d = &w->decision;
  make_subject(k, f, now, &w->subject);
  if (!tables || judge(slot, &w->subject, d)) {
    count(COUNT_TABLES_MISSING);
    return -1;
  }
  f->tables = tables;
  f->rule = d->rule;
  f->action = d->action;
  f->reason = d->reason;
  // Told only where the walk with shadow rules comes to another action.
  __u32 differs = d->action && d->shadow_action && d->action != d->shadow_action;
  f->shadow_rule = differs ? d->shadow_rule : NO_RULE;
  f->shadow_action = differs ? d->shadow_action : NO_ACTION;
  f->judge_at = d->judge_after ? f->first + d->judge_after : 0;
  f->flags &= ~(FLOW_DROP | FLOW_REJECT | FLOW_PREVENT);
  f->verdict = DETECTED;
  if (set->prevent) {
    f->flags |= FLOW_PREVENT;
    f->verdict = d->action == BLOCK ? BLOCKED : d->action == ALLOW ? ALLOWED : PENDING;
    if (d->action == BLOCK)
      f->flags |= FLOW_DROP;
    if (d->action == BLOCK && wants_reject(set, d->reject, f->direction))
      f->flags |= FLOW_REJECT;
  }
  return 0;
}

// Counts a verdict that is new to its connection, right after judge_flow().
static __always_inline void count_judgement(const struct flow_key *k, const struct flow *f) {
  __u32 slot = f->tables & 1;
  __u32 zero = 0;
  count_verdict(f, protocol_of(k));
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return;
  if (w->decision.rule != NO_RULE)
    count_match(slot, w->decision.rule);
  // A shadow rule that agrees is counted too: it shows that it matches.
  if (w->decision.shadow_rule != NO_RULE)
    count_match(slot, w->decision.shadow_rule);
}

// Judges an entry again, after a change of policy or at a duration rule's time.
static __always_inline void judge_again(const struct flow_key *k, struct flow *f, __u64 now) {
  __u8 verdict = f->verdict, action = f->action, reason = f->reason;
  __u32 due = f->judge_at && now >= f->judge_at;
  if (judge_flow(k, f, now))
    return;
  if (f->flags & FLOW_CLOSED)
    return;
  if (verdict != f->verdict || action != f->action || reason != f->reason) {
    f->flags |= FLOW_VERDICT_DUE;
    count_judgement(k, f);
  }
  // Takes effect when the connection is cut, or ends by itself.
  if (f->verdict != BLOCKED)
    f->end = END_NONE;
  else if (verdict != BLOCKED)
    f->end = due ? END_DURATION : END_POLICY;
}

enum {
  AGENT_TIMEOUT_NS = 30 * 1000000000ULL,
};

// Whether the packet is sent by the agent itself. A first packet leaves in the
// context of the process that connects. A dead agent's number may be another
// process's by now, so it must have been heard of lately.
static __always_inline __u32 own_process(struct __sk_buff *skb, __u32 egress, __u64 now) {
  if (!egress || skb->ingress_ifindex || !skb->sk)
    return 0;
  __u32 zero = 0;
  struct agent *agent = bpf_map_lookup_elem(&agents, &zero);
  if (!agent || !agent->tgid || now - agent->alive > AGENT_TIMEOUT_NS)
    return 0;
  return bpf_get_current_pid_tgid() >> 32 == agent->tgid;
}

// Makes the entry of a connection whose first packet is p. Returns NULL where
// there is none: the table is full, or another processor was first.
static __always_inline struct flow *open_flow(struct __sk_buff *skb, const struct flow_key *k,
                                              const struct packet *p, __u32 sender_is_high,
                                              __u32 egress, __u64 now, __u64 update) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return NULL;
  struct flow *f = &w->flow;
  __builtin_memset(f, 0, sizeof(*f));
  __u32 from_source = sender_is_source(p);
  f->id = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
  f->first = now;
  f->last = now;
  f->told = now;
  f->ifindex = skb->ifindex;
  f->direction = direction_of(skb, p, egress, from_source);
  if (sender_is_high == from_source)
    f->flags |= FLOW_SOURCE_IS_HIGH;
  if (p->is_ipv6 && p->hop_limit == 255)
    f->flags |= FLOW_NEIGHBOR;
  if (interface_of(skb->ifindex) & INTERFACE_LOOPBACK)
    f->flags |= FLOW_LOOPBACK;
  if (own_process(skb, egress, now))
    f->flags |= FLOW_OWN;
  if (judge_flow(k, f, now))
    return NULL;
  long failed = bpf_map_update_elem(&flows, k, f, update);
  struct flow *made = bpf_map_lookup_elem(&flows, k);
  if (made && !failed)
    count_judgement(k, made);
  if (made)
    return made;
  count(COUNT_FLOW_TABLE_FULL);
  return NULL;
}

// A SYN that is no retransmission, on a tuple that is taken: it opens a
// candidate. Returns 1 where the old connection is over and a new one begins
// with p.
static __always_inline int reopens(struct flow *f, const struct packet *p, __u32 end) {
  if (p->protocol != IPPROTO_TCP || p->is_later_fragment || !(p->tcp_flags & TCP_FLAG_SYN_))
    return 0;
  if (!(p->tcp_flags & TCP_FLAG_ACK_)) {
    __u32 retransmitted = end == SOURCE && (f->tcp & TCP_SEEN) && !(f->tcp & TCP_ANSWERED) &&
                          p->seq + 1 + p->payload_bytes == f->next[SOURCE];
    if (retransmitted)
      return 0;
    if (f->flags & FLOW_CLOSED)
      return 1;
    f->candidate = p->seq;
    f->candidate_bytes = p->bytes;
    f->flags |= FLOW_CANDIDATE;
    f->flags &= ~FLOW_CANDIDATE_BY_DESTINATION;
    if (end == DESTINATION)
      f->flags |= FLOW_CANDIDATE_BY_DESTINATION;
    return 0;
  }
  __u32 by = f->flags & FLOW_CANDIDATE_BY_DESTINATION ? DESTINATION : SOURCE;
  if (!(f->flags & FLOW_CANDIDATE) || by == end)
    return 0;
  // The answer to the SYN that opened the entry itself comes first.
  if (!(f->tcp & TCP_ANSWERED) && p->ack == f->next[SOURCE])
    return 0;
  return p->ack == f->candidate + 1;
}

// Packets of each end are counted where its first was: a bridge port and its
// bridge, or both sides of loopback, see them twice.
static __always_inline __u32 is_follower(struct __sk_buff *skb, struct flow *f, __u32 end,
                                         __u32 egress) {
  __u32 hook = skb->ifindex << 1 | egress;
  if (!f->hook[end])
    f->hook[end] = hook;
  if (f->hook[end] == hook)
    return 0;
  if (!egress || skb->ingress_ifindex)
    return 1;
  f->hook[end] = hook; // sent by this host on another route now
  return 0;
}

// Whether a connection that the policy cuts is reset, or falls silent.
static __always_inline int resets_cut(const struct flow *f) {
  __u32 slot = f->tables & 1;
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  return (f->flags & FLOW_REJECT) || (set && set->reject_mode != REJECT_NEVER);
}

static __always_inline int blocked(struct __sk_buff *skb, __u32 l2, const struct flow_key *k,
                                   struct flow *f, const struct packet *p, __u32 egress,
                                   __u64 now) {
  __u32 was_open = f->end == END_POLICY || f->end == END_DURATION;
  if (was_open && !(f->flags & FLOW_CLOSED) && p->protocol == IPPROTO_TCP && (f->tcp & TCP_DATA) &&
      resets_cut(f)) {
    f->flags |= FLOW_CLOSED;
    tell_due(k, f);
    // The receiver was not given this packet: its first byte is what it expects.
    return reset_both(skb, l2, p, egress, p->seq);
  }
  if (f->flags & FLOW_REJECT) {
    if (p->protocol == IPPROTO_TCP)
      close_flow(f, END_BLOCKED);
    tell_due(k, f);
    return reject(skb, l2, p, egress, now);
  }
  tell_due(k, f);
  return TC_ACT_SHOT;
}

// An ICMP error that quotes an allowed connection belongs to it.
__noinline int is_related(struct __sk_buff *skb, const struct packet *p) {
  if (!p)
    return 0;
  struct packet quoted = {};
  struct flow_key k = {};
  // Unreachable, time exceeded, parameter problem; ICMPv6 packet too big. Those
  // that steer traffic (redirect, source quench) are connections of their own.
  __u8 type = bpf_ntohs(p->destination_port) >> 8;
  if (p->is_ipv6 ? type > 4 : type != 3 && type != 11 && type != 12)
    return 0;
  if (p->is_ipv6) {
    struct ipv6hdr *ip = bytes_at(skb, p->payload, sizeof(*ip) + 8);
    if (!ip || ip->version != 6)
      return 0;
    __builtin_memcpy(quoted.source, &ip->saddr, 16);
    __builtin_memcpy(quoted.destination, &ip->daddr, 16);
    quoted.protocol = ip->nexthdr;
    quoted.transport = p->payload + sizeof(*ip);
  } else {
    struct iphdr *ip = bytes_at(skb, p->payload, sizeof(*ip));
    if (!ip || ip->version != 4 || ip->ihl < 5)
      return 0;
    map_ipv4(quoted.source, ip->saddr);
    map_ipv4(quoted.destination, ip->daddr);
    quoted.protocol = ip->protocol;
    quoted.transport = p->payload + ip->ihl * 4;
  }
  __u8 *ports = bytes_at(skb, quoted.transport, 8);
  if (!ports)
    return 0;
  if (quoted.protocol == IPPROTO_TCP || quoted.protocol == IPPROTO_UDP) {
    quoted.source_port = *(__u16 *)ports;
    quoted.destination_port = *(__u16 *)(ports + 2);
  } else if (quoted.protocol == IPPROTO_ICMP || quoted.protocol == IPPROTO_ICMPV6) {
    if (decode_icmp(skb, &quoted, quoted.transport + 8) || quoted.icmp_error)
      return 0;
  }
  make_key(&quoted, &k);
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  return f && !(f->flags & FLOW_DROP) && f->action == ALLOW;
}

static __always_inline int undecodable(int why) {
  __u32 slot = current_tables() & 1;
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  __u32 prevent = set && set->prevent;
  __u32 drop = 0;
  switch (why) {
  case NOT_IP:
    drop = prevent && set->block_non_ip;
    count(drop ? COUNT_NON_IP_DROPPED : COUNT_NON_IP);
    break;
  case ORPHAN:
    drop = prevent && set->block_malformed;
    count(drop ? COUNT_FRAGMENT_DROPPED : COUNT_FRAGMENT_ORPHAN);
    break;
  default:
    drop = prevent && set->block_malformed;
    count(drop ? COUNT_MALFORMED_DROPPED : COUNT_MALFORMED);
  }
  return drop ? TC_ACT_SHOT : PASS;
}

// No entry could be made: the packet is judged by itself.
static __always_inline int without_entry(const struct flow_key *k) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  return w && w->flow.tables && (w->flow.flags & FLOW_DROP) ? TC_ACT_SHOT : PASS;
}

// Whether the packet came in by a watched interface and was judged there.
static __always_inline __u32 was_judged(struct __sk_buff *skb, __u32 egress) {
  __u32 from = skb->ingress_ifindex;
  return egress && from && (interface_of(from) & INTERFACE_WATCHED);
}

// Whether the packet can only be the first of a connection.
static __always_inline __u32 opens(const struct packet *p) {
  return p->protocol == IPPROTO_TCP && !p->is_later_fragment &&
         (p->tcp_flags & (TCP_FLAG_SYN_ | TCP_FLAG_ACK_)) == TCP_FLAG_SYN_;
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
  w->flow.action = ALLOW; // of ICMP errors that quote it
  w->flow.flags = FLOW_FOLLOWER | (sender_is_high ? FLOW_SOURCE_IS_HIGH : 0);
  if (bpf_map_update_elem(&flows, k, &w->flow, BPF_NOEXIST) == -E2BIG)
    count(COUNT_FLOW_TABLE_FULL);
  return bpf_map_lookup_elem(&flows, k);
}

static __always_inline int follow(struct flow *f, const struct packet *p, __u32 end, __u64 now) {
  f->last = now;
  if (p->protocol == IPPROTO_TCP)
    track_tcp(f, p, end); // it ends when what it follows does
  return PASS;
}

static __always_inline int handle(struct __sk_buff *skb, __u32 l2, __u32 egress) {
  if (reject_mark && skb->mark == reject_mark) {
    // Our own answer on its way to the sender.
    skb->mark = 0;
    return PASS;
  }
  __u32 interface = interface_of(skb->ifindex);
  if (!egress && (interface & INTERFACE_BRIDGE) && skb->pkt_type == PACKET_OTHERHOST) {
    // A bridge shows itself what it floods to all its ports; the stack drops it.
    count(COUNT_OTHER_HOST);
    return PASS;
  }
  __u32 judged = was_judged(skb, egress);
  struct packet p = {};
  int decoded = decode(skb, l2, interface & INTERFACE_ZONE, &p);
  if (decoded == ARP)
    return PASS;
  if (decoded)
    return judged ? PASS : undecodable(decoded);

  struct flow_key k;
  __u32 sender_is_high = make_key(&p, &k);
  __u64 now = bpf_ktime_get_ns();
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  __u32 end = SOURCE;
  if (f)
    end = sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? SOURCE : DESTINATION;
  if (!f && judged) {
    f = open_follower(&k, sender_is_high);
    if (!f)
      return PASS;
  }
  if (f && (f->flags & FLOW_FOLLOWER) && (judged || !opens(&p)))
    return follow(f, &p, end, now);
  if (!f || (f->flags & FLOW_FOLLOWER) || (!judged && reopens(f, &p, end))) {
    if (p.icmp_error) {
      __u32 slot = current_tables() & 1;
      struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
      if (set && set->related_icmp && is_related(skb, &p)) {
        count(COUNT_RELATED_ICMP);
        return PASS;
      }
    }
    if (f && !(f->flags & FLOW_FOLLOWER)) {
      close_flow(f, END_TIMEOUT);
      if (tell_due(&k, f)) // the old one's end comes first
        return f->flags & FLOW_DROP ? TC_ACT_SHOT : PASS;
    }
    f = open_flow(skb, &k, &p, sender_is_high, egress, now, f ? BPF_ANY : BPF_NOEXIST);
    if (!f)
      return without_entry(&k);
    end = sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? SOURCE : DESTINATION;
  }
  end &= 1;
  if (!f->tables)
    f->ifindex = skb->ifindex; // taken over: this is its first packet
  if (f->tables != current_tables() || (f->judge_at && now >= f->judge_at))
    judge_again(&k, f, now);

  if (!is_follower(skb, f, end, egress)) {
    __sync_fetch_and_add(&f->packets[end], p.packets);
    __sync_fetch_and_add(&f->bytes[end], p.bytes);
    f->last = now;
    count_traffic(f, p.protocol, end, p.packets, p.bytes);
    if (f->flags & FLOW_END_TOLD)
      count(COUNT_LATE);
    if (p.protocol == IPPROTO_TCP && !(f->flags & FLOW_DROP))
      track_tcp(f, &p, end);
  }
  if (f->flags & FLOW_DROP)
    return blocked(skb, l2, &k, f, &p, egress, now);
  if ((f->flags & (FLOW_START_TOLD | FLOW_VERDICT_DUE)) != FLOW_START_TOLD ||
      (f->flags & (FLOW_CLOSED | FLOW_END_TOLD)) == FLOW_CLOSED)
    tell_due(&k, f);
  return PASS;
}

// Two of each: devices with an Ethernet header and those without.
SEC("tc")
int ingress(struct __sk_buff *skb) { return handle(skb, ETH_HLEN, 0); }

SEC("tc")
int egress(struct __sk_buff *skb) { return handle(skb, ETH_HLEN, 1); }

SEC("tc")
int ingress_l3(struct __sk_buff *skb) { return handle(skb, 0, 0); }

SEC("tc")
int egress_l3(struct __sk_buff *skb) { return handle(skb, 0, 1); }

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
  __u32 pad;
};

static __always_inline __u64 idle_limit(const struct flow_key *k, const struct flow *f,
                                        const struct sweep_run *s) {
  if (protocol_of(k) == IPPROTO_TCP) {
    if ((f->flags & (FLOW_CLOSED | FLOW_DROP)) || !(f->tcp & TCP_ANSWERED) ||
        (f->tcp & (TCP_FIN * 3)))
      return s->tcp_closing_ns;
    return s->tcp_ns;
  }
  return protocol_of(k) == IPPROTO_UDP ? s->udp_ns : s->icmp_ns;
}

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
    close_flow(f, f->flags & FLOW_DROP ? (f->end ? f->end : END_BLOCKED) : END_TIMEOUT);
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
  if (s->update_ns && s->now - f->told >= s->update_ns) {
    if (tell(k, f, EVENT_UPDATE, s->now))
      s->delayed += 1;
    else
      f->told = s->now;
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
  args->active = s.active;
  args->entries = s.entries;
  args->ended = s.ended;
  args->delayed = s.delayed;
  args->oldest_tables = s.oldest_tables;
  args->now = s.now;
  return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";

// Named here so that the compiler describes them to the Go bindings.
const struct event *type_event __attribute__((unused));
const struct policy_entry *type_policy_entry __attribute__((unused));
const struct policy_row *type_policy_row __attribute__((unused));
const struct policy_services *type_policy_services __attribute__((unused));
const struct rule_label *type_rule_label __attribute__((unused));
const struct prefix4 *type_prefix4 __attribute__((unused));
const struct prefix6 *type_prefix6 __attribute__((unused));
const enum counter *type_counter __attribute__((unused));
const enum verdict *type_verdict __attribute__((unused));
const enum action *type_action __attribute__((unused));
const enum reason *type_reason __attribute__((unused));
const enum end_reason *type_end_reason __attribute__((unused));
const enum direction *type_direction __attribute__((unused));
const enum event_kind *type_event_kind __attribute__((unused));
const enum interface_flags *type_interface_flags __attribute__((unused));
const enum reject_choice *type_reject_choice __attribute__((unused));
const enum flow_tcp *type_flow_tcp __attribute__((unused));
const enum flow_flags *type_flow_flags __attribute__((unused));
const enum entry_flags *type_entry_flags __attribute__((unused));
