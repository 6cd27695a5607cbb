package main

import (
	"time"
)

const lookAbout = "Client and server are in two namespaces, on one processor that they share; Weir is on the server's, in detect mode, its agent on the other processors. It tells of each request, and judges it by a rule about hosts; or has no rule about what is said, and tells of connections only."

var lookRequestsLine = line{
	id: "look-requests", title: "HTTP: requests on connections that stay, looked into", unit: "requests/s",
	about: "16 connections; 200 bytes there, 1,000 back. " + lookAbout,
	take:  func(b *bench, r *result) { b.looks(r, (*tcpLane).requests, 1) },
}

var lookConnectsLine = line{
	id: "look-connects", title: "HTTP: connections, looked into", unit: "connections/s",
	about: "8 at a time: opened, one request and its answer, closed. " + lookAbout,
	take:  func(b *bench, r *result) { b.looks(r, (*tcpLane).connects, 1) },
}

var lookStreamLine = line{
	id: "look-stream", title: "HTTP: one upload, looked into", unit: "Gbit/s",
	about: "The body of one request, of which nothing needs to be seen. " + lookAbout,
	take:  func(b *bench, r *result) { b.looks(r, (*tcpLane).stream, 8e-9) },
}

// The subjects.
const (
	notLooking = weirSubject + ", connections only"
	looking    = weirSubject + ", requests and a rule about hosts"
)

// looks compares rates with and without a look into connections.
func (b *bench) looks(r *result, take func(*tcpLane, time.Duration) float64, scale float64) {
	var hosts hosts
	defer hosts.close()
	var all []*tcpLane
	defer func() {
		for _, l := range all {
			l.close()
		}
	}()
	for _, s := range []struct{ name, policy string }{
		{noFilter, ""},
		{notLooking, "mode: detect\nrules: [{name: web, action: allow, layer4: {tcp: 5001}}]"},
		{looking, "mode: detect\nrules: [{name: web, action: allow, layer7: {http: [www.example.com]}}]"},
	} {
		l := newTCPLane(&hosts, s.name, len(all))
		l.http = true
		all = append(all, l)
		if s.policy != "" {
			l.agent, _ = startAgent(l.server, agentCPUs(), Opening{
				Interfaces: []string{inName}, MaxEntries: 1 << 20, Policy: []byte(s.policy), Look: s.name == looking,
			})
		}
	}
	duration := time.Duration(b.pick(300, 1000)) * time.Millisecond
	var samples []func()
	for _, l := range all {
		take(l, duration/4)
		samples = append(samples, func() {
			urgently(func() { l.samples = append(l.samples, take(l, duration)*scale) })
		})
	}
	before := b.usage(all)
	began := time.Now()
	b.interleave(2*b.rounds(), samples...)
	took := time.Since(began).Seconds() / float64(len(all))
	for i, u := range b.usage(all) {
		l := all[i]
		baseline := noFilter
		if l.name == noFilter {
			baseline = ""
		}
		r.Series = append(r.Series, series{Subject: l.name, Baseline: baseline, Samples: l.samples})
		if l.agent != nil {
			r.fact(l.name+": agent, share of a processor while it was its turn", 100*(u.cpu-before[i].cpu).Seconds()/took, "%")
		}
		if l.name == looking {
			r.fact(l.name+": told", float64(u.exchanges-before[i].exchanges), "requests")
			for _, cause := range []string{"copy_lost", "copy_withheld", "copy_cut"} {
				r.fact(l.name+": "+cause, float64(u.kernel[cause]-before[i].kernel[cause]), "packets")
			}
		}
	}
}

type usage struct {
	cpu       time.Duration
	exchanges uint64
	kernel    map[string]uint64
}

func (b *bench) usage(all []*tcpLane) (list []usage) {
	for _, l := range all {
		var u usage
		if l.agent != nil {
			w := l.agent.watch()
			u = usage{cpuTime(l.agent.cmd.Process.Pid), w.Told.Exchanges, w.Kernel}
		}
		list = append(list, u)
	}
	return list
}
