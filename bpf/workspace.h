// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the programs work on, where it is too large for the stack, or handed on from
// one program to the next.
#ifndef WEIR_WORKSPACE_H
#define WEIR_WORKSPACE_H

#include "clock.h"
#include "flow.h"
#include "packet.h"
#include "progress.h"
#include "reopen.h"

// How a packet came: what it is to its connection, and which end sent it.
enum arrival {
  ARRIVES_EGRESS = 1 << 0,
  ARRIVES_JUDGED = 1 << 1,
  ARRIVES_CANDIDATE = 1 << 2,
  ARRIVES_FROM_DESTINATION = 1 << 3,
  ARRIVES_FROM_HIGH = 1 << 4, // the key's high end
  ARRIVES_RETURNED = 1 << 5,  // from user space
};

// The programs run with softirqs off, and none is entered while another uses it.
struct workspace {
  struct clock clock;
  struct packet packet;
  struct flow flow;
  struct inheritance inheritance;
  struct subject subject;
  struct decision decision;
  // For the program that goes on with the packet.
  struct flow_key key;
  __u32 arrival;
  __u32 cause; // for judge_flow(): why facts cannot be had, as reason; 0: not seen
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct workspace);
} workspaces SEC(".maps");

#endif
