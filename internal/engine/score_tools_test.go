package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/idna"

	"github.com/weirnet/weir/internal/corpora"
	"github.com/weirnet/weir/internal/telemetry"
)

func unicodeName(name string) string {
	if u, err := idna.ToUnicode(name); err == nil {
		return strings.ToLower(u)
	}
	return strings.ToLower(name)
}

// sameName compares a name of RFC 4514 with one as OpenSSL writes it: in the order of
// the certificate, and without escapes.
func sameName(got, want string) bool {
	var parts []string
	part, escaped := "", false
	for _, r := range got + "," {
		switch {
		case escaped:
			part, escaped = part+string(r), false
		case r == '\\':
			escaped = true
		case r == ',' || r == '+':
			parts = append([]string{part}, parts...)
			part = ""
		default:
			part += string(r)
		}
	}
	return strings.Join(parts, ", ") == strings.ReplaceAll(want, "Email=", "emailAddress=")
}

var suricataKinds = map[string]telemetry.Kind{
	"http": telemetry.HTTPRequest, "tls": telemetry.TLSHandshake, "quic": telemetry.TLSHandshake,
	"dns": telemetry.DNSQuery, "llmnr": telemetry.DNSQuery, "ssh": telemetry.SSHHandshake,
}

var suricataFields = map[string]string{
	"http.http_method": "http method", "http.hostname": "http host", "http.url": "http path", "http.status": "http status",
	"http.protocol": "http version", "http.version": "http version", "tls.sni": "tls server name", "tls.version": "tls version",
	"tls.subject": "tls subject", "tls.issuerdn": "tls issuer", "tls.notbefore": "tls not before", "tls.notafter": "tls not after",
	"tls.ja3.hash": "tls ja3", "dns.rrname": "dns name", "dns.queries[0].rrname": "dns name", "dns.rrtype": "dns type",
	"dns.queries[0].rrtype": "dns type", "dns.rcode": "dns code", "llmnr.queries[0].rrname": "dns name", "llmnr.queries[0].rrtype": "dns type",
	"ssh.client.software_version": "ssh client", "ssh.server.software_version": "ssh server",
}

var (
	answerData = regexp.MustCompile(`^dns\.answers\[\d+\]\.rdata$|^llmnr\.answers\[\d+\]\.a$`)
	quicName   = regexp.MustCompile(`^(quic\.extensions\[\d+\])\.name$`)
)

// suricataClaims are those of its records.
func suricataClaims(t *testing.T) (claims []claim) {
	seen := map[string]bool{}
	for _, c := range corpora.Expected[corpora.Check](t, "suricata", "l7") {
		kind, ok := suricataKinds[c.Text("event_type")]
		text, _ := json.Marshal(c.Match)
		key := c.Pcap + string(text)
		if !ok || c.Count == 0 || seen[key] {
			continue
		}
		seen[key] = true
		base := claim{
			pcap: c.Pcap, what: c.Test, kind: kind, times: c.Count, fields: map[string]string{},
			sourcePort: uint16(c.Number("src_port")), destinationPort: uint16(c.Number("dest_port")),
		}
		if kind == telemetry.DNSQuery && c.Text("dns.type") == "" && c.Text("llmnr.type") == "" {
			base.times = (c.Count + 1) / 2 // question and answer are one record here
		}
		base.source, _ = netip.ParseAddr(c.Text("src_ip"))
		base.destination, _ = netip.ParseAddr(c.Text("dest_ip"))
		var answers []string
		for key, v := range c.Match {
			value := fmt.Sprint(v)
			if p := quicName.FindStringSubmatch(key); p != nil && value == "server_name" {
				if name := c.Text(p[1] + ".values[0]"); name != "" {
					base.fields["quic server name"] = name
				}
			}
			if answerData.MatchString(key) {
				answers = append(answers, value)
				continue
			}
			field := suricataFields[key]
			switch field {
			case "":
				continue
			case "http version":
				value = strings.TrimPrefix(value, "HTTP/")
			case "tls version":
				value = strings.TrimPrefix(strings.Replace(value, "TLSv1", "TLS 1.0", 1), "TLS ")
				value, _, _ = strings.Cut(value, " draft")
			case "dns type":
				value = strings.ToUpper(value)
			}
			base.fields[field] = value
		}
		if len(base.fields) > 0 {
			claims = append(claims, base)
		}
		for _, a := range answers {
			one := base
			one.fields = maps.Clone(base.fields)
			clear(one.fields)
			if name := base.fields["dns name"]; name != "" {
				one.fields["dns name"] = name
			}
			one.fields["dns answers"] = a
			claims = append(claims, one)
		}
	}
	return claims
}

