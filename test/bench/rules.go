package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// A kind of rules: how rule i reads in Weir and in nftables, and a connection that
// it is about.
type kind struct {
	name, about string
	weir        func(i int) string // criteria
	nft         func(i int) string // likewise; nil: not measured
	iptables    func(i int) string
	hit         func(i int) tuple
	miss        func(i int) tuple
}

var kinds = []kind{services, sources4, sources6}

var services = kind{
	name: "services", about: "150 source and 150 destination prefixes in all pairs, with TCP ports",
	weir: func(i int) string {
		return fmt.Sprintf("layer3: {source: 11.%d.0.0/16, destination: 10.%d.0.0/16}, layer4: {tcp: %d}", i%150, i/150%150, servicePort(i))
	},
	nft: func(i int) string {
		return fmt.Sprintf("ip saddr 11.%d.0.0/16 ip daddr 10.%d.0.0/16 tcp dport %d", i%150, i/150%150, servicePort(i))
	},
	iptables: func(i int) string {
		return fmt.Sprintf("-s 11.%d.0.0/16 -d 10.%d.0.0/16 -p tcp --dport %d", i%150, i/150%150, servicePort(i))
	},
	hit: func(i int) tuple {
		n := uint32(scattered(i) & 0xffff)
		return opening(address4(11, uint32(i%150)<<16|n), address4(10, uint32(i/150%150)<<16|n), 0, servicePort(i))
	},
	miss: func(i int) tuple {
		n := uint32(scattered(i) & 0xffff)
		return opening(address4(11, uint32(i%150)<<16|n), address4(10, uint32(i/150%150)<<16|n), 0, 9)
	},
}

func servicePort(i int) uint16 { return uint16(1 + i/22500*1000) }

var sources4 = kind{
	name: "IPv4 sources", about: "a source address of its own for each rule",
	weir: func(i int) string { return fmt.Sprintf("layer3: {source: %v}", address4(11, scattered(i))) },
	hit:  func(i int) tuple { return opening(address4(11, scattered(i)), address4(10, scattered(i+7)), 0, 443) },
	miss: func(i int) tuple {
		return opening(address4(12, scattered(i)), address4(10, scattered(i+7)), 0, 443)
	},
}

var sources6 = kind{
	name: "IPv6 sources", about: "a /64 source prefix of its own for each rule",
	weir: func(i int) string {
		return fmt.Sprintf("layer3: {source: %v}", netip.PrefixFrom(address6(scattered(i)), 64).Masked())
	},
	hit: func(i int) tuple { return opening(address6(scattered(i)), inside6(i), 0, 443) },
	miss: func(i int) tuple {
		t := opening(address6(scattered(i)), inside6(i), 0, 443)
		b := t.source.As16()
		b[7] = 2 // the /64 next to it
		t.source = netip.AddrFrom16(b)
		return t
	},
}

// inside6 is reached by the lane's route.
func inside6(i int) netip.Addr {
	a := address6(scattered(i + 7)).As16()
	a[2], a[3] = 0x0d, 0xb9
	return netip.AddrFrom16(a)
}

// policy is n rules of the kind. All allow, as does what no rule is about: a
// packet's way after the verdict is the same with and without rules.
func (k kind) policy(n int) []byte {
	var b bytes.Buffer
	b.WriteString("mode: prevent\ndefault_action: allow\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: r%d, action: allow, %s}\n", i, k.weir(i))
	}
	return b.Bytes()
}

// noRules is a policy by which nothing is classified.
var noRules = []byte("mode: prevent\ndefault_action: allow\n")

// onlyOne is a policy of one rule that is about nothing that is sent.
var onlyOne = []byte("mode: prevent\ndefault_action: allow\nrules: [{name: one, action: allow, layer3: {source: 192.0.2.77}}]\n")

// tuples are count first packets: half of them meet one of n rules, spread over
// them, half none; no two are of one connection.
func (k kind) tuples(count, n int) []tuple {
	r := random()
	return k.draw(count, func() int { return r.IntN(n) })
}

// trace is the same of rules that are not met alike: by Zipf's law (exponent 1.1), as
// services and peers are on real networks.
func (k kind) trace(count, n int) []tuple {
	z := rand.NewZipf(random(), 1.1, 1, uint64(n-1))
	// Those that are met most lie anywhere in the order.
	return k.draw(count, func() int { return int(z.Uint64() * 40503 % uint64(n)) })
}

func (k kind) draw(count int, rule func() int) []tuple {
	out := make([]tuple, count)
	for i := range out {
		which := k.hit
		if i%2 == 0 {
			which = k.miss
		}
		out[i] = which(rule())
		out[i].sourcePort = uint16(1 + i)
	}
	return out
}

// nftLinear is n rules in a chain at the ingress of a device, where no other work
// of the kernel's comes before.
func (k kind) nftLinear(n int) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "table netdev bench { chain first { type filter hook ingress device %s priority 0;\n", inName)
	for i := range n {
		fmt.Fprintf(&b, "%s accept\n", k.nft(i))
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// iptablesLinear is n rules in the first table that iptables has.
func (k kind) iptablesLinear(n int) string {
	var b bytes.Buffer
	b.WriteString("*raw\n:PREROUTING ACCEPT\n")
	for i := range n {
		fmt.Fprintf(&b, "-A PREROUTING %s -j ACCEPT\n", k.iptables(i))
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// nftStateful tracks connections; what belongs to one passes by the first rule,
// as is usual, and the others are for what opens one.
func nftStateful(hook string, n int) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "table ip bench { chain stateful { type filter hook %s priority 0;\nct state established,related accept\ncounter\n", hook)
	for i := range n {
		fmt.Fprintf(&b, "ip daddr 172.%d.%d.0/24 tcp dport %d drop\n", 16+i>>8, i&255, 1+i)
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// stateful is the same policy for Weir.
func stateful(n int) []byte {
	var b bytes.Buffer
	b.WriteString("mode: prevent\ndefault_action: allow\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: r%d, action: block, layer3: {destination: 172.%d.%d.0/24}, layer4: {tcp: %d}}\n", i, 16+i>>8, i&255, 1+i)
	}
	return b.Bytes()
}

// prefix is number i of a list: addresses and /24 in turn.
func prefix(i int) netip.Prefix {
	if i%2 == 0 {
		return netip.PrefixFrom(address4(11, scattered(i)), 32)
	}
	return netip.PrefixFrom(address4(13, uint32(i/2*40503&0xffff)<<8), 24)
}

func prefixList(n int, separator string) string {
	var b bytes.Buffer
	for i := range n {
		if i > 0 {
			b.WriteString(separator)
		}
		if p := prefix(i); p.IsSingleIP() {
			b.WriteString(p.Addr().String())
		} else {
			b.WriteString(p.String())
		}
	}
	return b.String()
}

// listTuples are packets of which half come from the list.
func listTuples(count, n int) []tuple {
	r := random()
	out := make([]tuple, count)
	for i := range out {
		from := address4(14, scattered(i))
		if i%2 == 0 {
			from = prefix(r.IntN(n)).Addr()
		}
		out[i] = opening(from, address4(10, scattered(i+7)), uint16(1+i), 443)
	}
	return out
}
