// Package classbench reads the rule sets and header traces of ClassBench, for
// tests of the policy and of the classifier.
package classbench

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrPorts says that a set restricts the ports of protocols that have none in
// the policy language.
var ErrPorts = errors.New("restricts the ports of a protocol other than TCP and UDP")

// Header is one line of a trace.
type Header struct {
	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	Protocol                    uint8
}

// Sets are the names of the sets under dir that have a trace with answers, in
// order.
func Sets(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "expected", "*_trace.first.gz"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var sets []string
	for _, f := range files {
		sets = append(sets, strings.TrimSuffix(filepath.Base(f), "_trace.first.gz"))
	}
	return sets, nil
}

// Policy is a set as a policy in YAML: rule k of the set has the name rk and
// keeps its place. The TCP flags are left out, as the answers do.
func Policy(dir, set string) ([]byte, error) {
	return convert(dir, set, func(number uint8) (uint8, bool) { return number, true }, false)
}

// PolicyAsTCP is what a set says of one protocol, which stands as TCP: some sets
// restrict the ports of protocols that have none in the policy language. Rules
// about other protocols keep their place and match nothing.
func PolicyAsTCP(dir, set string, protocol uint8) ([]byte, error) {
	return convert(dir, set, func(number uint8) (uint8, bool) { return tcp, number == protocol }, true)
}

const (
	tcp = 6
	udp = 17
)

// convert writes each rule with the protocol that as gives for its own; a rule
// for which as is false matches nothing. allTCP: the headers are all TCP.
func convert(dir, set string, as func(uint8) (uint8, bool), allTCP bool) ([]byte, error) {
	text, err := read(filepath.Join(dir, "rules", set+".gz"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("mode: prevent\nsafeguards: {loopback: false, dhcp: false, neighbor-discovery: false, icmp-errors: false, export: false}\nrules:\n")
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for k := 0; scanner.Scan(); k++ {
		if err := writeRule(&b, k, scanner.Text(), as, allTCP); err != nil {
			return nil, fmt.Errorf("convert %s line %d: %w", set, k+1, err)
		}
	}
	return b.Bytes(), scanner.Err()
}

// writeRule converts "@sip/len dip/len sp : sp dp : dp proto/mask flags/mask".
func writeRule(b *bytes.Buffer, k int, line string, as func(uint8) (uint8, bool), allTCP bool) error {
	f := strings.Fields(strings.TrimPrefix(line, "@"))
	if len(f) < 9 || f[3] != ":" || f[6] != ":" {
		return fmt.Errorf("parse %q", line)
	}
	text, mask, _ := strings.Cut(f[8], "/")
	number, err := strconv.ParseUint(text, 0, 8)
	if err != nil {
		return fmt.Errorf("parse protocol: %w", err)
	}
	anyProtocol := mask == "0x00"
	protocol, wanted := as(uint8(number))
	source, destination := f[2]+"-"+f[4], f[5]+"-"+f[7]
	anyPorts := source == "0-65535" && destination == "0-65535"
	fmt.Fprintf(b, "- name: r%d\n  action: allow\n  layer3:\n    source: %s\n    destination: %s\n", k, f[0], f[1])
	ports := fmt.Sprintf("{source_ports: %s, destination_ports: %s}", source, destination)
	if anyPorts {
		ports = "{}"
	}
	switch {
	case anyProtocol && anyPorts:
	case anyProtocol && allTCP:
		fmt.Fprintf(b, "  layer4: {tcp: %s}\n", ports)
	case anyProtocol:
		return ErrPorts
	case !wanted:
		b.WriteString("    other_protocols: 255\n")
	case protocol == tcp:
		fmt.Fprintf(b, "  layer4: {tcp: %s}\n", ports)
	case protocol == udp:
		fmt.Fprintf(b, "  layer4: {udp: %s}\n", ports)
	case !anyPorts:
		return ErrPorts
	case protocol == 1:
		b.WriteString("  layer4: {icmp: {}}\n")
	case protocol == 58:
		b.WriteString("  layer4: {icmpv6: {}}\n")
	default:
		fmt.Fprintf(b, "    other_protocols: %d\n", protocol)
	}
	return nil
}

// Case is one policy with the headers it is to be tried on.
type Case struct {
	Name    string
	Policy  []byte
	Headers []Header
	// First is the index of the first rule that matches each header.
	First []int
}

// Cases are a set's policy and trace; one for each protocol, standing as TCP,
// where the set restricts ports that the policy language does not know.
func Cases(dir, set string) ([]Case, error) {
	headers, first, err := Trace(dir, set)
	if err != nil {
		return nil, err
	}
	text, err := Policy(dir, set)
	if err == nil {
		return []Case{{Name: set, Policy: text, Headers: headers, First: first}}, nil
	}
	if !errors.Is(err, ErrPorts) {
		return nil, err
	}
	byProtocol := map[uint8]*Case{}
	var cases []*Case
	for i, h := range headers {
		c := byProtocol[h.Protocol]
		if c == nil {
			c = &Case{Name: fmt.Sprintf("%s protocol %d", set, h.Protocol)}
			if c.Policy, err = PolicyAsTCP(dir, set, h.Protocol); err != nil {
				return nil, err
			}
			byProtocol[h.Protocol] = c
			cases = append(cases, c)
		}
		h.Protocol = tcp
		c.Headers = append(c.Headers, h)
		c.First = append(c.First, first[i])
	}
	out := make([]Case, len(cases))
	for i, c := range cases {
		out[i] = *c
	}
	return out, nil
}

// Trace are the headers of a set's trace, and the index of the first rule that
// matches each.
func Trace(dir, set string) ([]Header, []int, error) {
	trace, err := read(filepath.Join(dir, "traces", set+"_trace.gz"))
	if err != nil {
		return nil, nil, err
	}
	answers, err := read(filepath.Join(dir, "expected", set+"_trace.first.gz"))
	if err != nil {
		return nil, nil, err
	}
	var headers []Header
	for line := range strings.Lines(string(trace)) {
		h, err := parseHeader(line)
		if err != nil {
			return nil, nil, fmt.Errorf("read trace of %s line %d: %w", set, len(headers)+1, err)
		}
		headers = append(headers, h)
	}
	var first []int
	for line := range strings.Lines(string(answers)) {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, nil, fmt.Errorf("read answers of %s: %w", set, err)
		}
		first = append(first, n)
	}
	if len(first) != len(headers) {
		return nil, nil, fmt.Errorf("read trace of %s: %d headers with %d answers", set, len(headers), len(first))
	}
	return headers, first, nil
}

// parseHeader reads "sip dip sp dp proto ...", all decimal.
func parseHeader(line string) (Header, error) {
	f := strings.Fields(line)
	if len(f) < 5 {
		return Header{}, fmt.Errorf("parse %q", line)
	}
	var n [5]uint64
	for i, size := range []int{32, 32, 16, 16, 8} {
		var err error
		if n[i], err = strconv.ParseUint(f[i], 10, size); err != nil {
			return Header{}, fmt.Errorf("parse field: %w", err)
		}
	}
	return Header{
		Source: address(n[0]), Destination: address(n[1]),
		SourcePort: uint16(n[2]), DestinationPort: uint16(n[3]), Protocol: uint8(n[4]),
	}, nil
}

func address(n uint64) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}
