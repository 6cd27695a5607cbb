package telemetry

import "net/http"

// The vocabularies of attributes that peers choose the values of. On metrics, and
// in the names of spans, nothing else is let in: whoever is on the network could
// make as many series as he likes.

// otherMethod stands for methods without a name of their own (semantic conventions
// for HTTP).
const otherMethod = "_OTHER"

// knownMethod is the method, or otherMethod: those of RFC 9110, RFC 5789 and QUERY,
// as the conventions have them.
func knownMethod(method string) string {
	switch method {
	case "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE":
		return method
	}
	return otherMethod
}

// knownStatus is the status code, or the first of its class, which is how a client
// takes a code that it does not know (RFC 9110 section 15); 0 where there was none.
// What is no status code counts as 500, as it says there.
func knownStatus(status uint16) uint16 {
	switch {
	case status == 0, http.StatusText(int(status)) != "":
		return status
	case status < 100 || status > 599:
		return http.StatusInternalServerError
	}
	return status / 100 * 100
}

// other stands for types and response codes of DNS without a place of their own.
const other = "OTHER"

// knownDNSType is the type, or other: the types that are common.
func knownDNSType(t string) string {
	switch t {
	case "", "A", "AAAA", "ANY", "AXFR", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "IXFR", "LOC", "MX", "NAPTR", "NS",
		"NSEC", "NSEC3", "NULL", "PTR", "RRSIG", "SOA", "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI":
		return t
	}
	return other
}

// knownResponseCode is the response code, or other: those of RFC 1035, of RFC 2136
// and BADVERS, that of EDNS.
func knownResponseCode(code string) string {
	switch code {
	case "", "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
		"NOTAUTH", "NOTZONE", "BADVERS":
		return code
	}
	return other
}

// knownService tells apart those that ask by multicast.
func knownService(service string) string {
	switch service {
	case "mdns", "llmnr":
		return service
	}
	return "dns"
}
