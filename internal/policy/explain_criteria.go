package policy

import (
	"slices"
	"time"
)

// criteria judges each criterion of the rule by itself: by a rule that has only
// this one, so that there is no second evaluator.
func (r *Rule) criteria(f *Facts) []Criterion {
	j := criteriaJudge{facts: f}
	if r.Never {
		j.criteria = append(j.criteria, Criterion{Key: "rule", Outcome: Differs, Found: "it can never match"})
	}
	if !r.Expires.IsZero() {
		j.judge("expires", &Rule{Direction: AnyDirection, Expires: r.Expires}, f.Now.UTC().Format(time.RFC3339))
	}
	if r.Direction != AnyDirection {
		j.judge("direction", &Rule{Direction: r.Direction}, f.Direction.String())
	}
	if r.Special != NoSpecial {
		j.judge("safeguard", &Rule{Direction: AnyDirection, Special: r.Special}, r.Special.lacking())
	}
	if len(r.Transports) > 0 {
		j.transports(r)
	}
	if len(r.OtherProtocols) > 0 {
		j.judge("layer3.other_protocols", &Rule{Direction: AnyDirection, OtherProtocols: r.OtherProtocols}, f.protocolText())
	}
	if !r.Source.IsAny() {
		j.judge("layer3.source", &Rule{Direction: AnyDirection, Source: r.Source}, f.Source.String())
	}
	if !r.Destination.IsAny() {
		j.judge("layer3.destination", &Rule{Direction: AnyDirection, Destination: r.Destination}, f.Destination.String())
	}
	if r.DestinationNames != nil {
		j.judge("layer3.destination_names", &Rule{Direction: AnyDirection, DestinationNames: r.DestinationNames}, f.namesText())
	}
	if r.Layer7 != nil {
		j.layer7(r.Layer7)
	}
	return j.criteria
}

// criteriaJudge collects criteria.
type criteriaJudge struct {
	facts    *Facts
	criteria []Criterion
}

// judge adds the criterion that is all r has.
func (j *criteriaJudge) judge(key string, r *Rule, found string) Outcome {
	t := r.match(j.facts)
	c := Criterion{Key: key, Outcome: outcomeOf(t), Found: found}
	switch c.Outcome {
	case Waits:
		c.Wanted, c.Found = t.wants, ""
	case Lacks:
		c.Cause, c.Found = t.causes.only(), ""
	case Differs:
		// Of a fact that cannot exist here nothing is found but what is instead.
		if c.Found == "" {
			c.Found = j.facts.spokenText()
		}
	}
	j.criteria = append(j.criteria, c)
	return c.Outcome
}

// transports judges the protocol and then what is asked of it.
func (j *criteriaJudge) transports(r *Rule) {
	bare := Rule{Direction: AnyDirection}
	for _, t := range r.Transports {
		bare.Transports = append(bare.Transports, Transport{Protocol: t.Protocol})
	}
	if bare.match(j.facts).can == isFalse {
		// Where layer7 implies the transports, it says so itself.
		if implied := r.Layer7.protocols(); implied == nil || slices.Contains(implied, j.facts.Protocol) {
			j.judge("layer4", &bare, j.facts.protocolText())
		}
		return
	}
	name := "layer4." + transportName(j.facts.Protocol)
	source, destination := name+".source_ports", name+".destination_ports"
	if j.facts.isICMP() {
		source, destination = name+".types", name+".codes"
	}
	before := len(j.criteria)
	for _, part := range []struct {
		key   string
		strip func(t Transport) (Transport, bool)
		found string
	}{
		{source, func(t Transport) (Transport, bool) {
			return Transport{Protocol: t.Protocol, Source: t.Source}, len(t.Source) > 0
		}, j.facts.sourceText()},
		{destination, func(t Transport) (Transport, bool) {
			return Transport{Protocol: t.Protocol, Destination: t.Destination}, len(t.Destination) > 0
		}, j.facts.destinationText()},
		{name + ".duration", func(t Transport) (Transport, bool) {
			return Transport{Protocol: t.Protocol, Over: t.Over}, t.Over > 0
		}, j.facts.Age.String()},
	} {
		alone, asked := Rule{Direction: AnyDirection}, false
		for _, t := range r.Transports {
			if t.Protocol != j.facts.Protocol {
				continue
			}
			stripped, has := part.strip(t)
			alone.Transports = append(alone.Transports, stripped)
			asked = asked || has
		}
		if asked {
			j.judge(part.key, &alone, part.found)
		}
	}
	whole := Rule{Direction: AnyDirection, Transports: r.Transports}
	differs := slices.ContainsFunc(j.criteria[before:], func(c Criterion) bool { return c.Outcome == Differs })
	if len(j.criteria) == before || whole.match(j.facts).can == isFalse && !differs {
		// No criterion but the protocol, or two alternatives that match half each.
		j.judge(name, &whole, j.facts.protocolText())
	}
}

