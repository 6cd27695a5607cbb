package inspector

import (
	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/inspect/quic"
	"github.com/weirnet/weir/internal/policy"
)

// datagram takes a UDP datagram, and returns its own action if it has one.
func (i *Inspector) datagram(c *conn, p *Packet) policy.Action {
	if c.phase == detecting {
		i.detectDatagram(c, p)
	}
	switch {
	case c.phase != reading:
	case c.quic != nil:
		c.quic.read(i, c, p)
	default:
		return i.message1(c, p)
	}
	return 0
}

// detectDatagram looks what an initiator speaks. What is none that Weir knows may
// become one: the first datagrams may be meant to be seen by Weir alone.
func (i *Inspector) detectDatagram(c *conn, p *Packet) {
	port := servedPort(c)
	app := policy.AppOther
	switch {
	case p.End == client && quic.Detect(p.Payload):
		app = policy.AppQUIC
	case dns.Detect(p.Payload, port) == dns.Yes:
		app = policy.AppDNS
	}
	if app == policy.AppOther {
		full := c.offered+len(p.Payload)+p.Missing > i.config.MaxBytes
		switch {
		case c.facts.Application.State != policy.Unknown:
		case c.isMissed:
			c.lose(policy.NotSeen) // it may be amid a connection of QUIC
			i.judge(c)
		case p.End == client:
			c.facts.Application = policy.Is(policy.AppOther)
			i.judge(c)
		case full:
			c.lose(policy.Limit)
			i.judge(c)
		}
		if c.offered += len(p.Payload) + p.Missing; full {
			i.stop(c)
		}
		return
	}
	if c.application == 0 {
		c.application = app
	}
	c.facts.Application = policy.Fact[policy.Application]{}
	if app == policy.AppDNS {
		c.facts.Application = policy.Is(app)
		i.judge(c)
	}
	if !i.wanted(c, app) {
		i.stop(c)
		return
	}
	c.phase = reading
	if app == policy.AppQUIC {
		c.quic = i.newQUICReader()
	}
}

// servedPort is the port by which DNS is known: that of the destination, or else the
// source's, where a server's answer came first.
func servedPort(c *conn) uint16 {
	for _, port := range [...]uint16{c.Tuple.DestinationPort, c.Tuple.SourcePort} {
		if port == dns.Port || port == dns.PortMDNS || port == dns.PortLLMNR {
			return port
		}
	}
	return c.Tuple.DestinationPort
}
