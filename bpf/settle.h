// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What user space found out about connections is written into their entries: here,
// since packets change the same entries meanwhile.
#ifndef WEIR_SETTLE_H
#define WEIR_SETTLE_H

#include "judge.h"
#include "look_state.h"
#include "tell.h"

enum settle_flags {
  SETTLE_VERDICT = 1 << 0,     // `tables` to `reject` are valid
  SETTLE_DONE = 1 << 1,        // nothing more is looked for
  SETTLE_SOURCE = 1 << 2,      // the window and credit of an end are valid: << end
  SETTLE_DESTINATION = 1 << 3, //
  SETTLE_ANSWERS = 1 << 4,     // with a window: `tables` judge nothing that the destination sends
  SETTLE_RENEWS = 1 << 5,      // with a window, << end: struct look.renews
};

enum settle_result {
  SETTLED = 0,
  SETTLE_GONE = 1,         // there is no such connection, or its end was told
  SETTLE_OTHER_EPOCH = 2,  // another connection has the tuple
  SETTLE_OTHER_TABLES = 3, // the policy that judged is not in force any more
  SETTLE_REFUSED = 4,      // it says what cannot be
  SETTLE_BUSY = 5,         // a packet is judging it
};

struct settlement {
  struct flow_key key;
  __u64 id;
  // CLOCK_MONOTONIC, ns: when the connection is to be judged again, 0: never. It
  // counts where `tables` have not judged it yet; else what they said stays.
  __u64 judge_at;
  __u32 flags;
  __u32 tables; // that user space walked
  __u32 rule;
  __u32 shadow_rule;
  __u32 from[2]; // TCP: what lies in [from, until) passes without a look
  __u32 until[2];
  __s32 credit[2]; // as in struct look
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 reject;      // enum reject_choice
  __u8 application; // 0: as it is
  __u8 result;      // enum settle_result
  __u8 pad[2];
};

enum { SETTLEMENTS = 16 };

struct settle_run {
  __u32 count;
  __u32 pad;
  struct settlement of[SETTLEMENTS];
};

static __always_inline int is_refused(const struct settlement *s) {
  for (int end = 0; end < 2; end++) {
    if ((s->flags & (SETTLE_SOURCE << end)) && (s->until[end] - s->from[end] > MAX_WINDOW ||
                                                s->credit[end] < 0 || s->credit[end] > MAX_CREDIT))
      return 1;
  }
  if (s->application > APPLICATION_OTHER)
    return 1;
  if (!(s->flags & SETTLE_VERDICT))
    return 0;
  return (s->action != ALLOW && s->action != BLOCK) || !s->reason || s->reason == REASON_PENDING ||
         s->reason > REASON_NOT_SEEN || s->reject > REJECT_NO || s->shadow_action > BLOCK;
}

// Writes a verdict as judge_flow() would have, had it known what user space knows.
static __always_inline int settle_verdict(const struct flow_key *k, struct flow *f,
                                          const struct settlement *s) {
  __u32 slot = slot_of(s->tables);
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  if (!set || !f->tables ||
      (s->tables != current_tables(bpf_ktime_get_ns()) && !MUTANT(ANY_TABLES)))
    return SETTLE_OTHER_TABLES;
  if (__sync_fetch_and_or(&f->flags, FLOW_JUDGING) & FLOW_JUDGING)
    return SETTLE_BUSY;
  __u8 verdict = f->verdict;
  __u32 shadow_rule = f->shadow_rule;
  __u8 shadow_action = f->shadow_action;
  __u32 changed = f->action != s->action || f->reason != s->reason || f->rule != s->rule;
  // A change of policy cuts it, and not what it said.
  __u32 by_policy = f->reason == REASON_KEPT || f->tables != s->tables;
  if (f->tables != s->tables)
    f->judge_at = s->judge_at;
  f->tables = s->tables;
  struct decision d = {
      .rule = s->rule,
      .shadow_rule = s->shadow_rule,
      .action = s->action,
      .reason = s->reason,
      .shadow_action = s->shadow_action,
      .reject = s->reject,
  };
  write_verdict(f, set, &d);
  clear_bits(&f->flags, FLOW_JUDGING);
  changed = changed || verdict != f->verdict;
  __u32 shadow_changed = f->shadow_rule != shadow_rule || f->shadow_action != shadow_action;
  if (changed || shadow_changed)
    set_bits(&f->flags, FLOW_VERDICT_DUE);
  if (changed) {
    count_verdict(f, protocol_of(k));
    if (s->rule != NO_RULE)
      count_match(slot, s->rule);
  }
  if ((changed || shadow_changed) && s->shadow_rule != NO_RULE)
    count_match(slot, s->shadow_rule);
  if (f->flags & FLOW_CLOSED)
    return SETTLED;
  if (f->verdict != BLOCKED)
    f->end = END_NONE;
  else if (verdict != BLOCKED)
    f->end = by_policy ? END_POLICY : END_BLOCKED;
  return SETTLED;
}

