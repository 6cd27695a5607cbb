//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Drops packets of connections that are blocked before the kernel has made an skb of
// them. Loaded on request only; frames of several buffers need Linux 5.18.
//
// It decides nothing. It drops what the ingress program, which comes after it, would
// drop without an answer and with nothing to note but that the packet came, and
// notes just that. All else it lets pass, undone: what opens, closes or is to be
// judged again, what is answered or told of, what it cannot read in one look.
#include <linux/types.h>
#include <stddef.h>

#include "clock.h"
#include "counters.h"
#include "flow.h"
#include "key.h"
#include "maps.h"
#include "mutant.h"
#include "network.h"
#include "packet.h"

// Set by the loader for generic mode, where what comes is an skb already: maybe a
// superpacket, of which nothing here tells the number of segments.
volatile const __u32 superpackets = 0;

// Longer than what is no superpacket, but on networks with jumbo frames: theirs are
// left to the ingress program.
enum { LONGEST_IP_BYTES = 1500 };

enum { TCP_FLAGS_OF_SYN = TCP_FLAG_SYN_ | TCP_FLAG_ACK_ | TCP_FLAG_RST_ | TCP_FLAG_FIN_ };

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct clock);
} clocks SEC(".maps");

// What there is of a frame, in one piece.
struct bytes {
  void *at;
  void *end;
};

static __always_inline int is_plain_tcp(struct bytes b, __u32 length, struct packet *p) {
  struct tcphdr *tcp = b.at;
  if (b.at + sizeof(*tcp) > b.end || tcp->doff < 5 || tcp->doff * 4 > length)
    return 0;
  p->source_port = tcp->source;
  p->destination_port = tcp->dest;
  p->seq = bpf_ntohl(tcp->seq);
  p->tcp_flags = ((__u8 *)tcp)[13];
  return !superpackets || tcp->doff * 4 == length;
}

static __always_inline int is_plain_udp(struct bytes b, __u32 length, struct packet *p) {
  struct udphdr *udp = b.at;
  if (b.at + sizeof(*udp) > b.end)
    return 0;
  __u32 claimed = bpf_ntohs(udp->len);
  if (claimed < sizeof(*udp) || claimed > length)
    return 0;
  p->source_port = udp->source;
  p->destination_port = udp->dest;
  return 1;
}

static __always_inline int is_plain_transport(struct bytes b, __u32 length, struct packet *p) {
  if (p->protocol == IPPROTO_TCP)
    return is_plain_tcp(b, length, p);
  return p->protocol == IPPROTO_UDP && is_plain_udp(b, length, p);
}

// A whole datagram without options, as decode_ipv4() takes it.
static __always_inline int is_plain_ipv4(struct bytes b, struct packet *p) {
  struct iphdr *ip = b.at;
  if (b.at + sizeof(*ip) > b.end || ip->version != 4 || ip->ihl != 5)
    return 0;
  __u32 total = bpf_ntohs(ip->tot_len);
  const __u32 *word = b.at;
  if (total < sizeof(*ip) || total > LONGEST_IP_BYTES || total > b.end - b.at ||
      (bpf_ntohs(ip->frag_off) & 0x3fff) ||
      !is_ones((__u64)word[0] + word[1] + word[2] + word[3] + word[4]))
    return 0;
  map_ipv4(p->source, ip->saddr);
  map_ipv4(p->destination, ip->daddr);
  p->protocol = ip->protocol;
  p->bytes = total;
  b.at += sizeof(*ip);
  return is_plain_transport(b, total - sizeof(*ip), p);
}

// Without extension headers, as decode_ipv6() takes it.
static __always_inline int is_plain_ipv6(struct bytes b, struct packet *p) {
  struct ipv6hdr *ip = b.at;
  if (b.at + sizeof(*ip) > b.end || ip->version != 6)
    return 0;
  __u32 length = bpf_ntohs(ip->payload_len);
  if (length > LONGEST_IP_BYTES - sizeof(*ip) || length + sizeof(*ip) > b.end - b.at)
    return 0;
  __builtin_memcpy(p->source, &ip->saddr, 16);
  __builtin_memcpy(p->destination, &ip->daddr, 16);
  if (is_mapped(p->source) || is_mapped(p->destination))
    return 0;
  p->protocol = ip->nexthdr;
  p->bytes = length + sizeof(*ip);
  b.at += sizeof(*ip);
  return is_plain_transport(b, length, p);
}

