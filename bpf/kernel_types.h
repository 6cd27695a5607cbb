// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What is read of the kernel's own structures: the loader finds where each field is
// (CO-RE).
#ifndef WEIR_KERNEL_TYPES_H
#define WEIR_KERNEL_TYPES_H

#include <linux/in6.h>
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
  __u32 s_dev;
};

struct inode {
  __u16 i_mode;
  unsigned long i_ino;
  struct super_block *i_sb;
};

struct file {
  struct inode *f_inode;
  void *private_data;
};

struct fdtable {
  unsigned int max_fds;
  struct file **fd;
};

struct files_struct {
  struct fdtable *fdt;
};

struct mm_struct {
  struct file *exe_file;
};

struct user_namespace {
  int level; // 0: the initial one
};

struct cred {
  struct user_namespace *user_ns;
};

struct task_struct {
  struct mm_struct *mm;
  struct files_struct *files;
  const struct cred *cred;
};

struct net {
  __u64 net_cookie;
};

typedef struct {
  struct net *net;
} possible_net_t;

struct sock_common {
  __be32 skc_daddr;
  __be32 skc_rcv_saddr;
  __be16 skc_dport;
  __u16 skc_num;
  unsigned short skc_family;
  possible_net_t skc_net;
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
  struct sock_common __sk_common;
  __u16 sk_type;
  __u16 sk_protocol;
};

struct socket {
  struct sock *sk;
};

#pragma clang attribute pop

#endif
