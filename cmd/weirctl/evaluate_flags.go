package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirnet/weir/internal/policy"
)

// questionFlags are the facts as flags.
type questionFlags struct {
	q            policy.Question
	http         policy.HTTPQuestion
	tls          policy.TLSQuestion
	dns          policy.DNSQuestion
	ssh          policy.SSHQuestion
	headers      []string
	ech          string
	unobtainable []string
}

// factFlags are their names.
var factFlags = []string{
	"direction", "source", "destination", "transport", "icmp-type", "icmp-code", "age", "loopback", "kept", "destination-name",
	"application", "http-host", "http-path", "http-method", "http-header", "http-version", "sni", "tls-version", "ech",
	"dns-name", "dns-type", "ssh-key", "ssh-software", "absent", "unobtainable",
}

func (f *questionFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.q.Direction, "direction", "", "inbound, outbound or forwarded")
	flags.StringVar(&f.q.Source, "source", "", "address of the end that begins, with or without a port")
	flags.StringVar(&f.q.Destination, "destination", "", "address of the other end, with or without a port")
	flags.StringVar(&f.q.Transport, "transport", "", "tcp, udp, icmp, icmpv6, or an IP protocol")
	flags.StringVar(&f.q.ICMPType, "icmp-type", "", "type of ICMP, by name or number")
	flags.StringVar(&f.q.ICMPCode, "icmp-code", "", "code of ICMP")
	flags.StringVar(&f.q.Age, "age", "", "time since the first packet, such as 90s, 1h30m or 14d")
	flags.BoolVar(&f.q.Loopback, "loopback", false, "it is seen on a loopback interface")
	flags.BoolVar(&f.q.Kept, "kept", false, "it was allowed before, or was open when Weir attached")
	flags.StringSliceVar(&f.q.Names, "destination-name", nil, "name that DNS answered the destination for; may be given again")
	flags.StringVar(&f.q.Application, "application", "", "http, tls, quic, dns, ssh, other or tls+dns")
	flags.StringVar(&f.http.Host, "http-host", "", "host of an HTTP request")
	flags.StringVar(&f.http.Path, "http-path", "", "path of an HTTP request")
	flags.StringVar(&f.http.Method, "http-method", "", "method of an HTTP request")
	flags.StringArrayVar(&f.headers, "http-header", nil, `header "name: value"; may be given again, and is then all headers`)
	flags.StringVar(&f.http.Version, "http-version", "", "1.0, 1.1 or 2")
	flags.StringVar(&f.tls.ServerName, "sni", "", "server name of a TLS or QUIC handshake")
	flags.StringVar(&f.tls.Version, "tls-version", "", "negotiated version: 1.0 to 1.3")
	flags.StringVar(&f.ech, "ech", "", "true or false: encrypted ClientHello")
	flags.StringVar(&f.dns.Name, "dns-name", "", "name that a DNS query asks for")
	flags.StringVar(&f.dns.Type, "dns-type", "", "type that a DNS query asks for")
	flags.StringVar(&f.ssh.PublicKey, "ssh-key", "", "fingerprint of the client's key: SHA256:…")
	flags.StringVar(&f.ssh.Software, "ssh-software", "", "what an SSH server calls itself")
	flags.StringSliceVar(&f.q.Absent, "absent", nil, "fact that cannot exist here; may be given again")
	flags.StringSliceVar(&f.unobtainable, "unobtainable", nil, "fact=cause that cannot be known; may be given again")
}

// question puts the parts together that something was said of.
func (f *questionFlags) question() (*policy.Question, error) {
	q := f.q
	for _, header := range f.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return nil, fmt.Errorf("--http-header %q is no header; accepted: \"name: value\"", header)
		}
		if f.http.Headers == nil {
			f.http.Headers = map[string][]string{}
		}
		f.http.Headers[strings.TrimSpace(name)] = append(f.http.Headers[strings.TrimSpace(name)], strings.TrimSpace(value))
	}
	switch f.ech {
	case "":
	case "true", "false":
		ech := f.ech == "true"
		f.tls.ECH = &ech
	default:
		return nil, fmt.Errorf("--ech %q is neither true nor false", f.ech)
	}
	for _, one := range f.unobtainable {
		fact, cause, ok := strings.Cut(one, "=")
		if !ok {
			return nil, fmt.Errorf("--unobtainable %q has no cause; accepted: http.path=malformed and the like", one)
		}
		if q.Unobtainable == nil {
			q.Unobtainable = map[string]string{}
		}
		q.Unobtainable[fact] = cause
	}
	if f.http.Host != "" || f.http.Path != "" || f.http.Method != "" || f.http.Headers != nil || f.http.Version != "" {
		q.HTTP = &f.http
	}
	if f.tls != (policy.TLSQuestion{}) {
		q.TLS = &f.tls
	}
	if f.dns != (policy.DNSQuestion{}) {
		q.DNS = &f.dns
	}
	if f.ssh != (policy.SSHQuestion{}) {
		q.SSH = &f.ssh
	}
	return &q, nil
}