// Reads an untagged frame with one of the packets above.
static __always_inline int is_plain(struct bytes b, struct packet *p) {
  struct ethhdr *ethernet = b.at;
  if (b.at + sizeof(*ethernet) > b.end)
    return 0;
  b.at += sizeof(*ethernet);
  if (ethernet->h_proto == bpf_htons(ETH_P_IP))
    return is_plain_ipv4(b, p);
  return ethernet->h_proto == bpf_htons(ETH_P_IPV6) && is_plain_ipv6(b, p);
}

// The tables in force where nothing is scheduled to take their place; else 0.
static __always_inline __u32 settled_tables(void) {
  __u32 zero = 0;
  volatile __u64 *both = bpf_map_lookup_elem(&tables_in_force, &zero);
  __u64 tables = both ? *both : 0;
  return tables >> 32 ? 0 : tables;
}

// Whether the ingress program would do no more with p, sent by `end`, than count and
// drop it.
static __always_inline int is_only_dropped(const struct flow *f, const struct packet *p, __u32 end,
                                           __u32 ifindex) {
  const __u32 matter = FLOW_DROP | FLOW_REJECT | FLOW_CLOSED | FLOW_END_TOLD | FLOW_FOLLOWER |
                       FLOW_JUDGING | FLOW_HELD | FLOW_RETURNS;
  if ((f->flags & matter) != FLOW_DROP)
    return 0;
  // An event is due: of a connection that is told of with others, only its end is.
  if (!(f->flags & FLOW_QUIET) &&
      (f->flags & (FLOW_START_TOLD | FLOW_VERDICT_DUE)) != FLOW_START_TOLD)
    return 0;
  if (!f->tables || (f->tables != settled_tables() && !MUTANT(XDP_ANY_TABLES)) || f->judge_at)
    return 0;
  // Elsewhere it was, or may be, counted.
  if (f->hook[end] != ifindex << 1 && !MUTANT(XDP_ANY_HOOK))
    return 0;
  if (p->protocol != IPPROTO_TCP)
    return 1;
  // It carried data: its ends may be told that it was cut, and SYNs may want its tuple.
  if (f->tcp & (TCP_DATA | TCP_CANDIDATE))
    return 0;
  if (!(p->tcp_flags & TCP_FLAG_SYN_) || MUTANT(XDP_ANY_SYN))
    return 1;
  return (p->tcp_flags & TCP_FLAGS_OF_SYN) == TCP_FLAG_SYN_ && (f->tcp & (TCP_SYN << end)) &&
         p->seq == f->initial[end];
}

// As note_packet() does for such a packet.
static __always_inline void note_dropped(struct flow *f, const struct packet *p, __u32 end) {
  __u32 zero = 0;
  struct clock *clock = bpf_map_lookup_elem(&clocks, &zero);
  __u64 now = clock ? recent_time(clock, f->last) : bpf_ktime_get_ns();
  f->last = now;
  f->hook_at[end] = ticks(now);
  __sync_fetch_and_add(&f->packets[end], 1);
  __sync_fetch_and_add(&f->bytes[end], p->bytes);
  count_traffic(f, p->protocol, end, 1, p->bytes);
  count(COUNT_XDP_DROPPED);
}

SEC("xdp.frags")
int drop_early(struct xdp_md *ctx) {
  struct bytes frame = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
  struct packet p = {};
  if (!is_plain(frame, &p))
    return XDP_PASS;
  __u32 interface = interface_of(ctx->ingress_ifindex);
  if (!(interface & INTERFACE_WATCHED))
    return XDP_PASS;
  p.zone = interface & INTERFACE_ZONE;
  struct flow_key k;
  __u32 sender_is_high = make_key(&p, &k);
  struct flow *f = bpf_map_lookup_elem(&flows, &k);
  if (!f)
    return XDP_PASS;
  __u32 end = sender_is_high == !!(f->flags & FLOW_SOURCE_IS_HIGH) ? SOURCE : DESTINATION;
  if (!is_only_dropped(f, &p, end, ctx->ingress_ifindex))
    return XDP_PASS;
  note_dropped(f, &p, end);
  return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
