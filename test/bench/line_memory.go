package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

var memoryLine = line{
	id: "memory", title: "Memory at a million live connections", unit: "MB",
	about: "A million connections that both ends take part in are in the table of bin/weir (1,500,000 entries). What its process has resident, the Collector it is part of included, and what the kernel charges for its tables.",
	take: func(b *bench, r *result) {
		s := b.newLanes()
		defer s.close()
		dir := temporary()
		defer os.RemoveAll(dir)
		// The generator has room for a chunk's handshakes.
		l, connections := s.add(weirSubject, 3*chunk, false), someTuples(million)
		file := filepath.Join(dir, "policy.yaml")
		must(os.WriteFile(file, stateful(1000), 0o600), "write a policy")
		c := startCollector(l.host, agentCPUs(), collectorConfig{
			binary: b.weir, dir: dir, policy: file, maxEntries: liveEntries,
		})
		defer c.close()
		time.Sleep(2 * time.Second)
		r.fact("Collector before", residentMB(c.pid()), "MB")
		r.fact("kernel tables before", mapsMB(c.pid()), "MB")
		l.openMillion(b, connections)
		time.Sleep(5 * time.Second) // until the events are out
		p := ingressOf(l.host, inName)
		defer p.Close()
		flows := mapOf(p, "flows")
		defer flows.Close()
		live := count(flows)
		if live < million {
			must(fmt.Errorf("%d connections are live", live), "open a million")
		}
		r.fact("live connections", float64(live), "connections")
		r.fact("Collector", residentMB(c.pid()), "MB")
		r.fact("Collector, at most", peakMB(c.pid()), "MB")
		r.fact("kernel tables", mapsMB(c.pid()), "MB")
		cpu := cpuTime(c.pid())
		time.Sleep(10 * time.Second)
		r.fact("Collector, share of one core while nothing happens", 10*(cpuTime(c.pid())-cpu).Seconds(), "%")
	},
}

const (
	million     = 1_000_000
	liveEntries = 1_500_000
	chunk       = 1 << 16 // connections that are opened at once
)

// openMillion opens them chunk by chunk, each settled before the next.
func (l *lane) openMillion(b *bench, connections []tuple) {
	for from := 0; from < len(connections); from += chunk {
		b.goOn()
		var all []tuple
		for _, t := range connections[from:min(from+chunk, len(connections))] {
			all = append(all, t.handshake()...)
		}
		l.generator.fill(frames(all))
		l.generator.send(len(all), false) // a whole table but for the last time
	}
}
