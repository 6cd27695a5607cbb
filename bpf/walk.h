// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The walk over the entries that match, in their order: those whose bit is set in
// all rows, merged with those of the two addresses' lists.
#ifndef WEIR_WALK_H
#define WEIR_WALK_H

#include "tables.h"
#include "trie.h"

// What the walk needs to know of a connection.
struct subject {
  __u64 source[2]; // host order, upper half first; IPv4 in the upper half of that
  __u64 destination[2];
  __u16 source_port; // host order; of ICMP the type
  __u16 destination_port;
  __u16 flags; // flow_flags
  __u8 protocol;
  __u8 direction;
  __u8 is_ipv6;
  __u64 age; // ns
  __u64 now; // CLOCK_MONOTONIC, ns
};

struct decision {
  __u64 judge_after; // age at which a duration rule may change the answer; 0: none
  __u64 expires;     // when a rule that matched expires first; 0: none does
  __u32 rule;
  __u32 shadow_rule;
  __u8 action;
  __u8 reason;
  __u8 shadow_action;
  __u8 reject;
  __u8 by_duration; // the rule is about the connection's age
  __u8 pad[3];
};

enum { DIMENSIONS = 5, CAN_ALLOW = 1, CAN_BLOCK = 2 };

#define NO_ORDER 0xffffffff

// The items of one side's address, and the first of them from `at` on that
// matches.
struct list {
  __u64 other[2]; // the other side's address
  __u32 at;
  __u32 end;
  __u32 order; // of the entry that matches; NO_ORDER: none is left
  __u32 entry;
  __u32 known; // whether the last two are
};

// How far a walk has come. It lies in a map, where the verifier does not follow
// what the numbers are: on the stack, each step would be another state to it.
struct progress {
  struct policy_class source;
  struct policy_class destination;
  struct list list[2]; // of the source, of the destination
  __u64 words;         // of the current chunk, those not yet read
  __u64 bits;          // of the current word, those not yet looked at
  __u32 row_number[DIMENSIONS];
  __u32 chunks; // those not yet read, a bit each
  __u32 chunk;  // the current one
  __u32 word;
  __u32 has_lists;
  __u32 order; // of the entry of the last bit that was found, if it is known
  __u32 entry;
  __u32 known;
  __u8 can;        // what the enforced walk may still come to
  __u8 can_shadow; // likewise, shadow rules included
  __u8 shadow_done;
  __u8 done;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct progress);
} walks SEC(".maps");

