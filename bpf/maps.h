// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What every file of the programs includes, and the maps they share.
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"

// TCX_NEXT (Linux 6.6): the next program decides. On clsact it is TC_ACT_UNSPEC.
enum { PASS = -1 };

// Set by the loader.
// Marks an answer that reject() turned around, so that the other hook lets it
// go; random for each load, so that nobody can guess it.
volatile const __u32 reject_mark = 0;
// The agent, as its last sweep left it: for the safeguard `export`.
struct agent {
  __u64 alive; // CLOCK_MONOTONIC, ns
  __u32 tgid;  // in the initial PID namespace
  __u32 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct agent);
} agents SEC(".maps");

// Which tables are in force: a swap is one write of the first eight bytes. The
// lowest bits of a number are the slot that holds the tables, the others grow. 0:
// none yet. From the deadline on it is those that were scheduled, if any: what was
// not confirmed returns by itself, whether or not there is an agent.
struct in_force {
  __u32 tables;
  __u32 scheduled;
  __u64 deadline; // CLOCK_MONOTONIC, ns
};

enum { SLOT_BITS = 2, SLOTS = 3 };

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct in_force);
} tables_in_force SEC(".maps");

static __always_inline __u32 current_tables(__u64 now) {
  __u32 zero = 0;
  struct in_force *tables = bpf_map_lookup_elem(&tables_in_force, &zero);
  if (!tables)
    return 0;
  __u64 both = *(volatile __u64 *)tables;
  __u32 scheduled = both >> 32;
  if (scheduled && now >= *(volatile __u64 *)&tables->deadline)
    return scheduled;
  return both;
}

static __always_inline __u32 slot_of(__u32 tables) { return tables & ((1 << SLOT_BITS) - 1); }

// When these maps were made, in nanoseconds since 1970: the counters run from
// then. Only user space reads and writes it.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} created SEC(".maps");

// Connections. Not LRU: an entry leaves only after its end was told.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 20);
  __type(key, struct flow_key);
  __type(value, struct flow);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 24);
} events SEC(".maps");

enum interface_flags {
  INTERFACE_WATCHED = 1u << 31, // by its own hooks, or those of all beneath it
  INTERFACE_LOOPBACK = 1u << 30,
  INTERFACE_BRIDGE = 1u << 29,
  INTERFACE_ZONE = (1u << 24) - 1, // as in flow_key.protocol_zone
};

enum { LOW_INTERFACES = 1 << 16 };

// Watched interfaces by index: flags and zone. Indexes beyond the array, as on
// hosts that make and remove many, are in the hash.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, LOW_INTERFACES);
  __type(key, __u32);
  __type(value, __u32);
} low_interfaces SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 16);
  __type(key, __u32);
  __type(value, __u32);
} high_interfaces SEC(".maps");

// The VLAN device that is given the packets of a zone that come in by an interface
// beneath it: the routing tables are asked in its name.
struct vlan_key {
  __u32 ifindex;
  __u32 zone;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1 << 16);
  __type(key, struct vlan_key);
  __type(value, __u32);
} vlan_devices SEC(".maps");

// What is known of an interface; 0 of one that is not watched.
static __always_inline __u32 interface_of(__u32 index) {
  __u32 *value;
  if (index < LOW_INTERFACES) {
    value = bpf_map_lookup_elem(&low_interfaces, &index);
    // Else the compiler makes the two lookups one, of whichever map: a call, where
    // that of an array alone is a few instructions.
    barrier_var(value);
  } else {
    value = bpf_map_lookup_elem(&high_interfaces, &index);
  }
  return value ? *value : 0;
}

#endif
