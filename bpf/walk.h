// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The walk: the first bit set in all rows is the first entry that matches.
#ifndef WEIR_WALK_H
#define WEIR_WALK_H

#include "tables.h"

// What the walk needs to know of a connection.
struct subject {
  __u32 source[4];
  __u32 destination[4];
  __u16 source_port; // host order; of ICMP the type
  __u16 destination_port;
  __u16 flags; // flow_flags
  __u8 protocol;
  __u8 direction;
  __u8 is_ipv6;
  __u64 age; // ns
};

struct decision {
  __u64 judge_after; // age at which a duration rule may change the answer; 0: none
  __u32 rule;
  __u32 shadow_rule;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 reject;
};

enum { DIMENSIONS = 6, CAN_ALLOW = 1, CAN_BLOCK = 2 };

struct walk {
  struct policy_row *row[DIMENSIONS];
  struct decision *decision;
  __u64 bits; // of the current word, entries not yet looked at
  __u64 age;
  __u32 row_number[DIMENSIONS];
  __u32 slot;
  __u32 chunks;
  __u32 zero; // 0, which the verifier must not know: it would follow each word
  __u32 base; // entry number of the chunk's first bit
  __u32 word; // next word to read
  __u16 flags;
  __u8 can;        // what the enforced walk may still come to
  __u8 can_shadow; // likewise, shadow rules included
  __u8 shadow_done;
  __u8 done;
};

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

// One matching entry. Sets w->done when the enforced walk has its answer.
static __always_inline void visit(struct walk *w, __u32 number) {
  void *table = bpf_map_lookup_elem(&entries, &w->slot);
  if (!table) {
    w->done = 1;
    return;
  }
  struct policy_entry *e = bpf_map_lookup_elem(table, &number);
  if (!e)
    return;
  __u8 flags = e->flags;
  if (flags & (ENTRY_LOOPBACK | ENTRY_NEIGHBOR | ENTRY_OWN)) {
    if ((flags & ENTRY_LOOPBACK) && !(w->flags & FLOW_LOOPBACK))
      return;
    if ((flags & ENTRY_NEIGHBOR) && !(w->flags & FLOW_NEIGHBOR))
      return;
    if ((flags & ENTRY_OWN) && !(w->flags & FLOW_OWN))
      return;
  }
  struct decision *d = w->decision;
  if (e->over && w->age <= e->over) {
    if (!d->judge_after || e->over < d->judge_after)
      d->judge_after = e->over;
    return;
  }
  __u8 undecided = flags & ENTRY_UNDECIDED;
  __u8 can = undecided ? outcomes(e) : e->action == ALLOW ? CAN_ALLOW : CAN_BLOCK;
  if (!w->shadow_done) {
    w->can_shadow |= can;
    if (!undecided) {
      w->shadow_done = 1;
      if (flags & ENTRY_SHADOW) {
        d->shadow_rule = e->rule;
        d->shadow_action = action_of(w->can_shadow);
      }
    }
  }
  if (flags & ENTRY_SHADOW)
    return;
  w->can |= can;
  if (undecided)
    return;
  w->done = 1;
  d->rule = e->rule;
  d->reject = e->reject;
  d->reason = flags & ENTRY_SAFEGUARD ? REASON_SAFEGUARD : REASON_RULE;
}

// The position of the only bit set: BPF has no instruction for it. Each six bits
// of the constant occur once (de Bruijn), and the bit shifts its own to the top.
#define DE_BRUIJN 0x022fdd63cc95386dULL
static const __u8 bit_position[64] = {
    0,  1,  2,  53, 3,  7,  54, 27, 4,  38, 41, 8,  34, 55, 48, 28, 62, 5,  39, 46, 44, 42,
    22, 9,  24, 35, 59, 56, 49, 18, 29, 11, 63, 52, 6,  26, 37, 40, 33, 47, 61, 45, 43, 21,
    23, 58, 17, 10, 51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19, 15, 30, 14, 13, 12,
};

