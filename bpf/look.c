//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Copies what user space wants to see of a connection. The programs of
// connections.c go on to this one, with the packet in the workspace, where the
// packet's first sighting is on a connection that is looked into.
#include <linux/types.h>
#include <stddef.h>

#include "copy.h"
#include "judge.h"
#include "look_state.h"
#include "mirror.h"
#include "tell.h"
#include "workspace.h"

SEC("tc")
int look(struct __sk_buff *skb) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  if (!w)
    return PASS;
  struct flow_key k = w->key;
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  if (!f)
    return PASS;
  mirror(skb, &k, f, &w->packet, w->arrival & ARRIVES_FROM_DESTINATION ? DESTINATION : SOURCE);
  if ((f->flags & FLOW_CLOSED) && end_look(&k, f) > 0)
    set_bits(&f->flags, FLOW_AWAITS);
  tell_if_due(&k, f);
  return PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
