// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// SSH connections that the host's sshd serves, what it has said of the login, and what
// is to become of that.
#ifndef WEIR_SSHLOGIN_STATE_H
#define WEIR_SSHLOGIN_STATE_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
  // Connections of which user space has not taken over who logged in. Before a login an
  // sshd has some hundred at most (MaxStartups); but each processor sets 128 free
  // entries of such a map aside.
  SSH_LOGINS = 16384,
  SSH_SERVERS = 16,
  SSH_VERDICTS = 65536,
  SSH_FINGERPRINT = 43, // SHA-256 in base64, without padding
  SSH_ADDRESS = 64,     // as text, with a zone
};

// The files that are sshd.
struct ssh_server {
  __u64 inode;
  __u32 device; // as the kernel has it: 12 bits of the major number, 20 of the minor
  __u32 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SSH_SERVERS);
  __type(key, struct ssh_server);
  __type(value, __u8);
} ssh_servers SEC(".maps");

// A connection as sshd's socket has it; IPv4 addresses are mapped.
struct ssh_tuple {
  __u32 remote[4];
  __u32 local[4];
  __u16 remote_port; // host byte order
  __u16 local_port;
};

enum ssh_state {
  SSH_SERVED = 1, // sshd has sent its banner
  SSH_KEY = 2,    // it has said that somebody logged in by the key `fingerprint`
  SSH_NO_KEY = 3, // ... by something else
  // There is a session, and sshd has said nothing that was understood.
  SSH_UNSEEN = 4,
};

struct ssh_login {
  __u32 state;   // enum ssh_state, written last
  __u32 monitor; // the process that sent the banner, and says who logs in
  __u32 child;   // the one that speaks with the client until then; 0: not yet
  __u8 fingerprint[SSH_FINGERPRINT];
  __u8 ended; // for a key that is blocked
  // Whom the message names.
  __u16 port;
  __u16 address_length;
  __u8 address[SSH_ADDRESS];
};

// What gives way to others counts as not served, so that no login of it is believed.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SSH_LOGINS);
  __type(key, struct ssh_tuple);
  __type(value, struct ssh_login);
} ssh_logins SEC(".maps");

// By user space: which verdicts are those of a connection.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SSH_LOGINS);
  __type(key, struct ssh_tuple);
  __type(value, __u32);
} ssh_judges SEC(".maps");

// The socket of a monitor.
struct ssh_socket {
  struct ssh_tuple tuple;
  __u32 descriptor;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SSH_LOGINS);
  __type(key, __u32); // process
  __type(value, struct ssh_socket);
} ssh_monitors SEC(".maps");

// What becomes of a login by a key, by connections that are judged alike. Of one by a key
// that is not listed, or by none, under what is no fingerprint: a byte of that number,
// and zeros.
enum { SSH_WITHOUT_KEY = 0, SSH_ANY_KEY = 1 };

struct ssh_verdict {
  __u32 judges;
  __u8 fingerprint[SSH_FINGERPRINT];
  __u8 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SSH_VERDICTS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct ssh_verdict);
  __type(value, __u8); // 1: it is blocked
} ssh_verdicts SEC(".maps");

#endif
