// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What time it is. Reading the clock costs as much as all that is done to decode a
// packet, so where nothing but the age of a connection comes of it, what was read
// before in the same tick is taken.
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include "maps.h"

// What a processor last read.
struct clock {
  __u64 tick; // of the kernel's timer: 1 to 10 ms, as it was built (CONFIG_HZ)
  __u64 ns;   // CLOCK_MONOTONIC
};

static __always_inline __u64 exact_time(struct clock *c) {
  c->tick = bpf_jiffies64();
  c->ns = bpf_ktime_get_ns();
  return c->ns;
}

// The time of a tick's first packet, but not before `last`: that may have been read
// later in it, by another processor.
static __always_inline __u64 recent_time(struct clock *c, __u64 last) {
  __u64 now = c->tick == bpf_jiffies64() ? c->ns : exact_time(c);
  return now > last ? now : last;
}

#endif
