// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Types for the Go bindings.
#ifndef WEIR_TYPES_H
#define WEIR_TYPES_H

#include "copy.h"
#include "counters.h"
#include "flood.h"
#include "flow.h"
#include "hold_state.h"
#include "maps.h"
#include "settle.h"
#include "tables.h"

// Named here so that the compiler describes them to the Go bindings.
const struct event *type_event __attribute__((unused));
const struct in_force *type_in_force __attribute__((unused));
const struct flood_key *type_flood_key __attribute__((unused));
const struct flood *type_flood __attribute__((unused));
const struct policy_entries *type_policy_entries __attribute__((unused));
const struct policy_row *type_policy_row __attribute__((unused));
const struct policy_summary *type_policy_summary __attribute__((unused));
const struct policy_items *type_policy_items __attribute__((unused));
const struct trie_root *type_trie_root __attribute__((unused));
const struct trie_nodes *type_trie_nodes __attribute__((unused));
const struct trie_leaves *type_trie_leaves __attribute__((unused));
const struct policy_services *type_policy_services __attribute__((unused));
const struct rule_label *type_rule_label __attribute__((unused));
const enum counter *type_counter __attribute__((unused));
const enum verdict *type_verdict __attribute__((unused));
const enum action *type_action __attribute__((unused));
const enum reason *type_reason __attribute__((unused));
const enum end_reason *type_end_reason __attribute__((unused));
const enum direction *type_direction __attribute__((unused));
const enum event_kind *type_event_kind __attribute__((unused));
const enum interface_flags *type_interface_flags __attribute__((unused));
const enum reject_choice *type_reject_choice __attribute__((unused));
const enum flow_tcp *type_flow_tcp __attribute__((unused));
const enum flow_flags *type_flow_flags __attribute__((unused));
const enum entry_flags *type_entry_flags __attribute__((unused));
const enum application *type_application __attribute__((unused));
const struct copy *type_copy __attribute__((unused));
const enum copy_kind *type_copy_kind __attribute__((unused));
const enum copy_flags *type_copy_flags __attribute__((unused));
const enum look_wanted *type_look_wanted __attribute__((unused));
const enum settle_flags *type_settle_flags __attribute__((unused));
const enum settle_result *type_settle_result __attribute__((unused));
const struct hold_state *type_hold_state __attribute__((unused));
const enum hold_flags *type_hold_flags __attribute__((unused));
const enum cause *type_cause __attribute__((unused));
const enum stage *type_stage __attribute__((unused));

#endif
