package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

var policyLine = line{
	id: "policy", title: "A policy from YAML to in force", unit: "ms",
	about: "From the text in memory to the switch: parsed, checked, compiled, placed in the kernel. On all processors. nftables and ipset load theirs from a text, too.",
	take: func(b *bench, r *result) {
		for _, k := range kinds {
			for _, n := range []int{1000, 10_000, 100_000} {
				b.goOn()
				h := newHost()
				pair(h, inName, h, "end")
				a, _ := startAgent(h, processors(), Opening{Interfaces: []string{inName}, MaxEntries: 1 << 16, Policy: onlyOne})
				p := ingressOf(h, inName)
				text := k.policy(n)
				read, all := series{Subject: weirSubject + ", reading alone", Kind: k.name, Size: n}, series{Subject: weirSubject, Kind: k.name, Size: n}
				for round := range b.rounds() {
					took := a.apply(text)
					if round == 0 { // the names of earlier rules stay beside the next
						r.fact(fmt.Sprintf("%s rules (%s): tables in the kernel", number(float64(n)), k.name), tablesMB(p), "MB")
					}
					read.Samples = append(read.Samples, took.Read.Seconds()*1000)
					all.Samples = append(all.Samples, took.InForce.Seconds()*1000)
				}
				r.Series = append(r.Series, all, read)
				p.Close()
				a.close()
				h.close()
			}
		}
		b.peerLoads(r)
		b.policyMemory(r)
	},
}

// peerLoads is how long others take for as many rules, or prefixes.
func (b *bench) peerLoads(r *result) {
	for _, n := range []int{1000, 10_000} {
		if b.peers["nft"] {
			r.Series = append(r.Series, b.timed(nftLinear, services.name, n, services.nftLinear(n), "nft", "-f", "-"))
		}
	}
	const n = 100_000
	if b.peers["nft"] {
		text := "table netdev bench { set prefixes { type ipv4_addr; flags interval; elements = { " + prefixList(n, ", ") + " }\n}\n}\n"
		r.Series = append(r.Series, b.timed(nftSet, "prefixes", n, text, "nft", "-f", "-"))
	}
	if b.peers["ipset"] {
		text := "create list hash:net maxelem 200000\nadd list " + prefixList(n, "\nadd list ") + "\n"
		r.Series = append(r.Series, b.timed(ipset, "prefixes", n, text, "ipset", "restore"))
	}
}

func (b *bench) timed(subject, kind string, n int, text, program string, arguments ...string) series {
	s := series{Subject: subject, Kind: kind, Size: n}
	for range 3 {
		b.goOn()
		h := newHost()
		pair(h, inName, h, "end")
		s.Samples = append(s.Samples, milliseconds(func() { h.command(text, program, arguments...) }))
		h.close()
	}
	return s
}

// policyMemory is what the Collector and the kernel hold with 100,000 rules.
func (b *bench) policyMemory(r *result) {
	for _, k := range kinds {
		h := newHost()
		pair(h, inName, h, "end")
		dir := temporary()
		file := filepath.Join(dir, "policy.yaml")
		must(os.WriteFile(file, k.policy(100_000), 0o600), "write a policy")
		c := startCollector(h, agentCPUs(), collectorConfig{binary: b.weir, dir: dir, policy: file, maxEntries: 1 << 20})
		time.Sleep(10 * time.Second) // until the runtime has given back what reading took
		name := fmt.Sprintf("100,000 rules (%s): ", k.name)
		r.fact(name+"Collector, resident", residentMB(c.pid()), "MB")
		r.fact(name+"Collector, at most", peakMB(c.pid()), "MB")
		c.close()
		os.RemoveAll(dir)
		h.close()
	}
}
