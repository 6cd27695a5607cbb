// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The rows of a subject, and the entries that have their bit set in all of them.
#ifndef WEIR_ROWS_H
#define WEIR_ROWS_H

#include "progress.h"
#include "trie.h"

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

// Takes the next chunk that may have a bit set in all rows, and returns it; chunk 0,
// of which no word is left, where there is none.
static __always_inline __u32 take_chunk(struct walk *w) {
  __u32 lowest = w->at->chunks & -w->at->chunks;
  w->at->chunks ^= lowest;
  __u32 chunk = position_of(lowest) % MAX_CHUNKS;
  w->at->chunk = chunk;
  w->at->words = w->summary[0]->word[chunk] & w->summary[1]->word[chunk] &
                 w->summary[2]->word[chunk] & w->summary[3]->word[chunk] &
                 w->summary[4]->word[chunk];
  return chunk;
}

// Takes a step towards the next entry that has its bit set in all rows: at most one
// chunk, one word of it and one bit of that.
static __always_inline void seek_bit(struct walk *w) {
  if (!w->at->bits && !w->at->words && w->at->chunks) {
    __u32 chunk = take_chunk(w);
    if (w->at->words && find_chunk(w, chunk))
      w->at->words = 0;
  }
  if (!w->at->bits && w->at->words) {
    __u64 lowest = w->at->words & -w->at->words;
    w->at->words ^= lowest;
    __u32 word = position_of(lowest) % ROW_WORDS;
    w->at->word = word;
    w->at->bits = w->row[0]->word[word] & w->row[1]->word[word] & w->row[2]->word[word] &
                  w->row[3]->word[word] & w->row[4]->word[word];
  }
  if (w->at->bits) {
    __u64 lowest = w->at->bits & -w->at->bits;
    w->at->bits ^= lowest;
    w->at->entry = (w->at->chunk * ROW_WORDS + w->at->word) * 64 + position_of(lowest);
    w->at->known = 1;
    return;
  }
  if (w->at->words || w->at->chunks)
    return;
  w->at->entry = NO_ORDER;
  w->at->order = NO_ORDER;
  w->at->known = 1;
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
  return find_chunk(w, take_chunk(w)); // likewise
}

#endif