// Each call reads the next word or looks at one matching entry.
static long step(__u32 i, struct walk *w) {
  if (w->bits) {
    __u64 lowest = w->bits & -w->bits;
    __u32 position = bit_position[lowest * DE_BRUIJN >> 58];
    w->bits ^= lowest;
    visit(w, w->base + (w->word - 1) * 64 + position);
    return w->done ? 1 : 0;
  }
  __u32 word = w->word;
  if (word >= ROW_WORDS)
    return 1;
  w->bits = w->row[0]->word[word] & w->row[1]->word[word] & w->row[2]->word[word] &
            w->row[3]->word[word] & w->row[4]->word[word] & w->row[5]->word[word];
  w->word = word + 1;
  return 0;
}

static long step_chunk(__u32 chunk, struct walk *w) {
  void *table = bpf_map_lookup_elem(&rows, &w->slot);
  if (!table)
    return 1;
  for (int i = 0; i < DIMENSIONS; i++) {
    __u32 index = w->row_number[i] * w->chunks + chunk;
    struct policy_row *r = bpf_map_lookup_elem(table, &index);
    if (!r)
      return 1;
    w->row[i] = r;
  }
  w->bits = 0;
  w->word = w->zero;
  w->base = chunk * ROW_WORDS * 64;
  bpf_loop(ROW_WORDS * 65 + 1, step, w, 0);
  return w->done ? 1 : 0;
}

static __always_inline __u32 row_of_address(void *outer4, void *outer6, __u32 slot,
                                            const __u32 address[4], __u8 is_ipv6) {
  __u32 *row = NULL;
  if (is_ipv6) {
    struct prefix6 prefix = {128, {address[0], address[1], address[2], address[3]}};
    void *table = bpf_map_lookup_elem(outer6, &slot);
    if (table)
      row = bpf_map_lookup_elem(table, &prefix);
  } else {
    struct prefix4 prefix = {32, address[3]};
    void *table = bpf_map_lookup_elem(outer4, &slot);
    if (table)
      row = bpf_map_lookup_elem(table, &prefix);
  }
  return row ? *row : 0; // both tries hold a prefix of length 0
}

static __always_inline void count_match(__u32 slot, __u32 rule) {
  void *table = bpf_map_lookup_elem(&matches, &slot);
  if (!table)
    return;
  __u64 *value = bpf_map_lookup_elem(table, &rule);
  if (value)
    __sync_fetch_and_add(value, 1);
}

static __always_inline int find_rows(__u32 slot, const struct subject *s, __u32 row[DIMENSIONS]) {
  void *table = bpf_map_lookup_elem(&services, &slot);
  if (!table)
    return -1;
  __u32 zero = 0;
  struct policy_services *v = bpf_map_lookup_elem(table, &zero);
  if (!v)
    return -1;
  row[0] = row_of_address(&sources4, &sources6, slot, s->source, s->is_ipv6);
  row[1] = row_of_address(&destinations4, &destinations6, slot, s->destination, s->is_ipv6);
  row[2] = v->source_port[s->source_port];
  row[3] = v->destination_port[s->destination_port];
  row[4] = v->protocol[s->protocol];
  row[5] = v->direction[s->direction & 3];
  return 0;
}

// Walks the tables in `slot`. Returns 0 and fills d, or -1 where no tables
// have been put in force.
__noinline int judge(__u32 slot, const struct subject *s, struct decision *d) {
  if (!s || !d)
    return -1;
  struct policy_settings *set = bpf_map_lookup_elem(&settings, &slot);
  if (!set)
    return -1;
  __builtin_memset(d, 0, sizeof(*d));
  struct walk w = {
      .decision = d,
      .slot = slot,
      .age = s->age,
      .flags = s->flags,
  };
  d->rule = NO_RULE;
  d->shadow_rule = NO_RULE;
  if (set->chunks) {
    w.chunks = set->chunks;
    w.zero = set->zero;
    if (find_rows(slot, s, w.row_number))
      return -1;
    bpf_loop(w.chunks, step_chunk, &w, 0);
  }
  if (!w.done && set->default_action) {
    __u8 can = set->default_action == ALLOW ? CAN_ALLOW : CAN_BLOCK;
    w.can |= can;
    if (!w.shadow_done)
      w.can_shadow |= can;
    d->reason = REASON_DEFAULT;
  }
  d->action = action_of(w.can);
  if (w.can && !d->action) {
    d->rule = NO_RULE;
    d->reason = REASON_PENDING;
  }
  return 0;
}

#endif
