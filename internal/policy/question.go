package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Question is a connection as people describe it, to ask a policy about. What is
// not said of its protocol is unknown, and the walk says whether it matters; what
// the packet has must be said where a rule asks for it. Its JSON is that of the
// API and of weirctl.
type Question struct {
	// Direction is inbound, outbound or forwarded.
	Direction string `json:"direction,omitempty"`
	// Source and Destination are addresses, or an address with a port.
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination,omitempty"`
	// Transport is a name or a number of an IP protocol. Where it is left out it is
	// tcp, if a port or a protocol on TCP is given.
	Transport string `json:"transport,omitempty"`
	// ICMPType is a name or a number.
	ICMPType string `json:"icmp_type,omitempty"`
	ICMPCode string `json:"icmp_code,omitempty"`
	// Age is the time since the first packet, as a duration.
	Age string `json:"age,omitempty"`
	// Loopback: seen on a loopback interface.
	Loopback bool `json:"loopback,omitempty"`
	// Kept: the connection was allowed before, or was open when Weir attached.
	Kept bool `json:"kept,omitempty"`
	// Names are what DNS answered the destination address for.
	Names []string `json:"names,omitempty"`

	// Application is http, tls, quic, dns, ssh, other or tls+dns. Where it is left
	// out, it follows from what is said of it.
	Application string        `json:"application,omitempty"`
	HTTP        *HTTPQuestion `json:"http,omitempty"`
	TLS         *TLSQuestion  `json:"tls,omitempty"`
	DNS         *DNSQuestion  `json:"dns,omitempty"`
	SSH         *SSHQuestion  `json:"ssh,omitempty"`

	// Absent are facts that cannot exist here, Unobtainable those that can no longer
	// become known, with the cause: keys of on_error. FactSet has their names.
	Absent       []string          `json:"absent,omitempty"`
	Unobtainable map[string]string `json:"unobtainable,omitempty"`
}

// HTTPQuestion is one request.
type HTTPQuestion struct {
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	Method string `json:"method,omitempty"`
	// Headers are all that the request has, where they are said at all.
	Headers map[string][]string `json:"headers,omitempty"`
	Version string              `json:"version,omitempty"`
}

// TLSQuestion is a TLS or QUIC handshake.
type TLSQuestion struct {
	ServerName  string               `json:"server_name,omitempty"`
	Version     string               `json:"version,omitempty"`
	ECH         *bool                `json:"ech,omitempty"`
	Certificate *CertificateQuestion `json:"certificate,omitempty"`
}

// CertificateQuestion is the chain that the server sends.
type CertificateQuestion struct {
	SubjectNames        []string  `json:"subject_names,omitempty"`
	IssuerNames         []string  `json:"issuer_names,omitempty"`
	IssuerOrganizations []string  `json:"issuer_organizations,omitempty"`
	AuthoritySHA256     []string  `json:"authority_sha256,omitempty"`
	NotBefore           time.Time `json:"not_before,omitzero"`
	NotAfter            time.Time `json:"not_after,omitzero"`
	SelfSigned          bool      `json:"self_signed,omitempty"`
}

// DNSQuestion is one query.
type DNSQuestion struct {
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
}

// SSHQuestion is an SSH handshake.
type SSHQuestion struct {
	PublicKey string `json:"public_key,omitempty"`
	Software  string `json:"software,omitempty"`
}

