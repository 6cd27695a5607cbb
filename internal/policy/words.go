package policy

import "strings"

// String is the word the policy language uses.
func (a Action) String() string {
	switch a {
	case Allow:
		return "allow"
	case Block:
		return "block"
	}
	return ""
}

// String is the word the policy language uses.
func (m Mode) String() string {
	if m == Prevent {
		return "prevent"
	}
	return "detect"
}

// String is the word the policy language uses.
func (r RejectMode) String() string {
	switch r {
	case RejectAlways:
		return "always"
	case RejectNever:
		return "never"
	}
	return "outbound"
}

// String is the word the policy language uses; several are joined by "|".
func (d DirectionSet) String() string {
	if d == AnyDirection {
		return "any"
	}
	var words []string
	for _, w := range []struct {
		bit  DirectionSet
		word string
	}{{Inbound, "inbound"}, {Outbound, "outbound"}, {Forwarded, "forwarded"}} {
		if d&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, "|")
}

// String is the value of the attribute network.protocol.name: of several protocols
// that of the one that can be seen, of DNS over TLS "tls". It is empty for AppOther.
func (a Application) String() string {
	for _, w := range []struct {
		bit  Application
		word string
	}{{AppTLS, "tls"}, {AppQUIC, "quic"}, {AppHTTP, "http"}, {AppDNS, "dns"}, {AppSSH, "ssh"}} {
		if a&w.bit != 0 {
			return w.word
		}
	}
	return ""
}

// IP protocol numbers (IANA) that layer4 knows.
const (
	protocolICMP   uint8 = 1
	protocolTCP    uint8 = 6
	protocolUDP    uint8 = 17
	protocolICMPv6 uint8 = 58
)

// transportName is the key of layer4 for an IP protocol; "" for others.
func transportName(protocol uint8) string {
	switch protocol {
	case protocolICMP:
		return "icmp"
	case protocolTCP:
		return "tcp"
	case protocolUDP:
		return "udp"
	case protocolICMPv6:
		return "icmpv6"
	}
	return ""
}
