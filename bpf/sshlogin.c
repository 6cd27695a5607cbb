//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Who logs in by SSH, from sshd's own words: the message that it hands to syslog is
// read at the entry of that system call, so that whatever sshd sends after it is sent
// when user space can know. Loaded only where a policy asks for ssh.public_keys.
// Needs Linux 5.11 (bpf_get_current_task_btf), BTF and CONFIG_FTRACE_SYSCALLS.
//
// Since OpenSSH 7.5 a login has three processes: the monitor (root) sends the banner,
// then has a child without rights speak with the client, learns from it who logs in,
// says so, and only then are there a session and the process that has it (the
// monitor itself for root, else another child). From OpenSSH 9.8 on they are of other
// executables, sshd-session and sshd-auth.
#include <linux/types.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>

#include "kernel_types.h"
#include "sshlogin_message.h"
#include "sshlogin_state.h"

// Set by the loader, for the processor: the numbers of system calls, and where struct
// pt_regs has the first three arguments.
volatile const __u32 call_write = 0;
volatile const __u32 call_sendto = 0;
volatile const __u32 argument_at[3] = {};
// The network namespace that is watched, by its cookie.
volatile const __u64 watched_namespace = 0;

enum {
  S_IFMT_ = 0170000,
  S_IFSOCK_ = 0140000,
  AF_INET_ = 2,
  AF_INET6_ = 10,
  SIGKILL_ = 9,
};

static __always_inline __u64 argument(__u64 *ctx, __u32 i) {
  __u64 value = 0;
  bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx[0] + argument_at[i]);
  return value;
}

static __always_inline __u32 is_sshd(struct task_struct *task) {
  struct mm_struct *mm = task->mm;
  if (!mm)
    return 0;
  struct file *exe = mm->exe_file;
  if (!exe)
    return 0;
  struct inode *inode = exe->f_inode;
  struct ssh_server server = {.inode = inode->i_ino, .device = inode->i_sb->s_dev};
  return !!bpf_map_lookup_elem(&ssh_servers, &server);
}

// Root of the host: a container's is in a user namespace of its own, and where it is
// not, sshd's executable is another.
static __always_inline __u32 is_root(struct task_struct *task) {
  return !(__u32)bpf_get_current_uid_gid() && !task->cred->user_ns->level;
}

