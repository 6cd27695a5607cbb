package policy

import "time"

// Layer7 are the criteria of layer7. HTTP, TLS, DNS and SSH are alternatives,
// since a connection speaks one protocol; Domains must hold besides.
type Layer7 struct {
	Domains *NameSet
	HTTP    *HTTP
	TLS     *TLS
	DNS     *DNS
	SSH     *SSH
}

// HTTP are criteria over one request; unset ones match anything, and all must
// hold. The same is true of the other protocols.
type HTTP struct {
	Hosts *NameSet
	Paths *PathSet
	// Methods are in upper case; requests are compared so, too.
	Methods []string
	Headers []Header
	// Versions are "1.0", "1.1" and "2".
	Versions []string
}

// Header asks for a header with one of these values.
type Header struct {
	// Name is in lower case.
	Name   string
	Values *TextSet
}

// TLS are criteria over a TLS or QUIC handshake.
type TLS struct {
	// ServerNames are compared with the outer server name.
	ServerNames *NameSet
	// Versions are "1.0" to "1.3", as negotiated.
	Versions []string
	ECH      *bool
	// Certificate is nil without criteria over it.
	Certificate *Certificate
}

// Certificate are criteria over the chain that the server sent.
type Certificate struct {
	SubjectNames        *NameSet
	IssuerNames         *TextSet
	IssuerOrganizations *TextSet
	// AuthoritySHA256 are fingerprints in lower-case hex.
	AuthoritySHA256 []string
	Expired         *bool
	// ExpiresWithin is 0 when not asked for.
	ExpiresWithin time.Duration
	SelfSigned    *bool
}

// DNS are criteria over one query.
type DNS struct {
	Names *NameSet
	Types []uint16
	// Transports are "udp", "tcp" and "tls"; empty means any.
	Transports []string
}

// SSH are criteria over an SSH handshake.
type SSH struct {
	// PublicKeys are fingerprints as "SHA256:" and unpadded base64.
	PublicKeys []string
	// Software is what the server calls itself.
	Software *TextSet
}

// protocols are the IP protocols that the alternatives can run on; nil when
// there are none and nothing is implied.
func (l *Layer7) protocols() []uint8 {
	if l == nil {
		return nil
	}
	var tcp, udp bool
	if l.HTTP != nil || l.SSH != nil {
		tcp = true
	}
	if l.TLS != nil {
		tcp, udp = true, true
	}
	if l.DNS != nil {
		t := l.DNS.Transports
		udp = udp || len(t) == 0 || contains(t, "udp")
		tcp = tcp || len(t) == 0 || contains(t, "tcp") || contains(t, "tls")
	}
	var protocols []uint8
	if tcp {
		protocols = append(protocols, protocolTCP)
	}
	if udp {
		protocols = append(protocols, protocolUDP)
	}
	return protocols
}

// NeedsFacts says whether the rule has criteria that the packet's own addresses,
// ports and protocol do not answer.
func (r *Rule) NeedsFacts() bool { return r.Layer7 != nil || r.DestinationNames != nil }

// NeedsFacts says whether any rule does.
func (p *Policy) NeedsFacts() bool {
	for i := range p.Rules {
		if p.Rules[i].NeedsFacts() {
			return true
		}
	}
	return false
}

// Capabilities are what the rule needs beyond packets, sorted: "certificates",
// "dns", "domains", "http", "names", "ssh", "ssh_keys", "tls". "names" is the table of
// what DNS answered, "ssh_keys" what sshd says of logins. Domains come with the four
// that can tell them.
func (r *Rule) Capabilities() []string {
	need := map[string]bool{"names": r.DestinationNames != nil}
	if l := r.Layer7; l != nil {
		domains := l.Domains != nil
		need["domains"] = domains
		need["names"] = need["names"] || domains
		need["http"] = l.HTTP != nil || domains
		need["tls"] = l.TLS != nil || domains
		need["dns"] = l.DNS != nil || domains
		need["ssh"] = l.SSH != nil
		need["ssh_keys"] = l.SSH != nil && len(l.SSH.PublicKeys) > 0
		need["certificates"] = l.TLS != nil && l.TLS.Certificate != nil
	}
	return sortedTrue(need)
}

// Capabilities are what the rules need beyond packets; see Rule.Capabilities.
func (p *Policy) Capabilities() []string {
	need := map[string]bool{}
	for i := range p.Rules {
		for _, c := range p.Rules[i].Capabilities() {
			need[c] = true
		}
	}
	return sortedTrue(need)
}

// RulesNeeding are the names of the rules that need a capability, in their
// order.
func (p *Policy) RulesNeeding(capability string) []string {
	var names []string
	for i := range p.Rules {
		if contains(p.Rules[i].Capabilities(), capability) {
			names = append(names, p.Rules[i].Name)
		}
	}
	return names
}

// HeaderNames are the HTTP headers that rules ask for, sorted, in lower case.
func (p *Policy) HeaderNames() []string {
	need := map[string]bool{}
	for i := range p.Rules {
		if l := p.Rules[i].Layer7; l != nil && l.HTTP != nil {
			for _, h := range l.HTTP.Headers {
				need[h.Name] = true
			}
		}
	}
	return sortedTrue(need)
}
