package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd are a thousand connections of every kind that the hold knows.
type crowd struct {
	lab  *lab
	http netip.AddrPort
	// decided, by their port or their ClientHello: what they say passes Weir by.
	decided []chatter
	// busy had a request allowed, and have every other judged. fresh have said nothing.
	busy, fresh []*asker
}

// chatter is a connection to a server that echoes.
type chatter struct {
	raw *net.TCPConn
	net.Conn
}

// asker is a connection to a server of pages.
type asker struct {
	net.Conn
	page   string
	status int // of the response; 0: none came
	err    error
	done   chan struct{} // closed when there is an answer, or none will come
}

const crowdEach = 250

func (l *lab) newCrowd(t *testing.T) *crowd {
	t.Helper()
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.address(l.b, ipv4, 0), port) }
	c := &crowd{lab: l, http: at(8080)}
	l.servePages(t, l.b, c.http)
	l.b.echoTCP(t, at(9090), nil)
	l.b.echoTCP(t, at(8443), &tls.Config{Certificates: []tls.Certificate{newCertificate(t, "ok.example")}})
	c.decided = make([]chatter, 2*crowdEach)
	together(t, len(c.decided), func(i int) error {
		if i%2 == 0 {
			conn, err := l.dial(t, at(9090))
			c.decided[i] = chatter{conn, conn}
			return err
		}
		conn, err := l.dial(t, at(8443))
		if err != nil {
			return err
		}
		secure := tls.Client(conn, &tls.Config{ServerName: "ok.example", InsecureSkipVerify: true})
		c.decided[i] = chatter{conn, secure}
		return secure.Handshake()
	})
	c.busy, c.fresh = make([]*asker, crowdEach), make([]*asker, crowdEach)
	together(t, crowdEach, func(i int) error {
		conn, err := l.dial(t, c.http)
		if err != nil {
			return err
		}
		fmt.Fprint(conn, "GET /ok/first HTTP/1.1\r\nHost: a.example\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		r.Body.Close()
		c.busy[i] = &asker{Conn: conn, page: "/ok/second"}
		if conn, err = l.dial(t, c.http); err != nil {
			return err
		}
		c.fresh[i] = &asker{Conn: conn, page: "/ok/page"}
		if i%2 == 1 {
			c.fresh[i].page = "/no/page"
		}
		return nil
	})
	return c
}

// together does something n times, some at once.
func together(t *testing.T, n int, do func(int) error) {
	t.Helper()
	var next atomic.Int64
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (l *lab) dial(t *testing.T, at netip.AddrPort) (*net.TCPConn, error) {
	d := l.a.dialTCP(at, patience)
	if d.err == nil {
		t.Cleanup(func() { d.conn.Close() })
		d.conn.SetDeadline(time.Now().Add(2 * patience))
	}
	return d.conn, d.err
}

// echoTCP is a server that sends back what comes, in TLS where there is a
// configuration for it.
func (h *host) echoTCP(t *testing.T, at netip.AddrPort, secure *tls.Config) {
	t.Helper()
	var listener net.Listener = h.listenTCP(t, at)
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(struct{ io.Writer }{c}, c)
			}()
		}
	}()
}

// newCertificate is a certificate for a name or an address, and its own authority.
func newCertificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// chat has every connection that is decided say something and hear it, all the while
// until stop is closed; nothing of it may have been lost on the way.
func (c *crowd) chat(t *testing.T, stop chan struct{}) {
	t.Helper()
	resent := func() (all uint32) {
		for i := range c.decided {
			all += infoOf(t, c.decided[i].raw).Total_retrans
		}
		return all
	}
	before, longest := resent(), atomic.Int64{}
	for rounds := 1; ; rounds++ {
		together(t, len(c.decided), func(i int) error {
			d, text := c.decided[i], [4]byte{byte(rounds), byte(i), byte(i >> 8), 0xff}
			began := time.Now()
			_, err := d.Write(text[:])
			var got [4]byte
			if err == nil {
				_, err = io.ReadFull(d, got[:])
			}
			if err != nil || got != text {
				return fmt.Errorf("a connection that is decided: said %x, heard %x: %w", text, got, err)
			}
			for took := int64(time.Since(began)); ; {
				if most := longest.Load(); took <= most || longest.CompareAndSwap(most, took) {
					return nil
				}
			}
		})
		select {
		case <-stop:
			if n := resent() - before; n > 0 {
				t.Errorf("%d packets of connections that are decided were sent again", n)
			}
			t.Logf("%d decided connections had %d round trips each, the longest of %v", len(c.decided), rounds, time.Duration(longest.Load()))
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ask sends a request, and waits for the answer.
func (a *asker) ask() {
	a.done = make(chan struct{})
	go func() {
		defer close(a.done)
		if _, a.err = fmt.Fprintf(a, "GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n", a.page); a.err != nil {
			return
		}
		r, err := http.ReadResponse(bufio.NewReader(a.Conn), nil)
		if a.err = err; err == nil {
			a.status = r.StatusCode
			r.Body.Close()
		}
	}()
}

// answeredWith counts those that have an answer.
func answeredWith(all []*asker, page string) (n int) {
	for _, a := range all {
		select {
		case <-a.done:
			if a.status == http.StatusOK && a.page == page {
				n++
			}
		default:
		}
	}
	return n
}

// isOver says whether all that asked for a page have an answer, or are cut.
func isOver(all []*asker, page string) bool {
	for _, a := range all {
		select {
		case <-a.done:
		default:
			if a.page == page {
				return false
			}
		}
	}
	return true
}

// askNew opens connections while nobody judges, of which each is answered at once as
// on_error says.
func (c *crowd) askNew(t *testing.T, answer string, pages ...string) {
	t.Helper()
	within := map[string]time.Duration{"allow": patience, "block": time.Second}[answer]
	var asking sync.WaitGroup
	for i := range 20 {
		asking.Go(func() {
			page := pages[i%len(pages)]
			began := time.Now()
			status, err := c.lab.a.getPage(c.http, page, within)
			if answer == "allow" && (err != nil || status != 200) || answer == "block" && err == nil {
				t.Errorf("a second after it went down, a request for %s is answered %d, %v, after %v", page, status, err, time.Since(began))
			}
		})
	}
	asking.Wait()
}