// A connection that is held: packets that are on their way through user space are
// not overtaken, for a while.
static __always_inline void settle_hold(const struct flow_key *k, struct flow *f,
                                        const struct settlement *s) {
  struct look *l = bpf_map_lookup_elem(&looks, k);
  if (l && l->id != f->id)
    l = NULL;
  if (l && l->away)
    l->drain_until = bpf_ktime_get_ns() + DRAIN_NS;
  if (!(s->flags & SETTLE_DONE))
    return;
  if (l && l->away && !(f->flags & FLOW_CLOSED)) {
    l->done = 1; // the last packet, or the first after the time, lets it go
    return;
  }
  clear_bits(&f->flags, FLOW_HELD);
  if (l)
    bpf_map_delete_elem(&looks, k);
}

static __always_inline void settle_look(const struct flow_key *k, struct flow *f,
                                        const struct settlement *s) {
  if (f->flags & FLOW_HELD)
    settle_hold(k, f, s);
  if (s->flags & SETTLE_DONE) {
    if (__sync_fetch_and_and(&f->flags, ~(FLOW_LOOKED | FLOW_AWAITS)) & FLOW_LOOKED)
      bpf_map_delete_elem(&looks, k);
    return;
  }
  if (!(s->flags & (SETTLE_SOURCE | SETTLE_DESTINATION)))
    return;
  struct look *l = bpf_map_lookup_elem(&looks, k);
  if (!l || l->id != f->id)
    return;
  l->answers_by = (s->flags & SETTLE_ANSWERS) && s->tables == f->tables ? f->tables : 0;
  for (int end = 0; end < 2; end++) {
    if (!(s->flags & (SETTLE_SOURCE << end)))
      continue;
    *(volatile __u64 *)&l->window[end] = (__u64)s->from[end] << 32 | (s->until[end] - s->from[end]);
    l->credit[end] = s->credit[end];
    if (s->flags & (SETTLE_RENEWS << end))
      __sync_fetch_and_or(&l->renews, 1u << end);
    else
      __sync_fetch_and_and(&l->renews, ~(1u << end));
  }
}

// By itself, so that the verifier looks at it once.
__noinline int settle_one(const struct settlement *s) {
  if (!s)
    return SETTLE_REFUSED;
  struct flow_key k = s->key; // as in candidate_of_given()
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  if (!f || (f->flags & (FLOW_FOLLOWER | FLOW_END_TOLD)))
    return SETTLE_GONE;
  if (f->id != s->id && !MUTANT(ANY_EPOCH))
    return SETTLE_OTHER_EPOCH;
  if (is_refused(s))
    return SETTLE_REFUSED;
  if (s->flags & SETTLE_VERDICT) {
    int result = settle_verdict(&k, f, s);
    if (result)
      return result;
  }
  if (s->application)
    f->application = s->application;
  settle_look(&k, f, s);
  tell_if_due(&k, f);
  return SETTLED;
}

SEC("syscall")
int settle_flows(struct settle_run *args) {
  __u32 settled = args->count;
#pragma unroll
  for (int i = 0; i < SETTLEMENTS; i++) {
    if (i < settled) {
      struct settlement s = args->of[i];
      args->of[i].result = settle_one(&s);
    }
  }
  return 0;
}

#endif