struct walk {
  struct policy_row *row[DIMENSIONS];
  struct policy_summary *summary[DIMENSIONS];
  const struct subject *subject;
  struct decision *decision;
  struct progress *at;
  __u32 slot;
  __u32 row_chunks;
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
  __u8 can = undecided ? outcomes(e) : e->action == ALLOW ? CAN_ALLOW : CAN_BLOCK;
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

static __always_inline __u32 position_of(__u64 single_bit) {
  return bit_position[single_bit * DE_BRUIJN >> 58];
}

// Looks up a chunk of the subject's rows.
static __always_inline int find_chunk(struct walk *w, __u32 chunk) {
  void *table = bpf_map_lookup_elem(&rows, &w->slot);
  if (!table)
    return -1;
  for (int i = 0; i < DIMENSIONS; i++) {
    __u32 index = w->at->row_number[i] * w->row_chunks + chunk;
    struct policy_row *r = bpf_map_lookup_elem(table, &index);
    if (!r)
      return -1;
    w->row[i] = r;
  }
  return 0;
}

// Goes to the next chunk that may have a bit set in all rows.
static __always_inline void next_chunk(struct walk *w) {
  __u32 lowest = w->at->chunks & -w->at->chunks;
  w->at->chunks ^= lowest;
  __u32 chunk = position_of(lowest) % MAX_CHUNKS;
  w->at->chunk = chunk;
  w->at->words = w->summary[0]->word[chunk] & w->summary[1]->word[chunk] &
                 w->summary[2]->word[chunk] & w->summary[3]->word[chunk] &
                 w->summary[4]->word[chunk];
  if (!w->at->words)
    return;
  if (find_chunk(w, chunk))
    w->at->words = 0;
}

// Takes one step towards the next entry that has its bit set in all rows.
static __always_inline void seek_bit(struct walk *w) {
  if (w->at->bits) {
    __u64 lowest = w->at->bits & -w->at->bits;
    w->at->bits ^= lowest;
    w->at->entry = (w->at->chunk * ROW_WORDS + w->at->word) * 64 + position_of(lowest);
    w->at->known = 1;
    return;
  }
  if (w->at->words) {
    __u64 lowest = w->at->words & -w->at->words;
    w->at->words ^= lowest;
    __u32 word = position_of(lowest) % ROW_WORDS;
    w->at->word = word;
    w->at->bits = w->row[0]->word[word] & w->row[1]->word[word] & w->row[2]->word[word] &
                  w->row[3]->word[word] & w->row[4]->word[word];
    return;
  }
  if (w->at->chunks) {
    next_chunk(w);
    return;
  }
  w->at->entry = NO_ORDER;
  w->at->order = NO_ORDER;
  w->at->known = 1;
}

static __always_inline __u32 has_prefix(const __u64 address[2], const __u64 prefix[2], __u8 bits) {
  if (!bits)
    return 1;
  if (bits <= 64)
    return (address[0] ^ prefix[0]) >> (64 - bits) == 0;
  return address[0] == prefix[0] && (address[1] ^ prefix[1]) >> ((128 - bits) & 63) == 0;
}

static __always_inline __u32 item_matches(const struct policy_item *i, const struct subject *s,
                                          const __u64 other[2]) {
  return (i->any_protocol || i->protocol == s->protocol) &&
         (i->directions >> ((s->direction - 1) & 7) & 1) && s->source_port >= i->source_first &&
         s->source_port <= i->source_last && s->destination_port >= i->destination_first &&
         s->destination_port <= i->destination_last && has_prefix(other, i->other, i->other_bits);
}

// Looks at one item of a list.
static __always_inline void seek_item(struct walk *w, struct list *l) {
  l->order = NO_ORDER;
  l->known = 1;
  __u32 number = l->at;
  if (number >= l->end)
    return;
  l->at = number + 1;
  void *table = bpf_map_lookup_elem(&items, &w->slot);
  if (!table)
    return;
  __u32 block = number / ITEM_BLOCK;
  struct policy_items *b = bpf_map_lookup_elem(table, &block);
  if (!b)
    return;
  struct policy_item *i = &b->item[number % ITEM_BLOCK];
  if (!item_matches(i, w->subject, l->other)) {
    l->known = 0;
    return;
  }
  l->order = i->order;
  l->entry = i->entry;
}

// The next entry of the rows and the lists. Each call takes one step.
static __always_inline int merge(struct walk *w, __u32 *entry) {
  if (!w->at->known) {
    seek_bit(w);
    if (w->at->known && w->at->entry != NO_ORDER) {
      struct policy_entry *e = entry_at(w->slot, w->at->entry);
      w->at->order = e ? e->order : NO_ORDER;
    }
    return 0;
  }
  struct list *s = &w->at->list[0], *d = &w->at->list[1];
  if (!s->known) {
    seek_item(w, s);
    return 0;
  }
  if (!d->known) {
    seek_item(w, d);
    return 0;
  }
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

static __always_inline void start_list(struct list *l, __u32 list, const __u64 other[2]) {
  l->at = list >> LIST_BITS;
  l->end = l->at + (list & ((1 << LIST_BITS) - 1));
  l->other[0] = other[0];
  l->other[1] = other[1];
}

// Finds the subject's rows and lists. By itself for the sake of the stack.
__noinline int find_rows(__u32 slot, const struct subject *s, struct progress *at) {
  if (!s || !at)
    return -1;
  void *table = bpf_map_lookup_elem(&services, &slot);
  if (!table)
    return -1;
  __u32 zero = 0;
  struct policy_services *v = bpf_map_lookup_elem(table, &zero);
  if (!v)
    return -1;
  if (find_class(slot, s->is_ipv6 ? SOURCE6 : SOURCE4, s->source[0], s->source[1], &at->source) ||
      find_class(slot, s->is_ipv6 ? DESTINATION6 : DESTINATION4, s->destination[0],
                 s->destination[1], &at->destination))
    return -1;
  at->row_number[0] = at->source.row;
  at->row_number[1] = at->destination.row;
  at->row_number[2] = v->source_port[s->source_port];
  at->row_number[3] = v->destination_port[s->destination_port];
  at->row_number[4] = v->protocol[s->direction & 3][s->protocol];
  start_list(&at->list[0], at->source.list, s->destination);
  start_list(&at->list[1], at->destination.list, s->source);
  at->has_lists = at->source.list || at->destination.list;
  return 0;
}

static __always_inline int start_walk(struct walk *w) {
  void *table = bpf_map_lookup_elem(&summaries, &w->slot);
  if (!table)
    return -1;
  w->at->chunks = ~0u;
  // All five also where nothing is left after two: the verifier wants pointers.
  for (int i = 0; i < DIMENSIONS; i++) {
    struct policy_summary *summary = bpf_map_lookup_elem(table, &w->at->row_number[i]);
    if (!summary)
      return -1;
    w->summary[i] = summary;
    w->at->chunks &= summary->chunks;
  }
  return find_chunk(w, 0); // likewise, whichever chunk is first
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
    d->reason = REASON_PENDING;
  }
  return 0;
}

#endif
