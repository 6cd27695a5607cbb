package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
)

var floodLine = line{
	id: "flood", title: "A SYN flood beside connections that carry data", unit: "",
	about: "SYNs from made-up sources to an open port, as fast as one core can send them and the host can answer, for bin/weir on another core with 1,000 TCP connections there that send 100 bytes each five times a second. Every connection of the flood must be in the records, told of or counted.",
	take:  func(b *bench, r *result) { b.flood(r) },
}

const floodName = "flood"

func (b *bench) flood(r *result) {
	const connections = 1000
	var all hosts
	defer all.close()
	from := all.add()
	t := newTCPLane(&all, weirSubject, 0)
	t.listener.Close()
	server := t.server
	pair(from, "g", server, floodName)
	server.useNAPI(floodName)
	server.address(floodName, "192.0.2.1/30")
	server.sysctl("net/ipv4/tcp_synack_retries", "0") // each SYN is answered once
	server.sysctl("net/ipv4/tcp_max_syn_backlog", "4096")
	server.netlink(func(n *netlink.Handle) error { return routeBy(n, floodName, "192.0.2.2") })
	dir := temporary()
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "policy.yaml")
	must(os.WriteFile(file, []byte("mode: prevent\nrules: [{name: echo, action: allow, layer4: {tcp: 5001}}]\n"), 0o600), "write a policy")
	records := newCounter(server)
	defer records.close()
	cpus := agentCPUs()[:1]
	c := startCollector(server, cpus, collectorConfig{
		binary: b.weir, dir: dir, policy: file, maxEntries: 1 << 20, endpoint: records.endpoint,
		timeouts: "{tcp: 1h, tcp_closing: 2s}",
	})
	defer c.close()
	echo := startProcess(t.client, cpus)
	defer echo.kill()
	must(echo.client.Call("Echo.Start", Echoing{
		Connections: connections, At: t.at, Interval: 200 * time.Millisecond,
		Server: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), server.file.Fd()),
	}, &struct{}{}), "open connections")
	look := func() (found Echoed) {
		must(echo.client.Call("Echo.Look", struct{}{}, &found), "look at the connections")
		return found
	}
	// Those before are told of first: a second without a flood, as a baseline.
	time.Sleep(time.Second)
	look()
	time.Sleep(time.Duration(b.pick(2, 3)) * time.Second)
	calm := look()

	g := newGenerator(from, "g", 1, true)
	defer g.close()
	syn := opening(address4(0, 0), netip.MustParseAddr("10.9.0.1"), 999, 5001)
	syn.seq = 0
	g.fill(frames([]tuple{syn}))
	cpu, began, sent := cpuTime(c.pid()), time.Now(), 0
	for time.Since(began) < time.Duration(b.pick(5, 10))*time.Second {
		b.goOn()
		g.send(1<<16, false)
		sent += 1 << 16
	}
	took := time.Since(began)
	share := 100 * (cpuTime(c.pid()) - cpu).Seconds() / took.Seconds()
	stressed := look()
	told := records.await(uint64(sent+connections), uint64(sent), patience)
	time.Sleep(time.Second)
	after := look()
	must(echo.client.Call("Echo.Stop", struct{}{}, &struct{}{}), "close the connections")

	r.fact("SYNs", float64(sent)/took.Seconds(), "/s")
	r.fact("SYNs sent", float64(sent), "connections")
	r.fact("connections in the records, less those that carry data", float64(told.Starts)-connections, "connections")
	r.fact("their ends in the records", float64(told.Ends), "connections")
	r.fact("records", float64(told.Records), "")
	r.fact("Collector, share of one core", share, "%")
	r.fact("Collector, most memory", peakMB(c.pid()), "MB")
	r.fact("longest wait for an echo before the flood", calm.Longest.Seconds()*1000, "ms")
	r.fact("longest wait for an echo during the flood", stressed.Longest.Seconds()*1000, "ms")
	r.fact("echoes during the flood", float64(stressed.Echoes), "")
	r.fact("connections cut", float64(after.Broken), "connections")
	if after.Broken > 0 {
		must(fmt.Errorf("%s", after.Error), "keep the connections")
	}
}
