package telemetry_test

import (
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// exchange is a record of that kind about the connection of the other fixtures,
// which the rule web-api allows. What was said is to be filled in.
func exchange(kind telemetry.Kind, protocol, version string) telemetry.Exchange {
	c := connection(telemetry.ConnectionStart)
	return telemetry.Exchange{
		Kind: kind, Protocol: protocol, Version: version,
		Time: began.Add(20 * time.Millisecond), Answered: began.Add(32300 * time.Microsecond), Observed: began.Add(33 * time.Millisecond),
		Connection: telemetry.ConnectionRef{
			ID: c.ID, Tuple: c.Tuple, Direction: c.Direction, Interface: c.Interface, FirstSeen: c.FirstSeen,
		},
		Judgement: c.Judgement,
	}
}

func request() telemetry.Exchange {
	e := exchange(telemetry.HTTPRequest, "http", "1.1")
	e.Connection.Tuple.DestinationPort = 80
	e.HTTP = &telemetry.HTTPExchange{
		Method: "GET", Scheme: "http", Path: "/v1/items", HasQuery: true,
		Host: "api.example.com", Port: 8080, UserAgent: "curl/7.88.1", Status: 200,
	}
	return e
}

// fullRequest has what is off by default, too, and is part of a trace.
func fullRequest() telemetry.Exchange {
	e := request()
	e.HTTP.Query = "page=2&all"
	e.HTTP.Headers = map[string][]string{"x-env": {"prod", "eu"}, "accept": {"*/*"}}
	e.HTTP.Trace = telemetry.TraceContext{
		Valid: true, Sampled: true,
		TraceID: [16]byte{0x4b, 0xf9, 0x2f, 0x35, 15: 0x36}, ParentID: [8]byte{0x00, 0xf0, 0x67, 7: 0xb7},
	}
	return e
}

// withheldRequest was blocked, and its method is none that is known.
func withheldRequest() telemetry.Exchange {
	e := request()
	e.Answered = time.Time{}
	e.HTTP = &telemetry.HTTPExchange{Method: "PURGE", Scheme: "http", Path: "/", Host: "cache.example.com"}
	e.Judgement.Rule, e.Judgement.Verdict, e.Judgement.Action = "no-purges", telemetry.Blocked, telemetry.Block
	return e
}

// malformedRequest is one that detect mode could not read.
func malformedRequest() telemetry.Exchange {
	e := exchange(telemetry.HTTPRequest, "http", "")
	e.Answered = time.Time{}
	e.HTTP = &telemetry.HTTPExchange{}
	e.Judgement = telemetry.Judgement{
		Generation: 7, Verdict: telemetry.Detected, Action: telemetry.Block, Reason: telemetry.ReasonMalformed,
	}
	e.Problem = "Content-Length twice"
	return e
}

func tlsHandshake() telemetry.Exchange {
	e := exchange(telemetry.TLSHandshake, "tls", "1.2")
	e.TLS = &telemetry.TLSExchange{
		ServerName: "api.example.com", Version: "1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", NextProtocol: "h2",
		Established: true, JA3: "d4e5b18d6b55c71272893221c96ba240", JA4: "t13d1516h2_8daaf6152771_b186095e22b6",
		Subject: "CN=*.example.com", Issuer: "CN=R11,O=Let's Encrypt,C=US",
		NotBefore: began.Add(-720 * time.Hour), NotAfter: began.Add(1440 * time.Hour),
		SHA256:            "0687f666a054ef17a08e2f2162eab4cbc0d265e1d7875be74bf3c712ca92daf0",
		CertificateSource: telemetry.CertificateFromWire,
	}
	return e
}

// quicHandshake did not come to its end.
func quicHandshake() telemetry.Exchange {
	e := exchange(telemetry.TLSHandshake, "quic", "1")
	e.Connection.Tuple.Protocol = packet.UDP
	e.Answered = time.Time{}
	e.TLS = &telemetry.TLSExchange{ServerName: "video.example.net", ECH: true, JA4: "q13d0312h3_55b375c5d22e_06cda9e17597"}
	return e
}

func resumedSSL() telemetry.Exchange {
	e := exchange(telemetry.TLSHandshake, "tls", "3.0")
	e.TLS = &telemetry.TLSExchange{Version: "3.0", Established: true, Resumed: true}
	return e
}

func query() telemetry.Exchange {
	e := exchange(telemetry.DNSQuery, "dns", "")
	e.Connection.Tuple.Protocol, e.Connection.Tuple.DestinationPort = packet.UDP, 53
	e.DNS = &telemetry.DNSExchange{Name: "www.example.com", Type: "A", ResponseCode: "NOERROR", Transport: "udp", Service: "dns"}
	return e
}

func answeredQuery() telemetry.Exchange {
	e := query()
	e.DNS.Answers = []string{"edge.example.net", "192.0.2.80", "192.0.2.81", "192.0.2.82", "192.0.2.83"}
	return e
}

// multicastQuery asks for a service whose name has a space, and got no answer.
func multicastQuery() telemetry.Exchange {
	e := query()
	e.Answered = time.Time{}
	e.Connection.Tuple.Source = netip.MustParseAddr("fe80::1")
	e.Connection.Tuple.Destination, e.Connection.Tuple.DestinationPort = netip.MustParseAddr("ff02::fb"), 5353
	e.DNS = &telemetry.DNSExchange{Name: "Den Printer._ipp._tcp.local", Type: "SRV", Transport: "udp", Service: "mdns"}
	e.Judgement = telemetry.Judgement{Verdict: telemetry.Detected}
	return e
}

func droppedQuery() telemetry.Exchange {
	e := query()
	e.Answered = time.Time{}
	e.DNS = &telemetry.DNSExchange{Name: "ads.example.org", Type: "HTTPS", Transport: "udp", Service: "dns"}
	e.Judgement.Rule, e.Judgement.Verdict, e.Judgement.Action = "no-ads", telemetry.Blocked, telemetry.Block
	return e
}

func sshHandshake() telemetry.Exchange {
	e := exchange(telemetry.SSHHandshake, "ssh", "2.0")
	e.Connection.Direction = packet.Inbound
	e.Connection.Tuple.DestinationPort = 22
	e.SSH = &telemetry.SSHExchange{
		ClientSoftware: "OpenSSH_9.2p1", ServerSoftware: "OpenSSH_9.6",
		ClientKey: "SHA256:jXMTvJPXh3bNO9a8pVYQnPnJ0lrVRXAhKeeV8Eu0Qw0",
		HostKey:   "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDKQvkVDsnDlUxn0mM",
		HASSH:     "78c05d999799066a2b4554ce7b1585a6",
	}
	return e
}

// exchanges are all of them, by the name of their golden files.
func exchanges() map[string]telemetry.Exchange {
	return map[string]telemetry.Exchange{
		"http": request(), "http_full": fullRequest(), "http_blocked": withheldRequest(), "http_malformed": malformedRequest(),
		"tls": tlsHandshake(), "quic": quicHandshake(), "ssl": resumedSSL(),
		"dns": query(), "dns_answers": answeredQuery(), "dns_blocked": droppedQuery(), "mdns": multicastQuery(),
		"ssh": sshHandshake(),
	}
}