// The connection that a file descriptor of the running process is a socket of, in the
// namespace that is watched.
static __always_inline __u32 tuple_of(struct task_struct *task, __u32 descriptor,
                                      struct ssh_tuple *t) {
  struct fdtable *table = task->files->fdt;
  if (descriptor >= table->max_fds)
    return 0;
  struct file *file = NULL;
  bpf_probe_read_kernel(&file, sizeof(file), table->fd + descriptor);
  if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT_) != S_IFSOCK_)
    return 0;
  struct socket *socket = BPF_CORE_READ(file, private_data);
  struct sock *sk = BPF_CORE_READ(socket, sk);
  if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP ||
      BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie) != watched_namespace)
    return 0;
  __u32 family = BPF_CORE_READ(sk, __sk_common.skc_family);
  __builtin_memset(t, 0, sizeof(*t));
  if (family == AF_INET_) {
    t->remote[2] = t->local[2] = bpf_htonl(0xffff);
    t->remote[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
    t->local[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
  } else if (family == AF_INET6_) {
    BPF_CORE_READ_INTO(&t->remote, sk, __sk_common.skc_v6_daddr);
    BPF_CORE_READ_INTO(&t->local, sk, __sk_common.skc_v6_rcv_saddr);
  } else {
    return 0;
  }
  t->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
  t->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
  return t->remote_port != 0;
}

// A monitor has sent its banner: from here on its connection can be followed.
static __always_inline void begin(const struct ssh_tuple *t, __u32 process, __u32 descriptor) {
  struct ssh_socket socket = {.tuple = *t, .descriptor = descriptor};
  bpf_map_update_elem(&ssh_monitors, &process, &socket, BPF_ANY);
  struct ssh_login login = {.state = SSH_SERVED, .monitor = process};
  bpf_map_update_elem(&ssh_logins, t, &login, BPF_ANY);
}

// sshd sends something to a client. Who does besides the monitor's banner and the
// child before the login has a session: where there was no word of it, there comes none
// (LogLevel, or nobody listens to syslog).
static __always_inline void sends(struct ssh_login *l, __u32 process) {
  if (l->state != SSH_SERVED || process == l->child)
    return;
  if (!l->child && process != l->monitor)
    l->child = process;
  else
    __sync_lock_test_and_set(&l->state, SSH_UNSEEN);
}

// What becomes of a login, as user space has said; where it has not, it judges later.
static __always_inline __u32 is_blocked(const struct ssh_tuple *t, const struct ssh_login *l) {
  __u32 *judges = bpf_map_lookup_elem(&ssh_judges, t);
  if (!judges)
    return 0;
  struct ssh_verdict v = {.judges = *judges};
  if (l->state == SSH_NO_KEY)
    v.fingerprint[0] = SSH_WITHOUT_KEY;
  else
    __builtin_memcpy(v.fingerprint, l->fingerprint, SSH_FINGERPRINT);
  __u8 *blocked = bpf_map_lookup_elem(&ssh_verdicts, &v);
  if (!blocked) {
    __builtin_memset(v.fingerprint, 0, SSH_FINGERPRINT);
    v.fingerprint[0] = SSH_ANY_KEY;
    blocked = bpf_map_lookup_elem(&ssh_verdicts, &v);
  }
  return blocked && *blocked;
}

// A monitor writes what may be its message of a login. That of a key that is blocked is
// the last thing it does: before it there is no session, whatever the client has sent.
static __always_inline void says(struct task_struct *task, __u32 process, const void *text,
                                 __u64 length) {
  struct ssh_socket *socket = bpf_map_lookup_elem(&ssh_monitors, &process);
  struct ssh_tuple t;
  __u32 zero = 0;
  struct ssh_reading *r = bpf_map_lookup_elem(&ssh_readings, &zero);
  if (!socket || !r || !length || length > SSH_MESSAGE || !tuple_of(task, socket->descriptor, &t))
    return;
  struct ssh_login *l = bpf_map_lookup_elem(&ssh_logins, &t);
  if (!l || l->monitor != process || l->state != SSH_SERVED)
    return;
  r->length = length;
  if (bpf_probe_read_user(r->text, ((length - 1) & (SSH_MESSAGE - 1)) + 1, text))
    return;
  read_message(r);
  if (!r->result || r->port != t.remote_port)
    return;
  l->port = r->port;
  l->address_length = r->address_length;
  for (__u32 i = 0; i < SSH_ADDRESS; i++)
    l->address[i] = byte_at(r, r->address + i);
  for (__u32 i = 0; i < SSH_FINGERPRINT; i++)
    l->fingerprint[i] = byte_at(r, r->fingerprint + i);
  __sync_lock_test_and_set(&l->state, r->result);
  if (is_blocked(&t, l)) {
    l->ended = 1;
    bpf_send_signal(SIGKILL_);
  }
}

SEC("tp_btf/sys_enter")
int ssh_says(__u64 *ctx) {
  __u32 call = ctx[1];
  if (call != call_write && call != call_sendto)
    return 0;
  struct task_struct *task = bpf_get_current_task_btf();
  if (!is_sshd(task))
    return 0;
  __u32 process = bpf_get_current_pid_tgid() >> 32;
  __u32 descriptor = argument(ctx, 0);
  const void *text = (const void *)argument(ctx, 1);
  struct ssh_tuple t;
  if (call == call_write && tuple_of(task, descriptor, &t)) {
    char banner[8] = {};
    bpf_probe_read_user(banner, sizeof(banner), text);
    struct ssh_login *l = bpf_map_lookup_elem(&ssh_logins, &t);
    if (is_root(task) && !__builtin_memcmp(banner, "SSH-2.0-", sizeof(banner)))
      begin(&t, process, descriptor);
    else if (l)
      sends(l, process);
    return 0;
  }
  if (is_root(task))
    says(task, process, text, argument(ctx, 2));
  return 0;
}

// Reads the message in ssh_readings: for the test that compares it with the other reader.
SEC("syscall")
int ssh_read(void *ctx) {
  __u32 zero = 0;
  struct ssh_reading *r = bpf_map_lookup_elem(&ssh_readings, &zero);
  if (r)
    read_message(r);
  return 0;
}

// Named here so that the compiler describes it to the Go bindings.
const enum ssh_state *type_ssh_state __attribute__((unused));

char _license[] SEC("license") = "Dual BSD/GPL";
