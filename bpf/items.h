// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The entries that hang on the subject's addresses.
#ifndef WEIR_ITEMS_H
#define WEIR_ITEMS_H

#include "progress.h"

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

#endif
