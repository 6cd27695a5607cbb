package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tcpLane is a client, a server, and what is between them.
type tcpLane struct {
	name           string
	client, server *host
	listener       net.Listener
	at             string
	received       atomic.Int64 // bytes of streams
	agent          *agent
	process        *agent // of the server; nil: it is this one's
	samples        []float64
	http           bool // what is said is HTTP
}

const (
	requestSize = 200
	answerSize  = 1000
	// What a connection's first byte asks for.
	asksAnswers = 'a'
	asksNothing = 's'
)

// The same in HTTP: the first byte is the request's own.
var (
	httpRequest = padded("GET /page HTTP/1.1\r\nHost: www.example.com\r\nX-Padding: ", "\r\n\r\n", requestSize)
	httpAnswer  = padded("HTTP/1.1 200 OK\r\nContent-Length: 800\r\nX-Padding: ", "\r\n\r\n"+strings.Repeat("b", 800), answerSize)
	httpUpload  = []byte("POST /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1000000000000000\r\n\r\n")
)

func padded(head, tail string, size int) []byte {
	return []byte(head + strings.Repeat("a", size-len(head)-len(tail)) + tail)
}

func newTCPLane(all *hosts, name string, number int) *tcpLane {
	l := connectedLane(all, name, number)
	l.server.run(func() {
		var err error
		l.listener, err = net.Listen("tcp4", l.at)
		must(err, "listen")
	})
	go l.serve()
	return l
}

// connectedLane is one where nobody listens yet.
func connectedLane(all *hosts, name string, number int) *tcpLane {
	l := &tcpLane{name: name, client: all.add(), server: all.add()}
	pair(l.client, "out", l.server, inName)
	l.client.address("out", fmt.Sprintf("10.9.%d.2/24", number))
	l.server.address(inName, fmt.Sprintf("10.9.%d.1/24", number))
	l.client.sysctl("net/ipv4/ip_local_port_range", "1024 65535")
	l.client.sysctl("net/ipv4/tcp_tw_reuse", "1")
	l.at = fmt.Sprintf("10.9.%d.1:5001", number)
	return l
}

func (l *tcpLane) close() {
	if l.process != nil {
		l.process.kill()
	} else {
		l.listener.Close()
	}
	if l.agent != nil {
		l.agent.close()
	}
}

func (l *tcpLane) serve() {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buffer := make([]byte, 256<<10)
			if _, err := io.ReadFull(c, buffer[:1]); err != nil {
				return
			}
			answer := make([]byte, answerSize)
			rest := requestSize
			switch buffer[0] {
			case httpRequest[0]:
				copy(answer, httpAnswer)
				rest--
			case asksNothing, httpUpload[0]:
				for {
					n, err := c.Read(buffer)
					l.received.Add(int64(n))
					if err != nil {
						return
					}
				}
			}
			for {
				if _, err := io.ReadFull(c, buffer[:rest]); err != nil {
					return
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
				rest = requestSize
			}
		}()
	}
}

func (l *tcpLane) dial(asks byte) net.Conn {
	var c net.Conn
	var err error
	l.client.run(func() { c, err = net.DialTimeout("tcp4", l.at, 10*time.Second) })
	must(err, "%s: connect", l.name)
	l.begin(c, asks)
	return c
}

// begin says what a connection is for.
func (l *tcpLane) begin(c net.Conn, asks byte) {
	first := []byte{asks}
	switch {
	case l.http && asks == asksAnswers:
		return
	case l.http:
		first = httpUpload
	}
	_, err := c.Write(first)
	must(err, "%s: send", l.name)
}

func (l *tcpLane) ask(c net.Conn, buffer []byte) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	request := buffer[:requestSize]
	if l.http {
		request = httpRequest
	}
	_, err := c.Write(request)
	must(err, "%s: send a request", l.name)
	_, err = io.ReadFull(c, buffer[:answerSize])
	must(err, "%s: receive an answer", l.name)
}

// requests counts requests a second.
func (l *tcpLane) requests(d time.Duration) float64 {
	const connections = 16
	open := make([]net.Conn, connections)
	for i := range open {
		open[i] = l.dial(asksAnswers)
		defer open[i].Close()
	}
	return together(connections, d, func(i int, until time.Time) (n int) {
		buffer := make([]byte, answerSize)
		for ; time.Now().Before(until); n++ {
			l.ask(open[i], buffer)
		}
		return n
	})
}

// connects counts connections a second. Each of those who connect has a thread in
// the client's namespace.
func (l *tcpLane) connects(d time.Duration) float64 {
	return together(8, d, func(_ int, until time.Time) (n int) {
		l.client.run(func() {
			buffer := make([]byte, answerSize)
			for ; time.Now().Before(until); n++ {
				c, err := net.DialTimeout("tcp4", l.at, 10*time.Second)
				must(err, "%s: connect", l.name)
				l.begin(c, asksAnswers)
				l.ask(c, buffer)
				c.Close()
			}
		})
		return n
	})
}

// stream counts bytes a second.
func (l *tcpLane) stream(d time.Duration) float64 {
	c := l.dial(asksNothing)
	defer c.Close()
	before, began := l.came(), time.Now()
	buffer := make([]byte, 256<<10)
	for time.Since(began) < d {
		_, err := c.Write(buffer)
		must(err, "%s: send", l.name)
	}
	return float64(l.came()-before) / time.Since(began).Seconds()
}

// came is how many bytes of streams the server has.
func (l *tcpLane) came() (n int64) {
	if l.process == nil {
		return l.received.Load()
	}
	must(l.process.client.Call("Pages.Received", struct{}{}, &n), "ask the server")
	return n
}

// together runs f so many times at once until d is over, and gives what they
// count, a second. Failures come out in the caller.
func together(times int, d time.Duration, f func(i int, until time.Time) int) float64 {
	var all sync.WaitGroup
	var total atomic.Int64
	failed := make(chan any, times)
	began := time.Now()
	for i := range times {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					failed <- p
				}
			}()
			total.Add(int64(f(i, began.Add(d))))
		})
	}
	all.Wait()
	select {
	case p := <-failed:
		panic(p)
	default:
	}
	return float64(total.Load()) / time.Since(began).Seconds()
}
