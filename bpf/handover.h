// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The moments in which these programs take the hooks over from those of an earlier
// Weir whose flow table has another layout (internal/datapath/handover.go).
#ifndef WEIR_HANDOVER_H
#define WEIR_HANDOVER_H

#include "counters.h"
#include "maps.h"

// CLOCK_MONOTONIC, ns; 0: none under way. A time, so that it ends by itself should
// user space die meanwhile.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} handover_until SEC(".maps");

// Whether a connection without an entry may still be in the earlier Weir's table.
// One that would be blocked is then dropped without a trace: it may be the answer
// to a connection that the earlier programs have just let out, and an entry would
// blame its sender. Whoever opens one asks again.
static __always_inline __u32 in_handover(__u64 now) {
  __u32 zero = 0;
  volatile __u64 *until = bpf_map_lookup_elem(&handover_until, &zero);
  return until && now < *until;
}

#endif
