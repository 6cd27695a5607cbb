package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// ruleFlags are a rule as flags, which have the names that the facts have.
type ruleFlags struct {
	name, description, direction, ech                     string
	sources, destinations, destinationNames, transports   []string
	icmpTypes, icmpCodes, domains                         []string
	httpHosts, httpPaths, httpMethods, httpVersions       []string
	serverNames, tlsVersions, dnsNames, dnsTypes, sshKeys []string
	sshSoftware                                           []string
}

func (f *ruleFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "its name; without one, Weir makes one")
	flags.StringVar(&f.description, "description", "", "why")
	flags.StringVar(&f.direction, "direction", "", "inbound, outbound or forwarded; the default is any")
	flags.StringSliceVar(&f.sources, "source", nil, "the end that begins; may be given again, as all that follow")
	flags.StringSliceVar(&f.destinations, "destination", nil, "the other end")
	flags.StringSliceVar(&f.destinationNames, "destination-name", nil, "name that DNS answered the destination for")
	flags.StringSliceVar(&f.transports, "transport", nil, "tcp, udp, icmp, icmpv6, or an IP protocol")
	flags.StringSliceVar(&f.icmpTypes, "icmp-type", nil, "type of ICMP, by name or number")
	flags.StringSliceVar(&f.icmpCodes, "icmp-code", nil, "code of ICMP")
	flags.StringSliceVar(&f.domains, "domain", nil, "name that the connection says, or that DNS answered its address for")
	flags.StringSliceVar(&f.httpHosts, "http-host", nil, "host of an HTTP request")
	flags.StringArrayVar(&f.httpPaths, "http-path", nil, "path of an HTTP request")
	flags.StringSliceVar(&f.httpMethods, "http-method", nil, "method of an HTTP request")
	flags.StringSliceVar(&f.httpVersions, "http-version", nil, "1.0, 1.1 or 2")
	flags.StringSliceVar(&f.serverNames, "sni", nil, "server name of a TLS or QUIC handshake")
	flags.StringSliceVar(&f.tlsVersions, "tls-version", nil, "negotiated version: 1.0 to 1.3")
	flags.StringVar(&f.ech, "ech", "", "true or false: encrypted ClientHello")
	flags.StringSliceVar(&f.dnsNames, "dns-name", nil, "name that a DNS query asks for")
	flags.StringSliceVar(&f.dnsTypes, "dns-type", nil, "type that a DNS query asks for")
	flags.StringSliceVar(&f.sshKeys, "ssh-key", nil, "fingerprint of the client's key: SHA256:…")
	flags.StringSliceVar(&f.sshSoftware, "ssh-software", nil, "what an SSH server calls itself")
}

// keys are a mapping of the policy language.
type keys map[string]any

// set sets a list that has something in it.
func (k keys) set(key string, values []string) {
	if len(values) > 0 {
		k[key] = values
	}
}

// part sets a mapping that has something in it.
func (k keys) part(key string, part keys) {
	if len(part) > 0 {
		k[key] = part
	}
}

// rule is the rule in the policy language. What is wrong with the values, Weir says.
func (f *ruleFlags) rule(action string) (keys, error) {
	rule, layer3, layer7 := keys{"action": action}, keys{}, keys{}
	layer4, err := f.layer4(layer3)
	if err != nil {
		return nil, err
	}
	layer3.set("destination_names", f.destinationNames)
	layer7.set("domains", f.domains)
	http, tls, dns, ssh := keys{}, keys{}, keys{}, keys{}
	http.set("hosts", f.httpHosts)
	http.set("paths", f.httpPaths)
	http.set("methods", f.httpMethods)
	http.set("versions", f.httpVersions)
	tls.set("server_names", f.serverNames)
	tls.set("versions", f.tlsVersions)
	switch f.ech {
	case "":
	case "true", "false":
		tls["ech"] = f.ech == "true"
	default:
		return nil, fmt.Errorf("--ech %q is neither true nor false", f.ech)
	}
	dns.set("names", f.dnsNames)
	dns.set("types", f.dnsTypes)
	ssh.set("public_keys", f.sshKeys)
	ssh.set("software", f.sshSoftware)
	layer7.part("http", http)
	layer7.part("tls", tls)
	layer7.part("dns", dns)
	layer7.part("ssh", ssh)
	rule.part("layer3", layer3)
	rule.part("layer4", layer4)
	rule.part("layer7", layer7)
	if len(rule) == 1 {
		return nil, errNoCriteria
	}
	for key, text := range map[string]string{"name": f.name, "description": f.description, "direction": f.direction} {
		if text != "" {
			rule[key] = text
		}
	}
	return rule, nil
}

// layer4 splits the ends into addresses, for layer3, and ports.
func (f *ruleFlags) layer4(layer3 keys) (keys, error) {
	sources, sourcePorts := splitEnds(f.sources)
	destinations, destinationPorts := splitEnds(f.destinations)
	layer3.set("source", sources)
	layer3.set("destination", destinations)
	ports := keys{}
	ports.set("source_ports", sourcePorts)
	ports.set("destination_ports", destinationPorts)
	transports := f.transports
	if len(transports) == 0 && len(ports) > 0 {
		transports = []string{"tcp", "udp"}
	}
	types := keys{}
	types.set("types", f.icmpTypes)
	types.set("codes", f.icmpCodes)
	if len(transports) == 0 && len(types) > 0 {
		transports = []string{"icmp"}
	}
	layer4, others := keys{}, []string{}
	ported, typed := false, false
	for _, t := range transports {
		switch t = strings.ToLower(t); t {
		case "tcp", "udp":
			layer4[t], ported = ports, true
		case "icmp", "icmpv6":
			layer4[t], typed = types, true
		default:
			others = append(others, t)
		}
	}
	switch {
	case len(ports) > 0 && !ported:
		return nil, fmt.Errorf("ports are of tcp and udp; found --transport %s", strings.Join(f.transports, ","))
	case len(types) > 0 && !typed:
		return nil, fmt.Errorf("--icmp-type and --icmp-code are of icmp and icmpv6; found --transport %s", strings.Join(transports, ","))
	case len(others) > 0 && len(layer4) > 0:
		return nil, fmt.Errorf("--transport: %s cannot be in one rule with tcp, udp, icmp and icmpv6; make two", strings.Join(others, ","))
	}
	layer3.set("other_protocols", others)
	return layer4, nil
}

// splitEnds parts addresses from ports: 192.0.2.0/24:22, [2001:db8::1]:443, :53.
func splitEnds(ends []string) (addresses, ports []string) {
	for _, end := range ends {
		address, port := end, ""
		if inside, rest, bracketed := strings.Cut(strings.Replace(end, "[", "", 1), "]"); bracketed {
			address, port = inside+strings.TrimSuffix(rest, ":"+lastField(rest)), lastField(rest)
		} else if strings.Count(end, ":") == 1 {
			address, port, _ = strings.Cut(end, ":")
		}
		if address != "" {
			addresses = append(addresses, address)
		}
		if port != "" {
			ports = append(ports, port)
		}
	}
	return addresses, ports
}

// lastField is what follows the last colon, if there is one.
func lastField(s string) string {
	_, after, _ := strings.Cut(s, ":")
	return after
}
