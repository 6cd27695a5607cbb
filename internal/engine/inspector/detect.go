package inspector

import (
	"bytes"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/inspect/http"
	"github.com/weirnet/weir/internal/inspect/ssh"
	"github.com/weirnet/weir/internal/inspect/tls"
	"github.com/weirnet/weir/internal/policy"
)

// match says whether bytes are of a protocol, as the parsers' own types do.
type match uint8

const (
	no match = iota
	yes
	more
)

// detectTCP says what an initiator's first bytes are; more: that may change with
// further bytes. What is least ambiguous is asked first. The bytes of DNS are asked
// for before those SSH servers that read over lines before the banner, and its port,
// where anything counts, last.
func detectTCP(data []byte, port uint16) (app policy.Application, m match) {
	for _, ask := range [...]struct {
		app policy.Application
		is  func() match
	}{
		{policy.AppTLS, func() match { return match(tls.Detect(data)) }},
		{policy.AppHTTP, func() match { return match(http.Detect(data)) }},
		{policy.AppSSH, func() match { return banner(data) }},
		{policy.AppDNS, func() match { return match(dns.DetectStream(data, 0)) }},
		{policy.AppSSH, func() match { return match(ssh.Detect(data)) }},
		{policy.AppDNS, func() match { return match(dns.DetectStream(data, port)) }},
	} {
		switch ask.is() {
		case yes:
			return ask.app, yes
		case more:
			return 0, more
		}
	}
	return policy.AppOther, yes
}

// banner says whether bytes begin as SSH does.
func banner(data []byte) match {
	const prefix = "SSH-"
	n := min(len(data), len(prefix))
	switch {
	case !bytes.Equal(data[:n], []byte(prefix)[:n]):
		return no
	case n < len(prefix):
		return more
	}
	return yes
}

// detect looks which protocol the client's bytes are of; ended: there will be no
// more, so that what was begun is none.
func (i *Inspector) detect(c *conn, data []byte, ended bool) {
	s := c.streams.Stream(client)
	if len(data) > 0 && !s.FromStart() && c.base[client] == 0 {
		i.miss(c)
		return
	}
	app, m := policy.AppOther, yes
	if !ended {
		preamble, leads := preambleOf(data, c.Tuple.DestinationPort)
		if leads == yes {
			i.read(c, newDialogReader(preamble))
			return
		}
		if bytes.HasPrefix(data, []byte("<?xml ")) || bytes.HasPrefix(data, []byte("<stream:")) {
			i.begin(c, policy.AppOther) // XMPP, whose clients send no whole lines
			return
		}
		app, m = detectTCP(data, c.Tuple.DestinationPort)
		if m == more || app == policy.AppOther && leads == more {
			return
		}
	}
	i.begin(c, app)
}

// begin reads a connection's protocol, as far as somebody wants that.
func (i *Inspector) begin(c *conn, app policy.Application) {
	if c.application == 0 && app != policy.AppOther {
		c.application = app
	}
	// Of TLS it is known with the whole ClientHello, which may be malformed.
	if app != policy.AppTLS && app != policy.AppQUIC {
		c.facts.Application = policy.Is(app)
		i.judge(c)
	}
	var r reader
	switch {
	case app == policy.AppOther:
		r = newTextReader(c)
	case !i.wanted(c, app):
	case app == policy.AppHTTP:
		r = i.newHTTPReader()
	case app == policy.AppTLS:
		r = i.newTLSReader(c)
	case app == policy.AppDNS:
		r = i.newDNSReader(c)
	case app == policy.AppSSH:
		r = newSSHReader(c)
	}
	if r == nil {
		i.stop(c)
		return
	}
	i.read(c, r)
}

// isOther ends the look into a connection of no protocol that Weir knows.
func (i *Inspector) isOther(c *conn) {
	c.facts.Application = policy.Is(policy.AppOther)
	i.judge(c)
	i.stop(c)
}

// read begins to read with r.
func (i *Inspector) read(c *conn, r reader) {
	c.phase, c.reader = reading, r
	c.streams.Stream(server).Reoffer()
	if c.deaf {
		r.gap(i, c, server, 0)
	}
}

// wanted says whether anybody wants to know more of a connection than that it speaks
// a protocol.
func (i *Inspector) wanted(c *conn, app policy.Application) bool {
	if i.config.Report.reports(app) || app&policy.AppDNS != 0 && i.version.learns {
		return true
	}
	v := i.walk(c, &c.facts)
	return v.waits()
}

// restart begins anew behind a change of protocol, which lies at an offset of each
// end.
func (i *Inspector) restart(c *conn, at [2]uint64) {
	c.reader.finish(i, c)
	c.phase, c.reader = detecting, nil
	f := &c.facts
	f.Application = policy.Fact[policy.Application]{}
	f.HTTP, f.TLS, f.DNS, f.SSH = policy.HTTPFacts{}, policy.TLSFacts{}, policy.DNSFacts{}, policy.SSHFacts{}
	for end := range 2 {
		c.base[end] += at[end]
		c.streams.Stream(end).Reoffer()
	}
	i.judge(c)
}
