package policy

import (
	"slices"
	"strings"
)

// match judges the alternatives, and the domains besides.
func (l *Layer7) match(f *Facts) truth {
	t := yes
	if l.HTTP != nil || l.TLS != nil || l.DNS != nil || l.SSH != nil {
		t = no
		if l.HTTP != nil {
			t = t.or(l.HTTP.match(f))
		}
		if l.TLS != nil {
			t = t.or(l.TLS.match(f))
		}
		if l.DNS != nil {
			t = t.or(l.DNS.match(f))
		}
		if l.SSH != nil {
			t = t.or(l.SSH.match(f))
		}
	}
	if l.Domains != nil && t.can != isFalse {
		t = t.and(matchDomains(l.Domains, f))
	}
	return t
}

// speaks says whether the connection speaks one of the protocols. They run on
// TCP, and some on UDP too; elsewhere the protocol is absent.
func (f *Facts) speaks(apps Application) truth {
	switch {
	case f.Protocol == protocolTCP:
		apps &^= AppQUIC
	case f.Protocol == protocolUDP:
		// DTLS is not TLS to Weir; over UDP it is QUIC that makes the handshake.
		apps &^= AppHTTP | AppSSH
	default:
		return no
	}
	if apps == 0 {
		return no
	}
	return ask(f.Application, WantApplication, func(a Application) bool { return a&apps != 0 })
}

// matchDomains asks what the connection itself says: the HTTP host, the server
// name, the question. Only where it cannot say anything does the name count that
// DNS answered its address for.
func matchDomains(set *NameSet, f *Facts) truth {
	name, want, says := f.saidName()
	switch says.can {
	case isTrue:
		return ask(name, want, set.Match)
	case isFalse:
		return truthOf(set.MatchAny(f.Names))
	}
	return says
}

// saidName is the name that the connection says, and whether it says one at all.
func (f *Facts) saidName() (name Fact[string], want FactSet, says truth) {
	// The name that is told first in this list counts, since DNS over TLS has two.
	said := [...]struct {
		apps Application
		name Fact[string]
		want FactSet
	}{
		{AppHTTP, f.HTTP.Host, WantHTTPHost},
		{AppTLS | AppQUIC, f.TLS.ServerName, WantTLSServerName},
		{AppDNS, f.DNS.Name, WantDNSName},
	}
	for _, s := range said {
		switch speaks := f.speaks(s.apps); {
		case speaks.can == isTrue && s.name.State == Absent, speaks.can == isFalse:
		default:
			return s.name, s.want, speaks
		}
	}
	return name, 0, no
}

func (h *HTTP) match(f *Facts) truth {
	speaks := f.speaks(AppHTTP)
	t := speaks
	if h.Hosts != nil {
		t = t.and(askOf(speaks, f.HTTP.Host, WantHTTPHost, h.Hosts.Match))
	}
	if h.Paths != nil {
		t = t.and(askOf(speaks, f.HTTP.Path, WantHTTPPath, h.Paths.Match))
	}
	if len(h.Methods) > 0 {
		t = t.and(askOf(speaks, f.HTTP.Method, WantHTTPMethod, func(m string) bool { return contains(h.Methods, strings.ToUpper(m)) }))
	}
	for i := range h.Headers {
		header := &h.Headers[i]
		t = t.and(askOf(speaks, f.HTTP.Headers, WantHTTPHeaders, func(all map[string][]string) bool {
			return header.Values.MatchAny(all[header.Name])
		}))
	}
	if len(h.Versions) > 0 {
		t = t.and(askOf(speaks, f.HTTP.Version, WantHTTPVersion, func(v string) bool { return contains(h.Versions, v) }))
	}
	return t
}

func (c *TLS) match(f *Facts) truth {
	speaks := f.speaks(AppTLS | AppQUIC)
	t := speaks
	if c.ServerNames != nil {
		t = t.and(askOf(speaks, f.TLS.ServerName, WantTLSServerName, c.ServerNames.Match))
	}
	if len(c.Versions) > 0 {
		t = t.and(askOf(speaks, f.TLS.Version, WantTLSVersion, func(v string) bool { return contains(c.Versions, v) }))
	}
	if c.ECH != nil {
		t = t.and(askOf(speaks, f.TLS.ECH, WantTLSECH, func(ech bool) bool { return ech == *c.ECH }))
	}
	if c.Certificate != nil {
		t = t.and(askOf(speaks, f.TLS.Certificate, WantTLSCertificate, func(v CertificateFacts) bool { return c.Certificate.match(&v, f) }))
	}
	return t
}

func (c *Certificate) match(v *CertificateFacts, f *Facts) bool {
	expired := f.Now.Before(v.NotBefore) || f.Now.After(v.NotAfter)
	return (c.SubjectNames == nil || c.SubjectNames.MatchAny(v.SubjectNames)) &&
		(c.IssuerNames == nil || c.IssuerNames.MatchAny(v.IssuerNames)) &&
		(c.IssuerOrganizations == nil || c.IssuerOrganizations.MatchAny(v.IssuerOrganizations)) &&
		(len(c.AuthoritySHA256) == 0 || slices.ContainsFunc(v.AuthoritySHA256, func(s string) bool { return contains(c.AuthoritySHA256, s) })) &&
		(c.Expired == nil || *c.Expired == expired) &&
		(c.ExpiresWithin == 0 || f.Now.Add(c.ExpiresWithin).After(v.NotAfter)) &&
		(c.SelfSigned == nil || *c.SelfSigned == v.SelfSigned)
}

func (d *DNS) match(f *Facts) truth {
	speaks := f.speaks(AppDNS)
	t := speaks
	if len(d.Transports) > 0 {
		t = t.and(d.matchTransport(f))
	}
	// What is asked over TLS or QUIC is hidden for good (DESIGN section 2).
	hidden := f.Application.State == Known && f.Application.Value&(AppTLS|AppQUIC) != 0
	if hidden && (d.Names != nil || len(d.Types) > 0) {
		return no
	}
	if d.Names != nil {
		t = t.and(askOf(speaks, f.DNS.Name, WantDNSName, d.Names.Match))
	}
	if len(d.Types) > 0 {
		t = t.and(askOf(speaks, f.DNS.Type, WantDNSType, func(n uint16) bool { return slices.Contains(d.Types, n) }))
	}
	return t
}

// matchTransport: over UDP the packet tells, over TCP the protocol must say
// whether TLS is around the queries.
func (d *DNS) matchTransport(f *Facts) truth {
	if f.Protocol == protocolUDP {
		return truthOf(contains(d.Transports, "udp"))
	}
	plain, tls := contains(d.Transports, "tcp"), contains(d.Transports, "tls")
	if plain == tls {
		return truthOf(plain)
	}
	return ask(f.Application, WantApplication, func(a Application) bool { return (a&AppTLS != 0) == tls })
}

func (s *SSH) match(f *Facts) truth {
	speaks := f.speaks(AppSSH)
	t := speaks
	if len(s.PublicKeys) > 0 {
		t = t.and(askOf(speaks, f.SSH.PublicKey, WantSSHPublicKey, func(k string) bool { return contains(s.PublicKeys, k) }))
	}
	if s.Software != nil {
		t = t.and(askOf(speaks, f.SSH.Software, WantSSHSoftware, s.Software.Match))
	}
	return t
}
