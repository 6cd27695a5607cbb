// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// From the tables' decision to the entry's verdict.
#ifndef WEIR_JUDGE_H
#define WEIR_JUDGE_H

#include "counters.h"
#include "flow.h"
#include "hold_state.h"
#include "look_state.h"
#include "walk.h"
#include "workspace.h"

static __always_inline void host_address(const __u32 a[4], __u8 is_ipv6, __u64 to[2]) {
  if (!is_ipv6) {
    to[0] = (__u64)bpf_ntohl(a[3]) << 32;
    to[1] = 0;
    return;
  }
  to[0] = (__u64)bpf_ntohl(a[0]) << 32 | bpf_ntohl(a[1]);
  to[1] = (__u64)bpf_ntohl(a[2]) << 32 | bpf_ntohl(a[3]);
}

static __always_inline void make_subject(const struct flow_key *k, const struct flow *f, __u64 now,
                                         struct subject *s) {
  __u32 is_high = f->flags & FLOW_SOURCE_IS_HIGH;
  s->protocol = protocol_of(k);
  s->is_ipv6 = k->low[0] || k->low[1] || k->low[2] != bpf_htonl(0xffff);
  host_address(is_high ? k->high : k->low, s->is_ipv6, s->source);
  host_address(is_high ? k->low : k->high, s->is_ipv6, s->destination);
  s->direction = f->direction;
  s->flags = f->flags;
  s->age = now - f->first;
  s->now = now;
  s->lost_reason = 0;
  s->lost_action = 0;
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

// What a connection keeps that was decided before, by a policy that may have been
// of the other mode, where what the present one asks for is not known yet.
static __always_inline __u8 kept_action(const struct flow *f, const struct policy_settings *set) {
  if (set->prevent)
    return f->verdict == BLOCKED ? BLOCK : ALLOW;
  return f->action ? f->action : ALLOW;
}

// Writes a decision into the entry.
static __always_inline void write_verdict(struct flow *f, const struct policy_settings *set,
                                          const struct decision *d) {
  f->rule = d->rule;
  f->action = d->action;
  f->reason = d->reason;
  // Told only where the walk with shadow rules comes to another action.
  __u32 differs =
      d->action && d->shadow_action && d->action != d->shadow_action && d->reason != REASON_KEPT;
  f->shadow_rule = differs ? d->shadow_rule : NO_RULE;
  f->shadow_action = differs ? d->shadow_action : NO_ACTION;
  __u32 flags = 0;
  f->verdict = DETECTED;
  if (set->prevent) {
    flags = FLOW_PREVENT;
    f->verdict = d->action == BLOCK ? BLOCKED : d->reason == REASON_PENDING ? PENDING : ALLOWED;
    if (d->action == BLOCK)
      flags |= FLOW_DROP;
    if (d->action == BLOCK && wants_reject(set, d->reject, f->direction))
      flags |= FLOW_REJECT;
  }
  // In this order: what both policies drop never passes in between.
  set_bits(&f->flags, flags);
  clear_bits(&f->flags, (FLOW_DROP | FLOW_REJECT | FLOW_PREVENT) & ~flags);
}

// A connection that was about to be let go, by an earlier policy than the one that has now
// judged it, is held on where that keeps nothing. By itself, for its stack.
static __noinline int hold_on(const struct flow_key *k, const struct flow *f) {
  struct flow_key own = *k; // as in candidate_of_given()
  struct look *l = f->flags & FLOW_HELD ? bpf_map_lookup_elem(&looks, &own) : NULL;
  if (l && l->id == f->id)
    l->done = 0;
  return 0;
}

// Read anew each time, which takes less of the stack than to remember it.
static __always_inline __u32 is_judged_again(const struct flow *f) {
  return *(volatile const __u32 *)&f->flags & FLOW_JUDGING;
}

// Writes what the tables say into the entry. Returns -1 where there are none.
__noinline int judge_flow(const struct flow_key *k, struct flow *f, __u64 now) {
  if (!k || !f)
    return -1;
  __u32 tables = current_tables(now);
  __u32 slot = slot_of(tables);
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
  f->judge_at = d->judge_after ? f->first + d->judge_after : 0;
  if (d->expires && (!f->judge_at || d->expires < f->judge_at))
    f->judge_at = d->expires;
  if (d->reason == REASON_PENDING) {
    __u32 decided =
        is_judged_again(f) && !w->cause && f->reason != REASON_PENDING && !MUTANT(NOT_KEPT);
    if (decided && f->tables == tables)
      return 0; // nothing is new but its age
    __u32 lost = set->prevent && !(f->flags & FLOW_HELD) && is_holding();
    // What detect mode let pass was open before, too.
    __u32 was_open =
        decided || (is_judged_again(f) && lost && f->verdict == DETECTED) ||
        (!is_judged_again(f) && lost && !w->cause && was_open_before(f, protocol_of(k)));
    if (was_open && (!lost || set->keeps)) {
      d->action = kept_action(f, set);
      d->reason = REASON_KEPT;
      if (is_judged_again(f) && !set->keeps)
        hold_on(k, f);
    } else if (lost && is_judged_again(f) && !w->cause && may_be_known(f, protocol_of(k))) {
      d->action = ALLOW;
      d->reason = REASON_KEPT;
      clear_bits(&f->flags, FLOW_LOOKED);
      set_bits(&f->flags, FLOW_HELD | FLOW_RETURNS);
    } else if (lost) {
      // An allow rule that asks for them is passed over, a block rule answered by
      // on_error.
      __u32 reason = w->cause ? w->cause : REASON_NOT_SEEN;
      w->subject.lost_reason = reason;
      w->subject.lost_action =
          set->on_error[(reason - REASON_MALFORMED) % CAUSES] == ALLOW ? ALLOW : BLOCK;
      if (judge(slot, &w->subject, d)) {
        count(COUNT_TABLES_MISSING);
        return -1;
      }
      count(COUNT_UNHELD);
    }
  }
  f->tables = tables;
  write_verdict(f, set, d);
  if (!set->prevent)
    clear_bits(&f->flags, FLOW_HELD); // in detect mode nothing waits
  return 0;
}

// Counts a verdict that is new to its connection, right after judge_flow().
static __always_inline void count_judgement(const struct flow_key *k, const struct flow *f) {
  __u32 slot = slot_of(f->tables);
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

// The end reason of a connection that is dropped, and of one that is given up.
static __always_inline enum end_reason cut_reason(const struct flow *f) {
  return f->end ? f->end : END_BLOCKED;
}

static __always_inline enum end_reason idle_reason(const struct flow *f) {
  return f->flags & FLOW_DROP ? cut_reason(f) : END_TIMEOUT;
}

// Whether the decision at hand is that of a duration rule.
static __always_inline __u32 is_by_duration(void) {
  __u32 zero = 0;
  struct workspace *w = bpf_map_lookup_elem(&workspaces, &zero);
  return w && w->decision.by_duration;
}

// Judges an entry again, after a change of policy or when a rule's time has come.
static __always_inline void judge_again(const struct flow_key *k, struct flow *f, __u64 now) {
  // The other processor's packet is still judged as before.
  if (__sync_fetch_and_or(&f->flags, FLOW_JUDGING) & FLOW_JUDGING)
    return;
  __u8 verdict = f->verdict, action = f->action, reason = f->reason;
  __u32 due = f->judge_at && now >= f->judge_at;
  int failed = judge_flow(k, f, now);
  clear_bits(&f->flags, FLOW_JUDGING);
  if (failed || (f->flags & FLOW_CLOSED))
    return;
  if (verdict != f->verdict || action != f->action || reason != f->reason) {
    set_bits(&f->flags, FLOW_VERDICT_DUE);
    count_judgement(k, f);
  }
  // Takes effect when the connection is cut, or ends by itself.
  if (f->verdict != BLOCKED)
    f->end = END_NONE;
  else if (verdict != BLOCKED)
    f->end = due && is_by_duration() ? END_DURATION : END_POLICY;
}

#endif