// layer7 judges the criteria of each alternative, where the connection may speak
// its protocol.
func (j *criteriaJudge) layer7(l *Layer7) {
	if l.Domains != nil {
		j.only("domains", &Layer7{Domains: l.Domains}, j.facts.domainText())
	}
	if h := l.HTTP; h != nil && j.speaks("http", &Layer7{HTTP: &HTTP{}}) {
		j.http(h)
	}
	if t := l.TLS; t != nil && j.speaks("tls", &Layer7{TLS: &TLS{}}) {
		j.tls(t)
	}
	if d := l.DNS; d != nil && j.speaks("dns", &Layer7{DNS: &DNS{}}) {
		j.dns(d)
	}
	if s := l.SSH; s != nil && j.speaks("ssh", &Layer7{SSH: &SSH{}}) {
		if len(s.PublicKeys) > 0 {
			j.only("ssh.public_keys", &Layer7{SSH: &SSH{PublicKeys: s.PublicKeys}}, text(j.facts.SSH.PublicKey))
		}
		if s.Software != nil {
			j.only("ssh.software", &Layer7{SSH: &SSH{Software: s.Software}}, text(j.facts.SSH.Software))
		}
	}
}

func (j *criteriaJudge) only(key string, l *Layer7, found string) Outcome {
	return j.judge("layer7."+key, &Rule{Direction: AnyDirection, Layer7: l}, found)
}

// speaks judges the protocol; false means that no more needs to be asked.
func (j *criteriaJudge) speaks(key string, l *Layer7) bool {
	return j.only(key, l, j.facts.spokenText()) != Differs
}

func (j *criteriaJudge) http(h *HTTP) {
	f := &j.facts.HTTP
	if h.Hosts != nil {
		j.only("http.hosts", &Layer7{HTTP: &HTTP{Hosts: h.Hosts}}, text(f.Host))
	}
	if h.Paths != nil {
		j.only("http.paths", &Layer7{HTTP: &HTTP{Paths: h.Paths}}, text(f.Path))
	}
	if len(h.Methods) > 0 {
		j.only("http.methods", &Layer7{HTTP: &HTTP{Methods: h.Methods}}, text(f.Method))
	}
	for i := range h.Headers {
		name := h.Headers[i].Name
		j.only("http.headers."+name, &Layer7{HTTP: &HTTP{Headers: h.Headers[i : i+1]}}, headerText(f.Headers, name))
	}
	if len(h.Versions) > 0 {
		j.only("http.versions", &Layer7{HTTP: &HTTP{Versions: h.Versions}}, text(f.Version))
	}
}

func (j *criteriaJudge) tls(t *TLS) {
	f := &j.facts.TLS
	if t.ServerNames != nil {
		j.only("tls.server_names", &Layer7{TLS: &TLS{ServerNames: t.ServerNames}}, text(f.ServerName))
	}
	if len(t.Versions) > 0 {
		j.only("tls.versions", &Layer7{TLS: &TLS{Versions: t.Versions}}, text(f.Version))
	}
	if t.ECH != nil {
		j.only("tls.ech", &Layer7{TLS: &TLS{ECH: t.ECH}}, text(f.ECH))
	}
	if t.Certificate != nil {
		for _, part := range t.Certificate.parts() {
			j.only("tls.certificate."+part.key, &Layer7{TLS: &TLS{Certificate: &part.only}}, certificateText(f.Certificate, part.key))
		}
	}
}

// certificatePart is a certificate's criterion, alone.
type certificatePart struct {
	key  string
	only Certificate
}

func (c *Certificate) parts() []certificatePart {
	var parts []certificatePart
	add := func(has bool, key string, only Certificate) {
		if has {
			parts = append(parts, certificatePart{key, only})
		}
	}
	add(c.SubjectNames != nil, "subject_names", Certificate{SubjectNames: c.SubjectNames})
	add(c.IssuerNames != nil, "issuer_names", Certificate{IssuerNames: c.IssuerNames})
	add(c.IssuerOrganizations != nil, "issuer_organizations", Certificate{IssuerOrganizations: c.IssuerOrganizations})
	add(len(c.AuthoritySHA256) > 0, "authority_sha256", Certificate{AuthoritySHA256: c.AuthoritySHA256})
	add(c.Expired != nil, "expired", Certificate{Expired: c.Expired})
	add(c.ExpiresWithin > 0, "expires_within", Certificate{ExpiresWithin: c.ExpiresWithin})
	add(c.SelfSigned != nil, "self_signed", Certificate{SelfSigned: c.SelfSigned})
	return parts
}

func (j *criteriaJudge) dns(d *DNS) {
	f := &j.facts.DNS
	if d.Names != nil {
		j.only("dns.names", &Layer7{DNS: &DNS{Names: d.Names}}, text(f.Name))
	}
	if len(d.Types) > 0 {
		found := text(f.Type)
		if f.Type.State == Known {
			found = DNSTypeName(f.Type.Value)
		}
		j.only("dns.types", &Layer7{DNS: &DNS{Types: d.Types}}, found)
	}
	if len(d.Transports) > 0 {
		j.only("dns.transports", &Layer7{DNS: &DNS{Transports: d.Transports}}, j.facts.protocolText())
	}
}
