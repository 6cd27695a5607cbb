package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What follows is what a criterion found, for people.

func (f *Facts) isICMP() bool { return f.Protocol == protocolICMP || f.Protocol == protocolICMPv6 }

func (f *Facts) protocolText() string {
	if name := transportName(f.Protocol); name != "" {
		return name
	}
	return "protocol " + strconv.Itoa(int(f.Protocol))
}

func (f *Facts) sourceText() string {
	if f.isICMP() {
		return strconv.Itoa(int(f.ICMPType))
	}
	return strconv.Itoa(int(f.SourcePort))
}

func (f *Facts) destinationText() string {
	if f.isICMP() {
		return strconv.Itoa(int(f.ICMPCode))
	}
	return strconv.Itoa(int(f.DestinationPort))
}

func (f *Facts) namesText() string {
	if len(f.Names) == 0 {
		return "no name"
	}
	return strings.Join(f.Names, ", ")
}

// domainText is the name that counts for domains.
func (f *Facts) domainText() string {
	for _, said := range []Fact[string]{f.HTTP.Host, f.TLS.ServerName, f.DNS.Name} {
		if said.State == Known {
			return said.Value
		}
	}
	return f.namesText()
}

// spokenText is the application protocol, or the one below where that is not
// known.
func (f *Facts) spokenText() string {
	if f.Application.State != Known {
		return f.protocolText()
	}
	return f.Application.Value.text()
}

// applicationNames are the application protocols in the order of their bits.
var applicationNames = []string{"http", "tls", "quic", "dns", "ssh", "other"}

// text lists the protocols, joined by "+", as Question has them.
func (a Application) text() string {
	var names []string
	for i, name := range applicationNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// text is the value of a known fact.
func text[T any](f Fact[T]) string {
	switch f.State {
	case Known:
		return fmt.Sprint(f.Value)
	case Absent:
		return "none"
	}
	return ""
}

func headerText(f Fact[map[string][]string], name string) string {
	if f.State != Known {
		return text(Fact[string]{State: f.State})
	}
	if len(f.Value[name]) == 0 {
		return "none"
	}
	return strings.Join(f.Value[name], ", ")
}

// certificateText is what the chain has for a key of Certificate.
func certificateText(f Fact[CertificateFacts], key string) string {
	if f.State != Known {
		return text(Fact[string]{State: f.State})
	}
	v := &f.Value
	switch key {
	case "subject_names":
		return strings.Join(v.SubjectNames, ", ")
	case "issuer_names":
		return strings.Join(v.IssuerNames, ", ")
	case "issuer_organizations":
		return strings.Join(v.IssuerOrganizations, ", ")
	case "authority_sha256":
		return strings.Join(v.AuthoritySHA256, ", ")
	case "self_signed":
		return strconv.FormatBool(v.SelfSigned)
	}
	return v.NotBefore.UTC().Format(time.RFC3339) + " to " + v.NotAfter.UTC().Format(time.RFC3339)
}

// lacking says what a connection has not that a safeguard is for.
func (s Special) lacking() string {
	switch s {
	case OnLoopback:
		return "not on a loopback interface"
	case HopLimit255:
		return "the hop limit is not 255"
	case RelatedICMP:
		return "quotes no allowed connection"
	case OwnSocket:
		return "not a socket of Weir's"
	}
	return ""
}
