package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var dnsKeys = []string{"names", "types", "transports"}

func (c *cursor) dns(r *Rule) *DNS {
	d := &DNS{}
	if c.n.Kind != yaml.MappingNode {
		d.Names = c.names(r)
		return d
	}
	f, _ := c.mapping(dnsKeys)
	for _, v := range f {
		switch v.key {
		case "names":
			d.Names = v.names(r)
		case "types":
			const accepted = "a type such as A, AAAA or TXT, or its number"
			v.list(accepted, func(at *cursor) {
				if t, ok := at.dnsType(accepted); ok {
					d.Types = append(d.Types, t)
				}
			})
		case "transports":
			d.Transports = v.words("udp", "tcp", "tls")
		}
	}
	return d
}

func (c *cursor) dnsType(accepted string) (uint16, bool) {
	s, ok := c.text(accepted)
	if !ok {
		return 0, false
	}
	if t, known := dnsTypes[s]; known {
		return t, true
	}
	if t, ok := number(strings.TrimPrefix(s, "TYPE"), 65535); ok {
		return t, true
	}
	hint := ""
	if near := nearest(strings.ToUpper(s), slices.Sorted(maps.Keys(dnsTypes))); near != "" {
		hint = "did you mean " + near + "?"
	}
	c.fail(quote(s)+" is not a type of DNS", accepted, hint)
	return 0, false
}

// DNSTypeName is the name of a query type; TYPE and its number where it has none
// (RFC 3597).
func DNSTypeName(t uint16) string {
	for name, n := range dnsTypes {
		if n == t {
			return name
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// dnsTypes are those of IANA's registry that are in use.
var dnsTypes = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "WKS": 11, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16,
	"RP": 17, "AFSDB": 18, "SIG": 24, "KEY": 25, "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "KX": 36,
	"CERT": 37, "DNAME": 39, "OPT": 41, "APL": 42, "DS": 43, "SSHFP": 44, "IPSECKEY": 45, "RRSIG": 46,
	"NSEC": 47, "DNSKEY": 48, "DHCID": 49, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53,
	"HIP": 55, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64,
	"HTTPS": 65, "SPF": 99, "EUI48": 108, "EUI64": 109, "TKEY": 249, "TSIG": 250, "IXFR": 251,
	"AXFR": 252, "ANY": 255, "URI": 256, "CAA": 257, "TA": 32768, "DLV": 32769,
}
