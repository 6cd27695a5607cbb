package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serveMail greets, and answers a line with itself. Who sends a request instead is noted.
func (h *host) serveMail(t *testing.T, at netip.AddrPort, note func(string)) {
	t.Helper()
	l := h.listenTCP(t, at)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, "220 mail.example\r\n")
				for lines := bufio.NewScanner(c); lines.Scan(); {
					line := lines.Text()
					if label, is := strings.CutPrefix(line, "GET /no/"); is {
						label, _, _ = strings.Cut(label, " ")
						note(label)
					}
					fmt.Fprintf(c, "250 %s\r\n", line)
				}
			}()
		}
	}()
}

// talkMail listens to the greeting, is silent for a while, and goes on; or sends a
// request.
func talkMail(m *mixed, k *talker) error {
	if err := k.dial(2525); err != nil {
		return err
	}
	expect := func(want string) error {
		k.conn.SetReadDeadline(time.Now().Add(stuck))
		if line, err := k.in.ReadString('\n'); err != nil || line != want {
			return fmt.Errorf("%q where %q should come: %w", line, want, err)
		}
		return nil
	}
	if err := expect("220 mail.example\r\n"); err != nil {
		return err
	}
	k.rest(3 * time.Second)
	if label := m.label(); rand.IntN(3) == 0 {
		return k.forbidden(label, func() error { return k.get("/no/" + label) })
	}
	for i := range 5 {
		if _, err := fmt.Fprintf(k.conn, "EHLO %d\r\n", i); err != nil {
			return err
		}
		if err := expect(fmt.Sprintf("250 EHLO %d\r\n", i)); err != nil {
			return err
		}
	}
	return nil
}

// talkNames asks for names by UDP, of which some are forbidden.
func talkNames(m *mixed, k *talker) error {
	var c *net.UDPConn
	var err error
	m.lab.a.run(func() { c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(m.at(5300))) })
	if err != nil {
		return err
	}
	k.conn, k.port = c, c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	ask := func(name string, within time.Duration) error {
		id := uint16(rand.Uint32())
		query := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}}}
		packed, err := query.Pack()
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(within))
		if _, err := c.Write(packed); err != nil {
			return err
		}
		for b := make([]byte, 1500); ; {
			n, err := c.Read(b)
			if err != nil {
				return err
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) == nil && m.ID == id {
				return nil
			}
		}
	}
	for range 1 + rand.IntN(10) {
		if rand.IntN(4) == 0 {
			f := saying{talker: k, label: m.label()}
			err := ask(f.label+".no.example.", 50*time.Millisecond)
			f.end = time.Now()
			m.mu.Lock()
			m.asked = append(m.asked, f)
			m.mu.Unlock()
			if err == nil && m.strict {
				return fmt.Errorf("%s is forbidden and answered", f.label)
			}
			continue
		}
		name := m.label() + ".ok.example."
		for range 4 { // as whoever uses UDP has to
			if err = ask(name, stuck/4); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("ask for %s four times: %w", name, err)
		}
	}
	return nil
}
