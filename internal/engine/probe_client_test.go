package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// The clients are another process: what this one connects to is Weir's own.

const clientMarker = "WEIR_TEST_CLIENT"

// errand is a connection that a client is to make.
type errand struct {
	ID       int
	From, To netip.Addr
	Name     string
	Min, Max uint16 // versions of TLS
	Size     int    // of the pieces that are written; 0: whole
	Session  bool   // to go on with an earlier session
	QUIC     bool
}

// news is what a client tells of an errand: first from where it goes, then how it went.
type news struct {
	ID    int
	Local netip.AddrPort
	Done  bool
	Error string
}

// runClient makes connections as it is told, until it is told no more.
func runClient() {
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	tell := func(n news) {
		mu.Lock()
		defer mu.Unlock()
		out.Encode(n)
	}
	sessions := tls.NewLRUClientSessionCache(1)
	for in := json.NewDecoder(os.Stdin); ; {
		var e errand
		if in.Decode(&e) != nil {
			os.Exit(0)
		}
		go func() {
			n := news{ID: e.ID, Done: true}
			if err := e.run(sessions, tell); err != nil {
				n.Error = err.Error()
			}
			tell(n)
		}()
	}
}

func (e *errand) run(sessions tls.ClientSessionCache, tell func(news)) error {
	if e.QUIC {
		return e.runQUIC(tell)
	}
	d := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(e.From, 0))}
	c, err := d.Dial("tcp", net.JoinHostPort(e.To.String(), strconv.Itoa(tlsPort)))
	if err != nil {
		return err
	}
	defer c.Close()
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	tell(news{ID: e.ID, Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port())})
	config := &tls.Config{ServerName: e.Name, MinVersion: e.Min, MaxVersion: e.Max, InsecureSkipVerify: true}
	if e.Session {
		config.ClientSessionCache = sessions
	}
	if e.Size == 0 {
		e.Size = 1 << 16
	}
	return echo(&cutting{c, e.Size}, config)
}

// runQUIC does it by QUIC.
func (e *errand) runQUIC(tell func(news)) error {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.From, 0)))
	if err != nil {
		return err
	}
	defer socket.Close()
	local := socket.LocalAddr().(*net.UDPAddr).AddrPort()
	tell(news{ID: e.ID, Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port())})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	t := &quic.Transport{Conn: socket}
	defer t.Close()
	config := &tls.Config{ServerName: e.Name, InsecureSkipVerify: true, NextProtos: []string{"test"}}
	c, err := t.Dial(ctx, net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.To, tlsPort)), config, &quic.Config{HandshakeIdleTimeout: 4 * time.Second})
	if err != nil {
		return err
	}
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	io.WriteString(s, "ping")
	s.Close()
	if said, err := io.ReadAll(s); err != nil || string(said) != "ping" {
		return fmt.Errorf("%q was said: %w", said, err)
	}
	return c.CloseWithError(0, "")
}

// cutting writes in pieces: each a segment.
type cutting struct {
	net.Conn
	size int
}

func (c *cutting) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var one int
		one, err = c.Conn.Write(b[n:min(len(b), n+c.size)])
		n += one
	}
	return n, err
}

// echo shakes hands and has something said again.
func echo(c net.Conn, config *tls.Config) error {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t := tls.Client(c, config)
	if _, err := t.Write([]byte("ping")); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(t, b); err != nil {
		return err
	}
	if string(b) != "ping" {
		return errors.New("something else was said")
	}
	return nil
}

// clients are a process that makes connections.
type clients struct {
	process *exec.Cmd
	in      io.WriteCloser
	ended   sync.WaitGroup

	mu    sync.Mutex
	last  int
	known map[int]chan news
}

func newClients(t testing.TB) *clients {
	t.Helper()
	c := &clients{process: exec.Command("/proc/self/exe"), known: map[int]chan news{}}
	c.process.Env = append(os.Environ(), clientMarker+"=1")
	c.process.Stderr = os.Stderr
	var err error
	if c.in, err = c.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.process.StdoutPipe()
	if err == nil {
		err = c.process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.ended.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n news
			if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
				panic(fmt.Sprintf("a client says %q", lines.Bytes()))
			}
			c.mu.Lock()
			told := c.known[n.ID]
			c.mu.Unlock()
			told <- n
		}
	})
	return c
}

func (c *clients) close() {
	c.in.Close()
	c.ended.Wait()
	c.process.Wait()
}

// trip is a connection under way, from where it goes; Local is not valid where it
// could not be opened.
type trip struct {
	news
	told chan news
}

// begin has a connection made, and waits until it is open.
func (c *clients) begin(t testing.TB, e errand) *trip {
	t.Helper()
	k := &trip{told: make(chan news, 2)}
	c.mu.Lock()
	c.last++
	e.ID = c.last
	c.known[e.ID] = k.told
	c.mu.Unlock()
	if err := json.NewEncoder(c.in).Encode(e); err != nil {
		t.Fatal(err)
	}
	k.news = k.next(t)
	return k
}

func (k *trip) next(t testing.TB) news {
	t.Helper()
	select {
	case n := <-k.told:
		return n
	case <-time.After(30 * time.Second):
		t.Fatal("a client says nothing")
		return news{}
	}
}

// end waits for the end of the connection, and says what went wrong.
func (k *trip) end(t testing.TB) error {
	t.Helper()
	n := k.news
	if !n.Done {
		n = k.next(t)
	}
	if n.Error != "" {
		return errors.New(n.Error)
	}
	return nil
}
