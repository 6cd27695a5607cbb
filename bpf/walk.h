// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The walk over the entries that match, in their order: those whose bit is set in
// all rows, merged with those of the two addresses' lists.
#ifndef WEIR_WALK_H
#define WEIR_WALK_H

#include "items.h"
#include "rows.h"

static __always_inline __u8 outcomes(const struct policy_entry *e) {
  __u8 can = e->action == ALLOW ? CAN_ALLOW : CAN_BLOCK;
  // An unobtainable fact passes over an allow rule: what follows counts. It
  // answers a block rule by on_error.
  if (e->flags & ENTRY_ERROR_ALLOWS)
    can |= CAN_ALLOW;
  return can;
}

static __always_inline __u8 action_of(__u8 can) {
  if (can == CAN_ALLOW)
    return ALLOW;
  if (can == CAN_BLOCK)
    return BLOCK;
  return NO_ACTION;
}

static __always_inline struct policy_entry *entry_at(__u32 slot, __u32 number) {
  void *table = bpf_map_lookup_elem(&entries, &slot);
  if (!table)
    return NULL;
  __u32 block = number / ENTRY_BLOCK;
  struct policy_entries *b = bpf_map_lookup_elem(table, &block);
  return b ? &b->entry[number % ENTRY_BLOCK] : NULL;
}

// One matching entry. Sets w->at->done when the enforced walk has its answer.
static __always_inline void visit(struct walk *w, const struct policy_entry *e) {
  __u8 flags = e->flags;
  if (flags & (ENTRY_LOOPBACK | ENTRY_NEIGHBOR | ENTRY_OWN)) {
    if ((flags & ENTRY_LOOPBACK) && !(w->subject->flags & FLOW_LOOPBACK))
      return;
    if ((flags & ENTRY_NEIGHBOR) && !(w->subject->flags & FLOW_NEIGHBOR))
      return;
    if ((flags & ENTRY_OWN) && !(w->subject->flags & FLOW_OWN))
      return;
  }
  struct decision *d = w->decision;
  if (e->expires) {
    if (w->subject->now >= e->expires)
      return;
    if (!d->expires || e->expires < d->expires)
      d->expires = e->expires;
  }
  if (e->over && w->subject->age <= e->over) {
    if (!d->judge_after || e->over < d->judge_after)
      d->judge_after = e->over;
    return;
  }
  __u8 undecided = flags & ENTRY_UNDECIDED;
  __u8 action = e->action;
  __u8 lost = undecided ? w->subject->lost_reason : 0;
  if (lost) {
    if (action == ALLOW)
      return;
    action = w->subject->lost_action;
    undecided = 0;
  }
  __u8 can = undecided ? outcomes(e) : action == ALLOW ? CAN_ALLOW : CAN_BLOCK;
  if (!w->at->shadow_done) {
    w->at->can_shadow |= can;
    if (!undecided) {
      w->at->shadow_done = 1;
      if (flags & ENTRY_SHADOW) {
        d->shadow_rule = e->rule;
        d->shadow_action = action_of(w->at->can_shadow);
      }
    }
  }
  if (flags & ENTRY_SHADOW)
    return;
  w->at->can |= can;
  if (undecided)
    return;
  w->at->done = 1;
  d->rule = e->rule;
  d->reject = e->reject;
  d->by_duration = e->over != 0;
  d->reason = lost ? lost : flags & ENTRY_SAFEGUARD ? REASON_SAFEGUARD : REASON_RULE;
}

// The next entry of the rows and the lists, if a step towards each of them is enough
// to know it.
static __always_inline int merge(struct walk *w, __u32 *entry) {
  if (!w->at->known) {
    seek_bit(w);
    if (w->at->known && w->at->entry != NO_ORDER) {
      struct policy_entry *e = entry_at(w->slot, w->at->entry);
      w->at->order = e ? e->order : NO_ORDER;
    }
  }
  struct list *s = &w->at->list[0], *d = &w->at->list[1];
  if (!s->known)
    seek_item(w, s);
  if (!d->known)
    seek_item(w, d);
  if (!w->at->known || !s->known || !d->known)
    return 0;
  // An item that has another of its entry is seen twice, which is no matter: only
  // undecided and shadow rules are passed over, and they count alike twice.
  if (w->at->order <= s->order && w->at->order <= d->order) {
    *entry = w->at->entry;
    w->at->known = 0;
  } else if (s->order <= d->order) {
    *entry = s->entry;
    s->known = 0;
  } else {
    *entry = d->entry;
    d->known = 0;
  }
  return 1;
}

static long step(__u32 i, struct walk *w) {
  __u32 number = NO_ORDER;
  if (w->at->has_lists) {
    if (!merge(w, &number))
      return 0;
  } else {
    seek_bit(w);
    if (!w->at->known)
      return 0;
    w->at->known = 0;
    number = w->at->entry;
  }
  if (number == NO_ORDER)
    return 1;
  struct policy_entry *e = entry_at(w->slot, number);
  if (!e)
    return 1;
  visit(w, e);
  return w->at->done ? 1 : 0;
}

static __always_inline void count_match(__u32 slot, __u32 rule) {
  void *table = bpf_map_lookup_elem(&matches, &slot);
  if (!table)
    return;
  __u64 *value = bpf_map_lookup_elem(table, &rule);
  if (value)
    __sync_fetch_and_add(value, 1);
}

// Each entry takes up to four steps, and one for each word and chunk.
#define MAX_STEPS (1 << 22)

// Walks the tables in `slot`. Returns 0 and fills d, or -1 where no tables
// have been put in force.
__noinline int judge(__u32 slot, const struct subject *s, struct decision *d) {
  if (!s || !d)
    return -1;
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  if (!set)
    return -1;
  __u32 zero = 0;
  struct progress *at = bpf_map_lookup_elem(&walks, &zero);
  if (!at)
    return -1;
  __builtin_memset(d, 0, sizeof(*d));
  __builtin_memset(at, 0, sizeof(*at));
  struct walk w = {
      .decision = d,
      .subject = s,
      .at = at,
      .slot = slot,
      .row_chunks = set->chunks,
  };
  d->rule = NO_RULE;
  d->shadow_rule = NO_RULE;
  if (set->chunks) {
    if (find_rows(slot, s, at) || start_walk(&w))
      return -1;
    bpf_loop(MAX_STEPS, step, &w, 0);
  }
  if (!w.at->done && set->default_action) {
    __u8 can = set->default_action == ALLOW ? CAN_ALLOW : CAN_BLOCK;
    w.at->can |= can;
    if (!w.at->shadow_done)
      w.at->can_shadow |= can;
    d->reason = REASON_DEFAULT;
  }
  d->action = action_of(w.at->can);
  if (!d->shadow_action) // the walk with it comes to no action
    d->shadow_rule = NO_RULE;
  if (w.at->can && !d->action) {
    d->rule = NO_RULE;
    d->reject = REJECT_BY_POLICY; // not that of the rule the walk stopped at
    d->reason = REASON_PENDING;
    d->reject = REJECT_BY_POLICY; // of the rule at which the walk ended, undecided
    d->by_duration = 0;
  }
  return 0;
}

#endif
