package inspector

import (
	"bytes"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/inspect/http"
	"github.com/weirnet/weir/internal/policy"
)

// Of a connection whose bytes were missed, before its first or on its way, nobody
// knows where in it a message begins: what looks like one may be the body of
// another. So it is judged as one that was not seen, and stays so. For records it is
// picked up again where a packet begins as a message does.

// seal settles by what a connection is judged from now on, whatever is read of it
// later.
func (i *Inspector) seal(c *conn) {
	if c.sealed == nil {
		if c.facts.Application.State == policy.Unobtainable {
			i.counts[lostBy(c.facts.Application.Cause)]++
		}
		sealed := c.facts
		c.sealed = &sealed
	}
}

// miss says that bytes of a connection were not seen that would have told what
// comes behind them.
func (i *Inspector) miss(c *conn) {
	if c.phase == reading {
		c.reader.finish(i, c)
		c.reader = nil
	}
	c.phase = detecting
	c.lose(policy.NotSeen)
	c.recause(&c.facts)
	i.judge(c)
	i.seal(c)
	if c.Own || !i.tells() {
		i.stop(c)
		return
	}
	c.closed, c.deaf = [2]bool{}, false
	c.streams.Stream(client).Reoffer()
	c.streams.Stream(server).Reoffer()
}

// tells says whether there are records of anything.
func (i *Inspector) tells() bool {
	r := &i.config.Report
	return r.HTTP || r.TLS || r.DNS || r.SSH
}

// silent: the client has said nothing, and will not. What the server has said is
// read for records.
func (i *Inspector) silent(c *conn) {
	if c.facts.Application.State == policy.Unknown {
		c.facts.Application = policy.Is(policy.AppOther)
		i.judge(c)
	}
	i.seal(c)
	if !i.tells() {
		i.stop(c)
		return
	}
	c.streams.Stream(server).Reoffer()
}

// pickUp looks whether bytes of a sealed connection begin a message, and returns how
// many are of no use.
func (i *Inspector) pickUp(c *conn, end int, data []byte) (consumed int) {
	app, m := pickUpTCP(end, data, servedPort(c))
	switch {
	case m == more && len(data) < i.config.MaxBytes:
		return 0
	case m != yes:
		if c.offered += len(data); c.offered > i.config.MaxBytes {
			i.stop(c)
		}
		return len(data)
	}
	if at := c.streams.Stream(end).Offset() + 1; c.picked[end] == at {
		return len(data) // that came to nothing
	} else {
		c.picked[end] = at
	}
	c.offered = 0
	for e := range 2 {
		c.base[e] = c.streams.Stream(e).Offset()
	}
	i.begin(c, app)
	c.streams.Stream(client).Reoffer()
	return 0
}

// pickUpTCP says what an end's bytes begin. Other than detectTCP it takes nothing for
// a message that is not well-formed as far as it goes.
func pickUpTCP(end int, data []byte, port uint16) (policy.Application, match) {
	const clientHello, serverHello = 1, 2
	hello := byte(clientHello)
	line := requestLine
	if end == server {
		hello, line = serverHello, statusLine
	}
	result := no
	for _, ask := range [...]struct {
		app policy.Application
		is  match
	}{
		{policy.AppTLS, handshakeRecord(data, hello)},
		{policy.AppHTTP, line(data)},
		{policy.AppSSH, banner(data)},
		{policy.AppDNS, message(data, port)},
	} {
		switch ask.is {
		case yes:
			return ask.app, yes
		case more:
			result = more
		}
	}
	return 0, result
}

// handshakeRecord asks for a record of TLS that begins with a hello.
func handshakeRecord(data []byte, hello byte) match {
	for i, want := range [...]func(byte) bool{
		func(b byte) bool { return b == 22 },
		func(b byte) bool { return b == 3 },
		func(b byte) bool { return b <= 4 },
		func(b byte) bool { return b < 0x49 },
		func(byte) bool { return true },
		func(b byte) bool { return b == hello },
		func(b byte) bool { return b == 0 },
		func(byte) bool { return true },
		func(byte) bool { return true },
		func(b byte) bool { return b == 3 || b == 0x7f },
	} {
		if i == len(data) {
			return more
		}
		if !want(data[i]) {
			return no
		}
	}
	return yes
}

// requestLine asks for a first line of HTTP/1, or the preface of HTTP/2.
func requestLine(data []byte) match {
	const longestMethod = 24
	n := 0
	for n < len(data) && n <= longestMethod && (data[n] >= 'A' && data[n] <= 'Z' || data[n] == '-') {
		n++
	}
	switch {
	case n > longestMethod, n == 0 && len(data) > 0, n < len(data) && data[n] != ' ':
		return no
	case n == len(data):
		return more
	}
	switch m := match(http.Detect(data)); {
	case m != yes:
		return m
	case bytes.HasPrefix(data, []byte("PRI * HTTP/2.0\r\n")):
		return yes
	}
	line, _, ended := bytes.Cut(data, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	switch {
	case !ended:
		return more
	case bytes.HasSuffix(line, []byte(" HTTP/1.1")), bytes.HasSuffix(line, []byte(" HTTP/1.0")):
		return yes
	}
	return no
}

// statusLine asks for the first bytes of a response of HTTP/1.
func statusLine(data []byte) match {
	const form = "HTTP/1.0 000"
	for i := range form {
		switch {
		case i == len(data):
			return more
		case form[i] == '0' && data[i] >= '0' && data[i] <= '9', form[i] == data[i]:
		default:
			return no
		}
	}
	return yes
}

// message asks for one of DNS, on its port.
func message(data []byte, port uint16) match {
	if port != dns.Port && port != dns.PortLLMNR {
		return no
	}
	return match(dns.DetectStream(data, 0))
}
