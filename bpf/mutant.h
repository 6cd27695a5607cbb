// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Faults that can be switched on, to show that the tests against the reference
// notice them. The object that Weir ships has none: only the one in
// internal/datapath/testdata is compiled with WEIR_MUTANTS.
#ifndef WEIR_MUTANT_H
#define WEIR_MUTANT_H

#include <linux/types.h>

// internal/datapath lists them (mutants_test.go); 0 is none.
enum mutant {
  MUTANT_NO_DESTINATION_OPTIONS = 1, // one IPv6 extension header is not read through
  MUTANT_NO_FOLLOW_UP = 2,           // later fragments find no first
  MUTANT_OVERLAPS = 3,               // fragments may overlap
  MUTANT_NO_TAGS = 4,                // VLAN tags are not read
  MUTANT_NO_HEADER_CHECKSUM = 5,     // a wrong IPv4 checksum is not noticed
  MUTANT_NO_SEGMENTS = 6,            // a superpacket counts as one
  MUTANT_NO_FOLLOWER = 7,            // what was translated is judged anew
  MUTANT_ONE_SIDED = 8,              // what the destination sends is not counted
  MUTANT_COUNTED_TWICE = 9,          // ... or what either sends, at every hook
  MUTANT_ANY_ADDRESS = 10,           // a related error may go to whomever
  MUTANT_NO_RELATED_FRAGMENTS = 11,  // the fragments of a related error are on their own
  MUTANT_NO_CANDIDATE = 12,          // a SYN opens a taken tuple at once
  MUTANT_NO_ZONE = 13,               // equal tuples of two VLANs are one
  MUTANT_ANY_RESET = 14,             // an RST counts wherever it is
  MUTANT_ODD_FLAGS = 15,             // null and XMAS segments are taken for part of one
  MUTANT_NEVER_FOR_HOST = 16,        // what comes in is forwarded
  MUTANT_JUDGED_ONCE = 17,           // a change of policy does not reach open connections
  MUTANT_FLOODED = 18,               // what a bridge floods is taken for its own
  MUTANT_SEEN_ONCE = 19,             // a fragment's next sighting is an overlap
  MUTANT_ANY_EPOCH = 20,             // what is settled may be another connection
  MUTANT_ANY_TABLES = 21,            // ... or judged by another policy
  MUTANT_EVERY_SIGHTING = 22,        // a packet is copied at every hook
  MUTANT_NO_TUNNELS = 23,            // a superpacket's segments lack the headers of its tunnel
  // These are noticed by tests of their own, but for MUTANT_NOT_HELD.
  MUTANT_NOT_KEPT = 24,       // what a new policy cannot decide is not kept
  MUTANT_NO_WINDOW = 25,      // what need not be looked at is copied too
  MUTANT_NO_CREDIT = 26,      // ... and more than was asked for
  MUTANT_NOT_HELD = 27,       // what needs facts is not held
  MUTANT_HELD_WINDOW = 28,    // what is held is held whatever its window
  MUTANT_HELD_ANY_EPOCH = 29, // what is sent on may be another connection's
  MUTANT_HELD_RESENT = 30,    // what is sent again of what passed is not held
  MUTANT_HELD_ANYWHERE = 31,  // ... or is said before its SYN is answered, or after its end
  // Of sockets, and of the XDP program.
  MUTANT_NO_OWN_SOCKETS = 32, // a socket that is known to be Weir's own is judged as any
  MUTANT_XDP_ANY_TABLES = 33, // what an earlier policy blocked is dropped early
  MUTANT_XDP_ANY_SYN = 34,    // ... and a SYN that may open the tuple anew
  MUTANT_XDP_ANY_HOOK = 35,   // ... and counted where it was counted before
  // These are noticed by those against the reference.
  MUTANT_TURNED = 36,      // a SYN against a connection's direction is not judged
  MUTANT_NOT_RESUMED = 37, // a connection whose reset nobody took stays over
  // These by tests of their own.
  MUTANT_ANSWERS_ANY_TABLES = 38, // what passed by an earlier policy passes on
  MUTANT_NOT_AWAITED = 39, // user space is not asked of open connections at a change of policy
};

#ifdef WEIR_MUTANTS
volatile __u32 mutant; // which is on; no constant, so that one load does for all
#define MUTANT(which) (mutant == MUTANT_##which)
#else
#define MUTANT(which) 0
#endif

#endif
