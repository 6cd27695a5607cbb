package policy

import (
	"maps"
	"slices"
	"strings"
)

// application reads what the connection says.
func (r *questionReader) application(q *Question) {
	f := r.facts
	var implied Application
	if h := q.HTTP; h != nil {
		implied |= AppHTTP
		f.HTTP.Host, f.HTTP.Method = known(h.Host), known(h.Method)
		if h.Path != "" {
			f.HTTP.Path = PathFact(h.Path)
		}
		if h.Headers != nil {
			headers := make(map[string][]string, len(h.Headers))
			for name, values := range h.Headers {
				name = strings.ToLower(name)
				headers[name] = append(headers[name], values...)
			}
			f.HTTP.Headers = Is(headers)
		}
		f.HTTP.Version = r.version("http.version", h.Version, "1.0", "1.1", "2")
	}
	if t := q.TLS; t != nil {
		implied |= AppTLS
		f.TLS.ServerName = known(t.ServerName)
		f.TLS.Version = r.version("tls.version", t.Version, "1.0", "1.1", "1.2", "1.3")
		if t.ECH != nil {
			f.TLS.ECH = Is(*t.ECH)
		}
		if c := t.Certificate; c != nil {
			f.TLS.Certificate = Is(CertificateFacts{
				SubjectNames: c.SubjectNames, IssuerNames: c.IssuerNames, IssuerOrganizations: c.IssuerOrganizations,
				AuthoritySHA256: c.AuthoritySHA256, NotBefore: c.NotBefore, NotAfter: c.NotAfter, SelfSigned: c.SelfSigned,
			})
		}
	}
	if d := q.DNS; d != nil {
		implied |= AppDNS
		f.DNS.Name = known(d.Name)
		if d.Type != "" {
			r.dnsType(d.Type)
		}
	}
	if s := q.SSH; s != nil {
		implied |= AppSSH
		f.SSH.PublicKey, f.SSH.Software = known(s.PublicKey), known(s.Software)
	}
	if f.Protocol == protocolUDP && implied&AppTLS != 0 {
		implied = implied&^AppTLS | AppQUIC
	}
	r.agree(q, implied)
}

// agree settles the application protocol by what is said of it and by its name.
func (r *questionReader) agree(q *Question, implied Application) {
	const accepted = "http, tls, quic, dns, ssh, other, tls+dns"
	said := implied
	if q.Application != "" {
		said = 0
		for name := range strings.SplitSeq(q.Application, "+") {
			i := slices.Index(applicationNames, name)
			if i < 0 {
				r.fail("application", quote(q.Application)+" is not an application protocol", accepted)
				return
			}
			said |= 1 << i
		}
	}
	switch {
	case implied&^said != 0:
		r.fail("application", said.text()+" has no facts of "+(implied&^said).text(), "facts of one protocol")
	case said&(said-1) != 0 && said != AppTLS|AppDNS:
		r.fail("application", "a connection does not speak "+said.text(), accepted)
	case said != 0:
		r.facts.Application = Is(said)
	}
}

func (r *questionReader) version(key, text string, versions ...string) Fact[string] {
	if text != "" && !slices.Contains(versions, text) {
		r.fail(key, quote(text)+" is not a version", strings.Join(versions, ", "))
	}
	return known(text)
}

func (r *questionReader) dnsType(text string) {
	n, ok := dnsTypes[strings.ToUpper(text)]
	if !ok {
		n, ok = number(strings.TrimPrefix(strings.ToUpper(text), "TYPE"), 65535)
	}
	if !ok {
		r.fail("dns.type", quote(text)+" is not a type of DNS", "a type such as A, AAAA, TXT or TYPE65")
	}
	r.facts.DNS.Type = Is(n)
}

// states reads which facts cannot exist or cannot be had.
func (r *questionReader) states(q *Question) {
	put := func(key, name string, s State, c Cause) {
		fact, ok := factByName(name)
		switch {
		case !ok:
			r.fail(key, quote(name)+" is not a fact", strings.Join(factNames[:], ", "))
		case !r.facts.put(fact, s, c):
			r.fail(key, name+" is given, too", "a fact that is not given")
		}
	}
	for _, name := range q.Absent {
		put("absent", name, Absent, 0)
	}
	for _, name := range slices.Sorted(maps.Keys(q.Unobtainable)) {
		cause, ok := causeByName(q.Unobtainable[name])
		if !ok {
			r.fail("unobtainable."+name, quote(q.Unobtainable[name])+" is not a cause", strings.Join(onErrorKeys, ", "))
			continue
		}
		put("unobtainable", name, Unobtainable, cause)
	}
}

// put sets the state of a fact that is unknown; false: it is not.
func (f *Facts) put(fact FactSet, s State, c Cause) bool {
	switch fact {
	case WantApplication:
		return putState(&f.Application, s, c)
	case WantHTTPHost:
		return putState(&f.HTTP.Host, s, c)
	case WantHTTPPath:
		return putState(&f.HTTP.Path, s, c)
	case WantHTTPMethod:
		return putState(&f.HTTP.Method, s, c)
	case WantHTTPHeaders:
		return putState(&f.HTTP.Headers, s, c)
	case WantHTTPVersion:
		return putState(&f.HTTP.Version, s, c)
	case WantTLSServerName:
		return putState(&f.TLS.ServerName, s, c)
	case WantTLSVersion:
		return putState(&f.TLS.Version, s, c)
	case WantTLSECH:
		return putState(&f.TLS.ECH, s, c)
	case WantTLSCertificate:
		return putState(&f.TLS.Certificate, s, c)
	case WantDNSName:
		return putState(&f.DNS.Name, s, c)
	case WantDNSType:
		return putState(&f.DNS.Type, s, c)
	case WantSSHPublicKey:
		return putState(&f.SSH.PublicKey, s, c)
	}
	return putState(&f.SSH.Software, s, c)
}

func putState[T any](fact *Fact[T], s State, c Cause) bool {
	if fact.State != Unknown {
		return false
	}
	*fact = Fact[T]{State: s, Cause: c}
	return true
}

// known is a fact of a text; the empty one is unknown.
func known(text string) Fact[string] {
	if text == "" {
		return Fact[string]{}
	}
	return Is(text)
}
