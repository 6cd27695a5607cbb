//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The way through user space: packets of connections of which the policy asks for
// facts go out by a TAP device, and what user space writes to it goes on from where
// it was taken out. Between the two only they are let pass.
#include <linux/types.h>
#include <stddef.h>

#include "hold.h"
#include "key.h"
#include "tell.h"
#include "transport.h"

// The programs of connections.c go on to this one, with the packet in the
// workspace.
SEC("tc")
int hold(struct __sk_buff *skb) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return TC_ACT_SHOT;
  struct flow_key k = w->key;
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  if (!f)
    return TC_ACT_SHOT;
  __u32 end = w->arrival & ARRIVES_FROM_DESTINATION ? DESTINATION : SOURCE;
  if (w->arrival & ARRIVES_RETURNED) {
    struct hold_state *h = hold_state();
    struct look *l = bpf_map_lookup_elem(&looks, &k);
    skb->mark = l && l->id == f->id ? l->mark[end] : h ? skb->mark & ~h->mask : 0;
    return PASS;
  }
  tell_if_due(&k, f);
  int answer = hold_packet(skb, w, &k, f, &w->packet, end);
  if (answer != TC_ACT_REDIRECT)
    tell_if_due(&k, f);
  return answer;
}

// On its way to the device: only what hold() sends.
SEC("tc")
int hold_enter(struct __sk_buff *skb) {
  struct hold_handle handle;
  if (bpf_skb_load_bytes(skb, 0, &handle, sizeof(handle)))
    return TC_ACT_SHOT;
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return TC_ACT_SHOT;
  struct flow_key k = w->key;
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  if (!f || f->id != handle.id) {
    count(COUNT_HELD_UNKNOWN);
    return TC_ACT_SHOT;
  }
  return PASS;
}

// What user space wrote.
SEC("tc")
int hold_return(struct __sk_buff *skb) {
  __u32 zero = 0;
  struct hold_handle handle;
  struct hold_state *h = hold_state();
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!h || !w || bpf_skb_load_bytes(skb, 0, &handle, sizeof(handle)))
    return TC_ACT_SHOT;
  __u32 ifindex = handle.where >> 8;
  __u32 interface = interface_of(ifindex);
  struct packet *p = &w->packet;
  __builtin_memset(p, 0, sizeof(*p));
  if (!(interface & INTERFACE_WATCHED) || decode(skb, ETH_HLEN, interface & INTERFACE_ZONE, 0, p)) {
    count(COUNT_HELD_UNKNOWN);
    return TC_ACT_SHOT;
  }
  struct flow_key k;
  __u32 sender_is_high = make_key(p, &k);
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  if (!f || !(f->flags & FLOW_RETURNS) || (f->id != handle.id && !MUTANT(HELD_ANY_EPOCH))) {
    count(COUNT_HELD_STALE);
    return TC_ACT_SHOT;
  }
  __u32 turned = !!(handle.where & HANDLE_TURNED);
  __u32 end = handle.where & HANDLE_DESTINATION ? DESTINATION : SOURCE;
  __u32 sender = sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? SOURCE : DESTINATION;
  struct look *l = bpf_map_lookup_elem(&looks, &k);
  if (sender != (end ^ turned) || !l || l->id != f->id) {
    count(COUNT_HELD_STALE);
    return TC_ACT_SHOT;
  }
  if (!turned && !(handle.where & HANDLE_PART) && *(volatile __u32 *)&l->away)
    __sync_fetch_and_sub(&l->away, 1);
  // The last packet of one that is blocked; of others a later packet lets go.
  __u32 is_last = l->done && !l->away && (f->flags & FLOW_DROP) && !turned;
  if (is_last)
    let_go(&k, f); // what the entry holds is there until the program ends
  if (handle.where & HANDLE_DROPPED) {
    count(COUNT_HELD_DROPPED);
    return TC_ACT_SHOT;
  }
  // A blocked connection gets no more than its end.
  if ((f->flags & FLOW_DROP) && !(p->protocol == IPPROTO_TCP && (p->tcp_flags & TCP_FLAG_RST_))) {
    count(COUNT_HELD_BLOCKED);
    return TC_ACT_SHOT;
  }
  if (f->flags & FLOW_DROP) {
    close_flow(f, cut_reason(f));
    tell_if_due(&k, f);
  }
  f->hook_at[end & 1] = ticks(bpf_ktime_get_ns()); // where it was counted, and not at the next hook
  if (!(handle.where & HANDLE_BARE)) {
    __u8 *macs = l->macs[end & 1];
    if (bpf_skb_store_bytes(skb, turned ? 6 : 0, macs, 6, 0) ||
        bpf_skb_store_bytes(skb, turned ? 0 : 6, macs + 6, 6, 0))
      return TC_ACT_SHOT;
  }
  count(COUNT_HELD_RETURNED);
  __u32 mark = turned ? 0 : l->mark[end & 1];
  if (!!(handle.where & HANDLE_EGRESS) != turned) {
    skb->mark = mark;
    skb->priority = turned ? 0 : l->priority[end & 1];
    return bpf_redirect(ifindex, 0);
  }
  skb->mark = (mark & ~h->mask) | h->mark;
  return bpf_redirect(ifindex, BPF_F_INGRESS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