// arkimeClaims are those of its sessions. It has sets of values for the whole session:
// each is a claim of its own.
func arkimeClaims(t *testing.T) (claims []claim) {
	type end struct {
		IP   string
		Port uint16
	}
	type session struct {
		Pcap                string
		Source, Destination end
		Protocol            []string
		HTTP                struct {
			Method, Host, Path []string
			ClientVersion      []string
			Statuscode         []int
		}
		TLS  struct{ JA3, Version []string }
		QUIC struct{ Host []string }
		Cert []struct {
			NotBefore, NotAfter int64
			SubjectCN, IssuerCN []string
		}
		DNS []struct {
			QueryHost, QT, Status string
			Answers               []struct{ Name, Type, IP, CNAME, MX, Nameserver, HTTPS, CAA string }
		}
		SSH struct{ Version []string }
	}
	for _, s := range corpora.Expected[session](t, "arkime") {
		base := claim{pcap: s.Pcap, what: strings.Join(s.Protocol, " "), sourcePort: s.Source.Port, destinationPort: s.Destination.Port}
		base.source, _ = netip.ParseAddr(s.Source.IP)
		base.destination, _ = netip.ParseAddr(s.Destination.IP)
		one := func(kind telemetry.Kind, fields ...string) {
			c := base
			c.kind, c.fields = kind, map[string]string{}
			for i := 0; i < len(fields); i += 2 {
				c.fields[fields[i]] = fields[i+1]
			}
			claims = append(claims, c)
		}
		each := func(kind telemetry.Kind, field string, values []string) {
			for _, v := range values {
				one(kind, field, v)
			}
		}
		if slices.Contains(s.Protocol, "http") {
			each(telemetry.HTTPRequest, "http method", s.HTTP.Method)
			for _, h := range s.HTTP.Host {
				h, _, _ = strings.Cut(h, ":")
				one(telemetry.HTTPRequest, "http host", h)
			}
			each(telemetry.HTTPRequest, "http path", s.HTTP.Path)
			each(telemetry.HTTPRequest, "http version", s.HTTP.ClientVersion)
			for _, n := range s.HTTP.Statuscode {
				one(telemetry.HTTPRequest, "http status", fmt.Sprint(n))
			}
		}
		ja3 := "tls ja3"
		if slices.Contains(s.Protocol, "quic") {
			ja3 = "quic ja3"
			each(telemetry.TLSHandshake, "quic server name", s.QUIC.Host)
		} else {
			each(telemetry.TLSHandshake, "tls server name", tlsHosts(s.Protocol, s.HTTP.Host))
		}
		each(telemetry.TLSHandshake, ja3, s.TLS.JA3)
		for _, v := range s.TLS.Version {
			one(telemetry.TLSHandshake, "tls version", arkimeVersion(v))
		}
		for _, q := range s.DNS {
			name := strings.Replace(q.QueryHost, "<root>", ".", 1)
			fields := []string{"dns name", name, "dns type", q.QT}
			if q.Status != "" {
				fields = append(fields, "dns code", q.Status)
			}
			one(telemetry.DNSQuery, fields...)
			among := []string{"among"}
			for _, a := range q.Answers {
				among = append(among, cmp.Or(a.IP, a.CNAME, a.MX, a.Nameserver, strings.TrimPrefix(a.HTTPS, "HTTPS "), strings.TrimPrefix(a.CAA, "CAA ")))
			}
			// Of PTR and SOA it has no data.
			if len(among) > 1 && !slices.Contains(among, "") {
				one(telemetry.DNSQuery, "dns name", name, "dns answers", strings.Join(among, "\n"))
			}
		}
		for _, v := range s.SSH.Version {
			_, software, _ := strings.Cut(strings.TrimPrefix(v, "ssh-"), "-")
			one(telemetry.SSHHandshake, "ssh either", software)
		}
	}
	return claims
}

func arkimeVersion(v string) string {
	v, _, _ = strings.Cut(v, "-draft")
	return strings.Replace(strings.Replace(v, "TLSv1", "1.0", 1), "1.0.", "1.", 1)
}

func tlsHosts(protocols, hosts []string) []string {
	if slices.Contains(protocols, "tls") && !slices.Contains(protocols, "http") {
		return hosts
	}
	return nil
}

// ipfixprobeClaims are those of its flows.
func ipfixprobeClaims(t *testing.T) (claims []claim) {
	for _, line := range corpora.Expected[map[string]string](t, "ipfixprobe") {
		port := func(key string) uint16 {
			n, _ := strconv.ParseUint(line[key], 10, 16)
			return uint16(n)
		}
		c := claim{
			pcap: line["pcap"], what: line["plugin"], sourcePort: port("SRC_PORT"), destinationPort: port("DST_PORT"),
			fields: map[string]string{},
		}
		c.source, _ = netip.ParseAddr(line["SRC_IP"])
		c.destination, _ = netip.ParseAddr(line["DST_IP"])
		set := func(field, key string) {
			if v := line[key]; v != "" && v != "0" {
				c.fields[field] = v
			}
		}
		switch line["plugin"] {
		case "http":
			c.kind = telemetry.HTTPRequest
			set("http method", "HTTP_REQUEST_METHOD")
			set("http host", "HTTP_REQUEST_HOST")
			set("http path", "HTTP_REQUEST_URL")
			set("http status", "HTTP_RESPONSE_STATUS_CODE")
		case "tls":
			c.kind = telemetry.TLSHandshake
			set("tls server name", "TLS_SNI")
			set("tls ja3", "TLS_JA3")
			if n, _ := strconv.Atoi(line["TLS_VERSION"]); n > 0 {
				c.fields["tls version"] = fmt.Sprintf("1.%d", n-0x301)
			}
		case "quic":
			c.kind = telemetry.TLSHandshake
			set("quic server name", "QUIC_SNI")
		case "dns":
			c.kind = telemetry.DNSQuery
			set("dns name", "DNS_NAME")
		default:
			continue
		}
		if len(c.fields) > 0 {
			claims = append(claims, c)
		}
	}
	return claims
}
