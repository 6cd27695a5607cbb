package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

var eventsLine = line{
	id: "events", title: "Connections judged and reported to OTLP", unit: "connections/s",
	about: "bin/weir on one core, which exports by OTLP over HTTP; on another one connections are opened at a steady rate, are judged, and those records are received and added up, in which every connection must be. All events are on, those about what is said, too: the third frame of an answered connection carries data, which is looked at. Opened and never answered, connections beyond some 30,000 a second share records that say how many they stand for. Answered ones have a record each for their start and their end. All end by a timeout of a second; queue_size is 400,000, since those that time out do so at once.",
	take: func(b *bench, r *result) {
		rates := []int{25_000, 50_000, 100_000, 200_000}
		if b.full {
			rates = []int{25_000, 50_000, 100_000, 150_000, 200_000, 300_000}
		}
		for _, answered := range []bool{false, true} {
			name := map[bool]string{false: "never answered", true: "answered"}[answered]
			most := 0
			for _, rate := range rates {
				b.goOn()
				if !b.events(r, name, rate, answered) {
					break
				}
				most = rate
			}
			r.fact(name+": highest rate at which none was lost", float64(most), "connections/s")
		}
	},
}

// eventsQueue is the queue_size. Connections that time out do so once a second, all
// at once: with the default of 65,536, ends are dropped from some 50,000 a second on.
const eventsQueue = 400_000

// events says whether all connections were told of.
func (b *bench) events(r *result, name string, rate int, answered bool) bool {
	seconds := b.pick(3, 5)
	s := b.newLanes()
	defer s.close()
	size, each := 16, 1
	total := rate * seconds
	var all []tuple
	if answered {
		// Those that are answered come in order, and each once.
		each = 3
		total = min(total, 1<<20)
		size = each * total
		for _, t := range someTuples(total) {
			all = append(all, t.handshake()...)
		}
	} else {
		for i := range size {
			t := opening(address4(0, 0), address4(172, 16<<16|uint32(i)), uint16(5000+i), 443)
			t.seq = 0
			all = append(all, t)
		}
	}
	l := s.add(name, size, !answered)
	l.generator.fill(frames(all))
	dir := temporary()
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "policy.yaml")
	must(os.WriteFile(file, stateful(1000), 0o600), "write a policy")
	records := newCounter(l.host)
	defer records.close()
	c := startCollector(l.host, agentCPUs()[:1], collectorConfig{
		binary: b.weir, dir: dir, policy: file, maxEntries: 1 << 21, endpoint: records.endpoint, queue: eventsQueue,
		timeouts: "{tcp: 1s, tcp_closing: 1s}",
	})
	defer c.close()
	time.Sleep(1500 * time.Millisecond) // until the policy's record is out
	cpu := cpuTime(c.pid())
	arrived := l.received()
	sent, late := pace(l, rate*each, total*each)
	took := cpuTime(c.pid()) - cpu
	arrived = l.received() - arrived
	if answered && arrived != uint64(sent) {
		must(errFewReceived, "%d of %d arrived", arrived, sent)
	}
	opened := arrived / uint64(each)
	told := records.await(opened, opened, patience)
	label := fmt.Sprintf("%s, %s/s: ", name, number(float64(rate)))
	r.fact(label+"opened", float64(opened), "connections")
	r.fact(label+"starts told", float64(told.Starts), "connections")
	r.fact(label+"ends told", float64(told.Ends), "connections")
	r.fact(label+"sent later than the rate asks", late.Seconds(), "s")
	r.fact(label+"records", float64(told.Records), "")
	r.fact(label+"Collector, share of its core while connections were opened", 100*took.Seconds()/(float64(sent)/float64(rate*each)+late.Seconds()), "%")
	r.fact(label+"Collector, most memory", peakMB(c.pid()), "MB")
	return told.Starts == opened && told.Ends == opened && late.Seconds() < 0.1*float64(seconds)
}

// pace sends total frames at a steady rate; late is how much longer it took.
func pace(l *lane, rate, total int) (sent int, late time.Duration) {
	const tick = 50 * time.Millisecond
	began := time.Now()
	for sent < total {
		due := min(total, int(time.Since(began).Seconds()*float64(rate))+rate/20)
		if due > sent {
			l.generator.send(due-sent, false)
			sent = due
		}
		time.Sleep(time.Until(began.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second))).Add(-tick)))
	}
	return sent, time.Since(began) - time.Duration(float64(total)/float64(rate)*float64(time.Second))
}
