package main

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/internal/engine"
)

const burst = 100 * time.Millisecond

var establishedLine = line{
	id: "established", title: "A packet of an established connection", unit: "ns a packet",
	about: "Segments of connections that both ends take part in are forwarded by a router. Weir enforces 1,000 rules and watches one interface of the router, which is what a packet meets on a host, or both. nftables tracks connections and has 100 rules; what is established passes by its first.",
	take: func(b *bench, r *result) {
		for _, flows := range []int{1000, b.pick(0, 100_000)} {
			if flows > 0 {
				b.established(r, flows)
			}
		}
	},
}

func (b *bench) established(r *result, flows int) {
	s := b.newLanes()
	defer s.close()
	size := 6 * flows
	s.add(noFilter, size, false)
	empty := s.add(emptyTCX, size, false)
	p := emptyProgram()
	defer p.Close()
	defer attachTCX(empty.host, inName, p, ebpf.AttachTCXIngress).Close()
	s.weir(weirSubject, size, false, stateful(1000), inName)
	s.weir(weirSubject+", both interfaces", size, false, stateful(1000), inName, outName)
	if b.peers["nft"] {
		s.add(nftConntrack+" + 100 rules", size, false).host.command(nftStateful("forward", 100), "nft", "-f", "-")
	}
	if b.peers["iptables-restore"] {
		l := s.add("iptables, conntrack", size, false)
		l.host.command("*filter\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\nCOMMIT\n", "iptables-restore")
	}
	tuples, going := someTuples(flows), make([]tuple, 0, 2*flows)
	for _, t := range tuples {
		there := t.handshake()[2]
		back := there.reversed()
		back.seq, back.ack = there.ack, there.seq
		going = append(going, there, back)
	}
	open, goingFrames := handshakes(tuples), frames(going)
	for _, l := range s.all {
		b.goOn()
		l.establish(open)
		l.generator.fill(goingFrames)
	}
	s.measure(burst, 1<<20)
	if b.peers["nft"] {
		// What went past the first rule were first packets, and nothing else.
		for _, l := range s.all {
			if l.name == nftConntrack+" + 100 rules" {
				l.host.command("", "sh", "-c", fmt.Sprintf("nft list chain ip bench stateful | grep -q 'counter packets %d '", flows))
			}
		}
	}
	for _, l := range s.all {
		one := l.series("connections", flows, noFilter)
		if l.name == noFilter {
			one.Baseline = ""
		}
		r.Series = append(r.Series, one)
	}
}

var firstPacketLine = line{
	id: "first", title: "The first packet of a connection", unit: "ns a packet",
	about: "Each packet opens a connection; a router forwards it. Half of them meet a rule, half none. Weir judges it, remembers it and tells of it or counts it; linear rules of nftables (at the ingress of the interface) and iptables (table raw) keep no state, which is in their favour. They are evaluated one by one: beyond 10,000 they are not measured.",
	take: func(b *bench, r *result) {
		s := b.newLanes()
		defer s.close()
		const size = 1 << 16
		var configured []series
		add := func(l *lane, k kind, n int) {
			l.generator.fill(frames(k.tuples(size, max(n, 1))))
			configured = append(configured, series{Kind: k.name, Size: n, Baseline: emptyTCX})
		}
		p := emptyProgram()
		defer p.Close()
		for _, k := range []kind{services, sources6} {
			name := emptyTCX
			if k.name == sources6.name {
				name = emptyTCX + ", IPv6"
			}
			l := s.add(name, size, false)
			defer attachTCX(l.host, inName, p, ebpf.AttachTCXIngress).Close()
			l.generator.fill(frames(k.tuples(size, 1000)))
			configured = append(configured, series{})
		}
		for _, k := range kinds {
			for _, n := range []int{10, 1000, 10_000, 100_000} {
				if n == 10 && (!b.full || k.name != services.name) || n == 10_000 && !b.full && k.name != services.name {
					continue
				}
				b.goOn()
				l := s.weir(weirSubject, size, false, k.policy(n), inName)
				l.anew()
				add(l, k, n)
				if k.name == sources6.name {
					configured[len(configured)-1].Baseline = emptyTCX + ", IPv6"
				}
			}
		}
		for _, n := range []int{b.pick(0, 10), 100, 1000, 10_000} {
			if n == 0 {
				continue
			}
			b.goOn()
			if b.peers["nft"] {
				l := s.add(nftLinear, size, false)
				l.host.command(services.nftLinear(n), "nft", "-f", "-")
				add(l, services, n)
			}
			if b.peers["iptables-restore"] {
				l := s.add(iptLinear, size, false)
				l.host.command(services.iptablesLinear(n), "iptables-restore")
				add(l, services, n)
			}
		}
		s.measure(burst, size/2)
		for i, l := range s.all {
			c := configured[i]
			r.Series = append(r.Series, l.series(c.Kind, c.Size, c.Baseline))
		}
	},
}

