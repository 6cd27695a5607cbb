package main

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

// counter takes OTLP over HTTP and adds up the TCP connections that records stand
// for: hosts send some ICMPv6 of their own accord.
type counter struct {
	server   http.Server
	endpoint string

	mu     sync.Mutex
	bodies [][]byte // what is not counted yet: that is done when nothing is sent
	told   Told
	err    error
}

// newCounter listens on a host.
func newCounter(h *host) *counter {
	c := &counter{}
	c.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		c.mu.Lock()
		if err != nil {
			c.err = err
		}
		c.bodies = append(c.bodies, body)
		c.mu.Unlock()
		answer, _ := plogotlp.NewExportResponse().MarshalProto()
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(answer)
	})
	var l net.Listener
	h.run(func() {
		var err error
		l, err = net.Listen("tcp4", "127.0.0.1:0")
		must(err, "listen for OTLP")
	})
	c.endpoint = "http://" + l.Addr().String()
	go c.server.Serve(l)
	return c
}

func (c *counter) close() { c.server.Close() }

// add counts what has come.
func (c *counter) add() Told {
	c.mu.Lock()
	defer c.mu.Unlock()
	must(c.err, "receive OTLP")
	for _, body := range c.bodies {
		request := plogotlp.NewExportRequest()
		must(request.UnmarshalProto(body), "read OTLP")
		for _, resource := range request.Logs().ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, record := range scope.LogRecords().All() {
					if transport, ok := record.Attributes().Get("network.transport"); !ok || transport.Str() != "tcp" {
						continue
					}
					n := uint64(1)
					if v, ok := record.Attributes().Get("weir.connection.count"); ok {
						n = uint64(v.Int())
					}
					c.told.Records++
					switch record.EventName() {
					case "weir.connection.start":
						c.told.Starts += n
					case "weir.connection.end":
						c.told.Ends += n
					}
				}
			}
		}
	}
	c.bodies = nil
	return c.told
}

// patience is how long nothing may come before what is missing counts as lost. A
// pass over the table that ends idle connections fills the ring buffer at most, and
// the next comes after twenty times as long as it took.
const patience = 40 * time.Second

// await counts until all connections were told of, or nothing more comes.
func (c *counter) await(starts, ends uint64, patience time.Duration) Told {
	last, changed := c.add(), time.Now()
	for time.Since(changed) < patience && (last.Starts < starts || last.Ends < ends) {
		time.Sleep(200 * time.Millisecond)
		if now := c.add(); now != last {
			last, changed = now, time.Now()
		}
	}
	return last
}