// Facts are those of the question, at a time. The error is of type Errors, and
// names also what a rule of p asks for and the question leaves out.
func (q *Question) Facts(p *Policy, now time.Time) (*Facts, error) {
	r := questionReader{facts: &Facts{Now: now, Loopback: q.Loopback, Kept: q.Kept, Names: q.Names}}
	r.packet(q)
	r.application(q)
	r.states(q)
	if len(r.errs) == 0 {
		r.lacking(p)
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return r.facts, nil
}

// questionReader reads a question.
type questionReader struct {
	facts *Facts
	errs  Errors
	// What was given of the packet.
	direction, sourcePort, destinationPort, icmpType, icmpCode bool
}

func (r *questionReader) fail(key, found, accepted string) {
	r.errs = append(r.errs, &Error{Key: key, Found: found, Accepted: accepted})
}

const (
	acceptedDirection = "inbound, outbound, forwarded"
	acceptedEnd       = "an address, or an address and a port: 192.0.2.1, 192.0.2.1:443, [2001:db8::1]:443"
	acceptedTransport = "tcp, udp, icmp, icmpv6, or the name or number of an IP protocol"
)

// packet reads what comes with the packet.
func (r *questionReader) packet(q *Question) {
	f := r.facts
	switch q.Direction {
	case "inbound":
		f.Direction = Inbound
	case "outbound":
		f.Direction = Outbound
	case "forwarded":
		f.Direction = Forwarded
	case "":
		f.Direction = Outbound
	default:
		r.fail("direction", quote(q.Direction)+" is not a direction", acceptedDirection)
	}
	r.direction = q.Direction != ""
	f.Source, f.SourcePort, r.sourcePort = r.end("source", q.Source)
	f.Destination, f.DestinationPort, r.destinationPort = r.end("destination", q.Destination)
	if f.Source.IsValid() && f.Destination.IsValid() && f.Source.Is4() != f.Destination.Is4() {
		r.fail("destination", "source and destination are of two address families", "both IPv4, or both IPv6")
	}
	f.Protocol = r.transport(q)
	if ports := f.Protocol == protocolTCP || f.Protocol == protocolUDP; !ports && (r.sourcePort || r.destinationPort) {
		r.fail("transport", f.protocolText()+" has no ports", "tcp or udp, or addresses without ports")
	}
	if q.Age != "" {
		var ok bool
		if f.Age, ok = parseDuration(q.Age); !ok {
			r.fail("age", quote(q.Age)+" is not a duration", "a duration such as 90s, 1h30m or 14d")
		}
	}
	r.icmp(q)
}

// end reads an address with or without a port.
func (r *questionReader) end(key, text string) (a netip.Addr, port uint16, hasPort bool) {
	if text == "" {
		return a, 0, false
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both.Addr().Unmap().WithZone(""), both.Port(), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		r.fail(key, quote(text)+" is not an address", acceptedEnd)
	}
	return a.Unmap().WithZone(""), 0, false
}

func (r *questionReader) transport(q *Question) uint8 {
	if q.Transport == "" {
		switch {
		case q.ICMPType != "" || q.ICMPCode != "":
			if r.facts.Destination.Is6() {
				return protocolICMPv6
			}
			return protocolICMP
		case q.Application == "quic":
			return protocolUDP
		case r.sourcePort || r.destinationPort || q.Application != "" || q.HTTP != nil || q.TLS != nil || q.DNS != nil || q.SSH != nil:
			return protocolTCP
		}
		r.fail("transport", "it is not given", acceptedTransport)
		return 0
	}
	name := strings.ToLower(q.Transport)
	if p, known := protocolNames[name]; known {
		return p
	}
	if n, ok := number(name, 255); ok {
		return uint8(n)
	}
	r.fail("transport", quote(q.Transport)+" is not an IP protocol", acceptedTransport)
	return 0
}

func (r *questionReader) icmp(q *Question) {
	f := r.facts
	r.icmpType, r.icmpCode = q.ICMPType != "", q.ICMPCode != ""
	if (r.icmpType || r.icmpCode) && !f.isICMP() {
		r.fail("icmp_type", f.protocolText()+" has no types and codes", "transport icmp or icmpv6")
		return
	}
	if r.icmpType {
		types := icmpTypes
		if f.Protocol == protocolICMPv6 {
			types = icmpv6Types
		}
		n, known := types[q.ICMPType]
		if !known {
			n, known = number(q.ICMPType, 255)
		}
		if !known {
			r.fail("icmp_type", quote(q.ICMPType)+" is not a type", "0-255, "+strings.Join(slices.Sorted(maps.Keys(types)), ", "))
		}
		f.ICMPType = uint8(n)
	}
	if r.icmpCode {
		n, ok := number(q.ICMPCode, 255)
		if !ok {
			r.fail("icmp_code", quote(q.ICMPCode)+" is not a code", "0-255")
		}
		f.ICMPCode = uint8(n)
	}
}

// lacking finds what rules ask of the packet and the question does not say. The
// safeguards ask for what few questions are about.
func (r *questionReader) lacking(p *Policy) {
	f := r.facts
	told := map[string]bool{}
	ask := func(given, asked bool, rule *Rule, key, accepted string) {
		if !given && asked && !told[key] {
			told[key] = true
			r.fail(key, fmt.Sprintf("it is not given, and the rule %s asks for it", rule.Name), accepted)
		}
	}
	for i := range p.Rules {
		rule := &p.Rules[i]
		ask(r.direction, rule.Direction != AnyDirection, rule, "direction", acceptedDirection)
		ask(f.Source.IsValid(), !rule.Source.IsAny(), rule, "source", acceptedEnd)
		ask(f.Destination.IsValid(), !rule.Destination.IsAny(), rule, "destination", acceptedEnd)
		for _, t := range rule.Transports {
			switch {
			case t.Protocol != f.Protocol:
			case f.isICMP():
				ask(r.icmpType, len(t.Source) > 0, rule, "icmp_type", "0-255 or a name such as echo-request")
				ask(r.icmpCode, len(t.Destination) > 0, rule, "icmp_code", "0-255")
			default:
				ask(r.sourcePort, len(t.Source) > 0, rule, "source", "an address and a port")
				ask(r.destinationPort, len(t.Destination) > 0, rule, "destination", "an address and a port")
			}
		}
	}
	if !f.Source.IsValid() && !f.Destination.IsValid() {
		return
	}
	// No rule asks for the other end, but an address there must be.
	for _, a := range []*netip.Addr{&f.Source, &f.Destination} {
		if !a.IsValid() {
			*a = netip.IPv4Unspecified()
			if f.Source.Is6() || f.Destination.Is6() {
				*a = netip.IPv6Unspecified()
			}
		}
	}
}

// factByName is the fact with a name of FactSet.
func factByName(name string) (FactSet, bool) {
	i := slices.Index(factNames[:], name)
	return 1 << max(i, 0), i >= 0
}

func causeByName(name string) (Cause, bool) {
	for c := Malformed; c <= NotSeen; c++ {
		if c.String() == name {
			return c, true
		}
	}
	return 0, false
}