var listLine = line{
	id: "list", title: "A list of prefixes", unit: "ns a packet",
	about: "One rule about a list, of addresses and /24 prefixes in equal parts, and packets of which half come from it; a router forwards them all. Weir looks the list up for the first packet of a connection and then finds the connection: both are measured. ipset (hash:net, iptables in table raw) and the set of nftables (at ingress) are asked for each packet.",
	take: func(b *bench, r *result) {
		for _, n := range []int{b.pick(0, 1000), b.pick(0, 10_000), 100_000} {
			if n > 0 {
				b.list(r, n)
			}
		}
	},
}

func (b *bench) list(r *result, n int) {
	s := b.newLanes()
	defer s.close()
	const size = 1 << 14
	empty := s.add(emptyTCX, size, false)
	p := emptyProgram()
	defer p.Close()
	defer attachTCX(empty.host, inName, p, ebpf.AttachTCXIngress).Close()
	policy := []byte("mode: prevent\ndefault_action: allow\ngroups: {addresses: {list: [" + prefixList(n, ", ") +
		"]}}\nrules: [{name: list, action: allow, layer3: {source: 'group:list'}}]\n")
	established := s.weir(weirSubject+", established", 3*size, false, policy, inName)
	s.weir(weirSubject+", first packet", size, false, policy, inName).anew()
	s.weir(weirSubject+", first packet, no list", size, false, onlyOne, inName).anew()
	if b.peers["nft"] {
		l := s.add(nftSet, size, false)
		l.host.command("table netdev bench { set prefixes { type ipv4_addr; flags interval; elements = { "+prefixList(n, ", ")+
			" }\n}\nchain first { type filter hook ingress device "+inName+" priority 0; ip saddr @prefixes accept\n}\n}\n", "nft", "-f", "-")
	}
	if b.peers["ipset"] && b.peers["iptables-restore"] {
		l := s.add(ipset, size, false)
		l.host.command("create list hash:net maxelem 200000\nadd list "+prefixList(n, "\nadd list ")+"\n", "ipset", "restore")
		l.host.command("*raw\n:PREROUTING ACCEPT\n-A PREROUTING -m set --match-set list src -j ACCEPT\nCOMMIT\n", "iptables-restore")
	}
	tuples := listTuples(size, n)
	established.establish(handshakes(tuples))
	for i, t := range tuples {
		tuples[i] = t.handshake()[2]
	}
	going := frames(tuples)
	for _, l := range s.all {
		l.generator.fill(going)
	}
	// A burst goes once through the frames at most: the next opens them anew.
	s.measure(burst/4, size)
	for _, l := range s.all {
		one := l.series("prefixes", n, emptyTCX)
		if l.name == emptyTCX {
			one.Baseline = ""
		}
		r.Series = append(r.Series, one)
	}
}

var dropLine = line{
	id: "drop", title: "Dropping at the driver", unit: "ns a packet",
	about: "What it costs to drop the packets of a connection that is blocked, beside an empty XDP program that drops all: by Weir with `xdp: native` and without; by xdp-filter by the address, since it knows no connections. There are 1,000, of one source.",
	take: func(b *bench, r *result) {
		s := b.newLanes()
		defer s.close()
		const size = 1 << 12
		empty := s.add("empty XDP program", size, false)
		defer attachXDPDrop(empty.host, inName).Close()
		tcx := s.add("tcx program that drops", size, false)
		defer attachTCXDrop(tcx.host, inName).Close()
		policy := []byte("mode: prevent\nreject: never\ndefault_action: allow\nrules: [{name: shut, action: block, layer3: {source: 12.0.0.0/8}}]")
		s.weir(weirSubject+" (tcx), blocked", size, false, policy, inName)
		s.weirBy(engine.XDPNative, weirXDP, size, false, policy, inName)
		if b.peers["xdp-filter"] {
			l := s.add(xdpFilter, size, false)
			l.host.command("", "xdp-filter", "load", inName, "-m", "native", "-f", "ipv4")
			l.host.command("", "xdp-filter", "ip", "12.0.0.1", "-m", "src")
		}
		tuples := make([]tuple, 1000)
		for i := range tuples {
			tuples[i] = opening(address4(12, 1), address4(13, 1), uint16(10_000+i), 443)
		}
		for _, l := range s.all {
			l.generator.fill(frames(tuples))
			l.size(burst, 1<<20)
		}
		var samples []func()
		for _, l := range s.all {
			samples = append(samples, func() {
				before := l.passed()
				l.burst(false)
				if l.passed() != before {
					must(errPassed, "%s", l.name)
				}
			})
		}
		b.interleave(b.rounds(), samples...)
		for _, l := range s.all {
			one := l.series("", 0, "empty XDP program")
			if l.name == "empty XDP program" {
				one.Baseline = ""
			}
			r.Series = append(r.Series, one)
		}
	},
}
