package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// talker is a client with a connection of its own.
type talker struct {
	m     *mixed
	kind  string
	begin time.Time
	port  uint16 // its own
	conn  net.Conn
	in    *bufio.Reader
}

// stuck is when what is allowed counts as stuck.
const stuck = 15 * time.Second

func (k *talker) dial(port uint16) error {
	d := k.m.lab.a.dialTCP(k.m.at(port), stuck)
	if d.err != nil {
		return d.err
	}
	k.port = d.source.Port()
	k.conn, k.in = d.conn, bufio.NewReader(d.conn)
	return d.conn.SetDeadline(time.Now().Add(stuck))
}

func (k *talker) close() {
	if k.conn != nil {
		k.conn.Close()
	}
}

// rest is silence of up to that long.
func (k *talker) rest(most time.Duration) { time.Sleep(time.Duration(rand.Int64N(int64(most)))) }

func (k *talker) get(paths ...string) error {
	var b bytes.Buffer
	for _, path := range paths {
		fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n", path)
	}
	k.conn.SetDeadline(time.Now().Add(stuck))
	_, err := k.conn.Write(b.Bytes())
	return err
}

// answered reads the response to a request, which has the path in its body.
func (k *talker) answered(path string) error {
	r, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != path {
		return fmt.Errorf("%s is answered %q: %w", path, body, err)
	}
	return nil
}

// forbidden says something, of which nothing may come, and waits for the end.
func (k *talker) forbidden(label string, say func() error) error {
	f := saying{talker: k, label: label}
	err := say()
	if err == nil {
		k.conn.SetReadDeadline(time.Now().Add(stuck))
		if k.m.strict {
			_, err = io.Copy(io.Discard, k.in)
		} else {
			_, err = k.in.ReadByte() // it may be answered, where the agent was away
		}
	}
	f.end = time.Now()
	k.m.mu.Lock()
	defer k.m.mu.Unlock()
	k.m.asked = append(k.m.asked, f)
	if isTimeout(err) {
		return fmt.Errorf("what is forbidden is neither answered nor cut: %w", err)
	}
	return nil
}

// talkKeepAlive sends requests one after the other, the last one forbidden by turns.
func talkKeepAlive(m *mixed, k *talker) error {
	if err := k.dial(8080); err != nil {
		return err
	}
	for range 1 + rand.IntN(30) {
		path := "/ok/" + m.label()
		if err := k.get(path); err != nil {
			return err
		}
		if err := k.answered(path); err != nil {
			return err
		}
		k.rest(60 * time.Millisecond)
	}
	if rand.IntN(2) == 0 {
		return nil
	}
	label := m.label()
	return k.forbidden(label, func() error { return k.get("/no/" + label) })
}

// talkPipelined sends many at once; those before one that is forbidden are answered.
func talkPipelined(m *mixed, k *talker) error {
	if err := k.dial(8080); err != nil {
		return err
	}
	var paths []string
	for range 1 + rand.IntN(20) {
		paths = append(paths, "/ok/"+m.label())
	}
	answers := func() error {
		for _, path := range paths {
			if err := k.answered(path); err != nil {
				return err
			}
		}
		return nil
	}
	if rand.IntN(2) == 0 {
		if err := k.get(paths...); err != nil {
			return err
		}
		return answers()
	}
	label := m.label()
	var answered error
	err := k.forbidden(label, func() error {
		if err := k.get(append(paths[:len(paths):len(paths)], "/no/"+label, "/ok/after")...); err != nil {
			return err
		}
		answered = answers()
		return nil
	})
	return errors.Join(err, answered)
}

// talkBulk sends megabytes, by a length or in chunks, and gets them back.
func talkBulk(m *mixed, k *talker) error {
	size := int64(1+rand.IntN(20)) << 20
	client := m.lab.a.client()
	client.Timeout = 3 * stuck
	defer client.CloseIdleConnections()
	sent := sha256.New()
	body := io.TeeReader(io.LimitReader(endless(byte(size)), size), sent)
	q, err := http.NewRequest(http.MethodPost, "http://"+m.at(8080).String()+"/ok/bulk", io.NopCloser(body))
	if err != nil {
		return err
	}
	if rand.IntN(2) == 0 {
		q.ContentLength = size
	}
	r, err := client.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	got := sha256.New()
	if n, err := io.Copy(got, r.Body); err != nil || n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		return fmt.Errorf("%d bytes came, other than %d that were sent: %w", n, size, err)
	}
	return nil
}

// echo says something and hears it.
func (k *talker) echo(c net.Conn, size int) error {
	said, heard := content(byte(size), size), make([]byte, size)
	c.SetDeadline(time.Now().Add(stuck))
	go c.Write(said)
	if _, err := io.ReadFull(c, heard); err != nil {
		return err
	}
	if !bytes.Equal(said, heard) {
		return errors.New("the echo has other bytes")
	}
	return nil
}

// talkTLS shakes hands by a name that is allowed, and talks on; or by another.
func talkTLS(m *mixed, k *talker) error {
	if err := k.dial(8443); err != nil {
		return err
	}
	shake := func(name string) (*tls.Conn, error) {
		c := tls.Client(k.conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		return c, c.Handshake()
	}
	if rand.IntN(3) == 0 {
		label := m.label()
		return k.forbidden(label, func() error {
			_, err := shake(label + ".no.example")
			return err
		})
	}
	c, err := shake("ok.example")
	for range 1 + rand.IntN(20) {
		if err != nil {
			return err
		}
		err = k.echo(c, 1+rand.IntN(20_000))
		k.rest(100 * time.Millisecond)
	}
	return err
}

// talkOpen is decided by its port: it says something now and then, for seconds.
func talkOpen(m *mixed, k *talker) error {
	if err := k.dial(9090); err != nil {
		return err
	}
	for range 1 + rand.IntN(100) {
		if m.isOver() {
			return nil
		}
		if err := k.echo(k.conn, 1+rand.IntN(50_000)); err != nil {
			return err
		}
		k.rest(200 * time.Millisecond)
	}
	return nil
}
