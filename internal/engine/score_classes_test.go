package engine

import (
	"slices"
	"strings"
)

// The classes of docs/inspection.md.
const (
	inTunnel   = "encapsulated"
	overHTTP   = "DNS over HTTPS"
	beforeRFC  = "QUIC before RFC 9000"
	refused    = "malformed"
	unseen     = "missing bytes"
	apart      = "VLANs"
	unanswered = "no ServerHello"
	turned     = "SOCKS, turned round"
	oneRecord  = "one record"
	words      = "words"
	tooLong    = "limit"
)

// classes are how many differences there are of each, at most.
var classes = map[string]int{
	inTunnel: 43, overHTTP: 6, beforeRFC: 4, refused: 10, unseen: 2, apart: 1, unanswered: 3,
	turned: 6, oneRecord: 3, words: 8, tooLong: 2,
}

// classOf says why a field is not what another tool has; "" where that is not known.
func classOf(c *claim, field, got string) string {
	is := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(c.pcap, part) })
	}
	switch {
	case is("gre-", "vxlan", "gtp6", "geneve", "pppoe", "80211", "chdlc"):
		return inTunnel
	case is("dns-over-http2"):
		return overHTTP
	case is("quic24", "quic33", "quic34", "quic43"):
		return beforeRFC
	case is("dns-forward-pointer", "bug-7851-01", "bug-4702-01", "bug-3844"):
		return refused
	case is("http-gap-whole-body"):
		return unseen
	case is("bug-4376"):
		return apart
	case field == "tls version" && got == "" && is("bug-5713", "tcp-fastopen-10", "tls.pcap"):
		return unanswered
	case is("http2-nghttp2") && got == "":
		return tooLong
	case is("socks5-reverse"):
		return turned
	case is("http2-keywords2") && (field == "http status" || field == "http version"), is("http-100-continue") && field == "http status":
		return oneRecord
	case is("dns-udp-null") && field == "dns answers", is("http2-nghttp2") && got != "", is("tcp-fastopen-10") && got == "1.3",
		is("cloudshark-dtls1", "dns-punycode") && field == "dns answers", is("v6-http") && strings.Contains(c.what, "mdns"):
		return words
	}
	return ""
}
