package telemetry

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// exchangeAttributes is room for the attributes of most exchanges.
const exchangeAttributes = 32

// putExchange puts the attributes of DESIGN section 5 that a log record and a span
// have in common. What was not seen is absent.
func putExchange(attributes pcommon.Map, e *Exchange) {
	attributes.EnsureCapacity(exchangeAttributes)
	c := &e.Connection
	putTuple(attributes, &c.Tuple, false)
	putPath(attributes, c.Interface, !c.Tuple.Source.Is4())
	attributes.PutStr("weir.connection.id", formatID(c.ID))
	attributes.PutStr("weir.direction", c.Direction.String())
	putText(attributes, "network.protocol.name", e.Protocol)
	putText(attributes, "network.protocol.version", e.Version)
	putJudgement(attributes, &e.Judgement)
	switch {
	case e.HTTP != nil:
		putHTTP(attributes, e.HTTP)
	case e.TLS != nil:
		putTLS(attributes, e.TLS)
	case e.DNS != nil:
		putDNS(attributes, e.DNS)
	case e.SSH != nil:
		putSSH(attributes, e.SSH)
	}
}

func putHTTP(attributes pcommon.Map, h *HTTPExchange) {
	if h.Method != "" {
		method := knownMethod(h.Method)
		attributes.PutStr("http.request.method", method)
		if method != h.Method {
			putText(attributes, "http.request.method_original", h.Method)
		}
	}
	putText(attributes, "url.scheme", h.Scheme)
	putBounded(attributes, "url.path", h.Path, maxURL)
	putBounded(attributes, "url.query", h.Query, maxURL)
	putText(attributes, "server.address", h.Host)
	if h.Port != 0 {
		attributes.PutInt("server.port", int64(h.Port))
	}
	putText(attributes, "user_agent.original", h.UserAgent)
	room := maxList
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		putList(attributes, "http.request.header."+name, h.Headers[name], &room)
	}
	if h.Status != 0 {
		attributes.PutInt("http.response.status_code", int64(h.Status))
	}
}

func putTLS(attributes pcommon.Map, t *TLSExchange) {
	putText(attributes, "weir.tls.server_name", t.ServerName)
	if t.Version != "" {
		name, version := tlsProtocol(t.Version)
		attributes.PutStr("tls.protocol.name", name)
		putText(attributes, "tls.protocol.version", version)
		// The server says so, if it says anything.
		attributes.PutBool("tls.resumed", t.Resumed)
	}
	putText(attributes, "tls.cipher", t.Cipher)
	putText(attributes, "tls.next_protocol", t.NextProtocol)
	attributes.PutBool("tls.established", t.Established)
	putText(attributes, "tls.client.ja3", t.JA3)
	putText(attributes, "weir.tls.client.ja4", t.JA4)
	putText(attributes, "tls.server.subject", t.Subject)
	putText(attributes, "tls.server.issuer", t.Issuer)
	putTime(attributes, "tls.server.not_before", t.NotBefore)
	putTime(attributes, "tls.server.not_after", t.NotAfter)
	putText(attributes, "tls.server.hash.sha256", strings.ToUpper(t.SHA256))
	if t.CertificateSource != NoCertificate {
		attributes.PutStr("weir.tls.certificate.source", t.CertificateSource.String())
	}
}

// tlsProtocol gives tls.protocol.name and tls.protocol.version: the conventions
// have "3" for SSL 3.0.
func tlsProtocol(version string) (name, number string) {
	if version == "3.0" {
		return "ssl", "3"
	}
	return "tls", version
}

// putTime puts a time in the form that the conventions give.
func putTime(attributes pcommon.Map, key string, t time.Time) {
	if !t.IsZero() {
		attributes.PutStr(key, t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
}

func putDNS(attributes pcommon.Map, d *DNSExchange) {
	putText(attributes, "dns.question.name", d.Name)
	putText(attributes, "weir.dns.question.type", d.Type)
	putText(attributes, "weir.dns.response_code", d.ResponseCode)
	putText(attributes, "weir.dns.service", d.Service)
	putText(attributes, "weir.dns.transport", d.Transport)
	room := maxList
	putList(attributes, "dns.answers", d.Answers, &room)
}

func putSSH(attributes pcommon.Map, s *SSHExchange) {
	putText(attributes, "weir.ssh.client.software", s.ClientSoftware)
	putText(attributes, "weir.ssh.server.software", s.ServerSoftware)
	putText(attributes, "weir.ssh.client.public_key.fingerprint", s.ClientKey)
	putText(attributes, "weir.ssh.server.host_key.fingerprint", s.HostKey)
	putText(attributes, "weir.ssh.hassh", s.HASSH)
}
