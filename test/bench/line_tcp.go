package main

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

const tcpAbout = "Client and server are in two namespaces, on one processor that they share; the filter is on the server's. Weir enforces 1,000 rules. nftables tracks connections, passes what is established by its first rule, and has the same rules behind it."

var requestsLine = line{
	id: "tcp-requests", title: "TCP: requests on connections that stay", unit: "requests/s",
	about: "16 connections; 200 bytes there, 1,000 back. " + tcpAbout,
	take:  func(b *bench, r *result) { b.tcp(r, (*tcpLane).requests, 1) },
}

var connectsLine = line{
	id: "tcp-connects", title: "TCP: connections", unit: "connections/s",
	about: "8 at a time: opened, one request and its answer, closed. " + tcpAbout,
	take:  func(b *bench, r *result) { b.tcp(r, (*tcpLane).connects, 1) },
}

var streamLine = line{
	id: "tcp-stream", title: "TCP: one stream", unit: "Gbit/s",
	about: "As many bytes as go through. " + tcpAbout,
	take:  func(b *bench, r *result) { b.tcp(r, (*tcpLane).stream, 8e-9) },
}

// tcp compares rates; scale is from what take counts to the line's unit.
func (b *bench) tcp(r *result, take func(*tcpLane, time.Duration) float64, scale float64) {
	const rules = 1000
	var hosts hosts
	defer hosts.close()
	var all []*tcpLane
	add := func(name string) *tcpLane {
		l := newTCPLane(&hosts, name, len(all))
		all = append(all, l)
		return l
	}
	defer func() {
		for _, l := range all {
			l.close()
		}
	}()
	add(noFilter)
	p := emptyProgram()
	defer p.Close()
	empty := add(emptyTCX)
	var links []link.Link
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		links = append(links, attachTCX(empty.server, inName, p, at))
	}
	defer func() {
		for _, l := range links {
			l.Close()
		}
	}()
	w := add(weirSubject)
	w.agent, _ = startAgent(w.server, agentCPUs(), Opening{Interfaces: []string{inName}, MaxEntries: 1 << 20, Policy: stateful(rules)})
	if b.peers["nft"] {
		l := add(nftConntrack)
		// Both ways pass a hook, as with Weir.
		l.server.command(nftStateful("input", rules), "nft", "-f", "-")
	}
	duration := time.Duration(b.pick(300, 500)) * time.Millisecond
	var samples []func()
	for _, l := range all {
		take(l, duration/4)
		samples = append(samples, func() {
			urgently(func() { l.samples = append(l.samples, take(l, duration)*scale) })
		})
	}
	b.interleave(2*b.rounds(), samples...)
	for _, l := range all {
		s := series{Subject: l.name, Baseline: emptyTCX, Samples: l.samples}
		if l.name == emptyTCX {
			s.Baseline = ""
		}
		if l.agent != nil || l.name == nftConntrack {
			s.Subject = fmt.Sprintf("%s + %s rules", l.name, number(rules))
		}
		r.Series = append(r.Series, s)
	}
}
