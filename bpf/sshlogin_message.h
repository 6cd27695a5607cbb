// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// sshd's message of a login. internal/sshlog reads the same in Go, and says what for;
// tests compare the two.
#ifndef WEIR_SSHLOGIN_MESSAGE_H
#define WEIR_SSHLOGIN_MESSAGE_H

#include "sshlogin_state.h"

enum {
  SSH_MESSAGE = 1024, // a power of two
  // sshd cuts its messages off at 1023 bytes, and with them the mark of those that are
  // the child's: none that long is believed.
  SSH_LONGEST = 900,
  SSH_HEADER = 96, // where it begins at the latest
  SSH_TOKEN = 128, // the longest of its words: a user's name has 100 bytes at most
};

// What is too large for the stack, and the state of loops (see README.md).
struct ssh_reading {
  __u32 length; // of the text
  __u32 at;     // how far it was read
  __u32 from;   // where the last word began
  __u32 result; // enum ssh_state; 0: it is no message of a login
  __u32 port;
  __u32 address, address_length;
  __u32 fingerprint; // where it is
  __u8 text[SSH_MESSAGE];
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ssh_reading);
} ssh_readings SEC(".maps");

static __always_inline __u8 byte_at(struct ssh_reading *r, __u32 at) {
  if (at >= r->length)
    return 0;
  __u64 i = at;
  // Linux 6.1 has to see the bound on the very number that is the index.
  asm volatile("%[i] &= %[mask]" : [i] "+r"(i) : [mask] "i"(SSH_MESSAGE - 1));
  return r->text[i];
}

// Reads over a text that has to come next.
#define reads(r, literal) read_text(r, literal, sizeof(literal) - 1)

static __always_inline __u32 read_text(struct ssh_reading *r, const char *text, __u32 length) {
#pragma clang loop unroll(full) // Linux 6.1 does not take a loop that is entered in its midst
  for (__u32 i = 0; i < length; i++)
    if (byte_at(r, r->at + i) != (__u8)text[i])
      return 0;
  r->at += length;
  return 1;
}

// Reads a word, up to the next space, and over the space. Returns its length; 0: there
// is none.
__noinline int read_word(struct ssh_reading *r) {
  if (!r)
    return 0;
  r->from = r->at;
  for (__u32 i = 0; i < SSH_TOKEN; i++) {
    __u8 c = byte_at(r, r->at);
    if (c == ' ')
      return r->at++ - r->from;
    if (c < ' ' || c == 0x7f)
      return 0;
    r->at++;
  }
  return 0;
}

static __always_inline __u32 is_base64(__u8 c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

// Reads "SHA256:" and what has to follow.
__noinline int read_fingerprint(struct ssh_reading *r) {
  if (!r || !reads(r, "SHA256:"))
    return 0;
  r->from = r->at;
  for (__u32 i = 0; i < SSH_FINGERPRINT; i++, r->at++)
    if (!is_base64(byte_at(r, r->at)))
      return 0;
  return 1;
}

// Reads the number of a port, and over the space behind.
__noinline int read_port(struct ssh_reading *r) {
  if (!r)
    return 0;
  r->port = 0;
  for (__u32 i = 0; i < 6; i++) {
    __u8 c = byte_at(r, r->at++);
    if (c == ' ')
      return i > 0 && r->port <= 0xffff;
    if (c < '0' || c > '9')
      return 0;
    r->port = r->port * 10 + (c - '0');
  }
  return 0;
}

// Goes to where the message begins, behind what syslog(3) puts before it:
// "<38>Nov 29 14:47:51 sshd[1220]: ". What goes to standard error has nothing there.
__noinline int read_header(struct ssh_reading *r) {
  if (!r)
    return 0;
  r->at = 0;
  if (byte_at(r, 0) != '<')
    return 1;
  for (__u32 i = 0; i < SSH_HEADER; i++, r->at++)
    if (byte_at(r, r->at) == ']' && byte_at(r, r->at + 1) == ':' && byte_at(r, r->at + 2) == ' ') {
      r->at += 3;
      return 1;
    }
  return 0;
}

// A line end, or the byte that ends the text of a stream, belongs to no message.
__noinline int trim(struct ssh_reading *r) {
  if (!r || r->length > SSH_MESSAGE)
    return 0;
  for (__u32 i = 0; i < 3 && r->length; i++) {
    __u8 last = byte_at(r, r->length - 1);
    if (last != '\n' && last != '\r' && last)
      break;
    r->length--;
  }
  return 1;
}

// Reads "TYPE SHA256:…", and of a certificate " ID … CA TYPE SHA256:…". Nothing may
// follow: neither what is cut off in the middle is believed, nor what the child asked
// to have logged, which the monitor ends with " [preauth]".
static __always_inline __u32 read_key(struct ssh_reading *r) {
  if (!read_word(r) || !read_fingerprint(r))
    return 0;
  r->fingerprint = r->from;
  if (r->at == r->length)
    return 1;
  if (!reads(r, " ID "))
    return 0;
  // Whoever signed it has chosen the name: the end counts.
  const __u32 end = sizeof("SHA256:") - 1 + SSH_FINGERPRINT;
  if (r->length < r->at + end)
    return 0;
  r->at = r->length - end;
  return read_fingerprint(r);
}

// Reads a message: "Accepted METHOD for USER from ADDRESS port PORT ssh2", and with a
// key ": TYPE SHA256:…".
static __always_inline void read_message(struct ssh_reading *r) {
  r->result = 0;
  if (!trim(r) || !read_header(r) || r->length - r->at > SSH_LONGEST || !reads(r, "Accepted "))
    return;
  __u32 by_key = reads(r, "publickey ");
  if ((!by_key && !read_word(r)) || !reads(r, "for ") || !read_word(r) || !reads(r, "from "))
    return;
  r->address_length = read_word(r);
  r->address = r->from;
  if (!r->address_length || r->address_length > SSH_ADDRESS || !reads(r, "port ") ||
      !read_port(r) || !reads(r, "ssh2"))
    return;
  if (!by_key) {
    // A host's key, or a principal, may follow.
    if (r->at != r->length && byte_at(r, r->at) != ':')
      return;
    r->at = r->length - (sizeof(" [preauth]") - 1);
    if (!reads(r, " [preauth]"))
      r->result = SSH_NO_KEY;
    return;
  }
  if (reads(r, ": ") && read_key(r))
    r->result = SSH_KEY;
}

#endif
