package http

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weirnet/weir/internal/policy"
)

// setTarget reads a request's target (RFC 9112 section 3.2) together with the
// header Host. Target means that the request cannot be understood, HostValue and
// HostMismatch only that its host cannot.
func (m *Message) setTarget(target string, f *fields) (host policy.Fact[string], why Reason) {
	authority, rest := "", target
	switch {
	case m.Method == "CONNECT":
		authority, rest = target, ""
	case target[0] == '/', target == "*" && m.Method == "OPTIONS":
		m.Scheme = "http"
	default:
		scheme, after, found := strings.Cut(target, "://")
		if !found || !isScheme(scheme) {
			return host, Target
		}
		m.Scheme = strings.ToLower(scheme)
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		authority, rest = after[:end], after[end:]
		authority = authority[strings.LastIndexByte(authority, '@')+1:]
		if authority == "" {
			return host, Target
		}
	}
	m.setPath(rest)
	return m.setHost(authority, f.host)
}

// setPath takes a path and its query apart. What stands behind a # is part of
// either, as it was sent; see pathFact.
func (m *Message) setPath(s string) {
	m.Path, m.Query, m.HasQuery = strings.Cut(s, "?")
}

// setHost joins what the target and the header say; header is empty where it is
// not there. What only one of them names is the host.
func (m *Message) setHost(authority, header string) (policy.Fact[string], Reason) {
	if authority == "" && header == "" {
		return policy.Missing[string](), None
	}
	var hosts [2]string
	var ports [2]uint16
	for i, s := range [...]string{authority, header} {
		if s == "" {
			continue
		}
		var ok bool
		if hosts[i], ports[i], ok = splitHost(s); !ok {
			if i == 0 && m.Version != "2" {
				return policy.Fact[string]{}, Target
			}
			return policy.Lost[string](policy.Malformed), HostValue
		}
	}
	i := 0
	if authority == "" {
		i = 1
	}
	if authority != "" && header != "" && !sameHost(hosts[0], hosts[1]) {
		return policy.Lost[string](policy.Malformed), HostMismatch
	}
	m.Host, m.Port = hosts[i], ports[i]
	if m.Method == "CONNECT" && m.Port == 0 && m.Version != "2" {
		return policy.Fact[string]{}, Target
	}
	return policy.Is(m.Host), None
}

// sameHost: case and a final dot do not make another host.
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// splitHost takes apart host and port. What has bytes that no name or address has
// is refused: some servers cut it there, others look it up as it is.
func splitHost(s string) (host string, port uint16, ok bool) {
	digits := ""
	switch {
	case strings.HasPrefix(s, "["):
		host, digits, ok = strings.Cut(s[1:], "]")
		if !ok || strings.Trim(host, "0123456789abcdefABCDEF:.") != "" || strings.Count(host, ":") < 2 {
			return "", 0, false
		}
		if digits != "" && digits[0] != ':' {
			return "", 0, false
		}
		digits = strings.TrimPrefix(digits, ":")
	default:
		host, digits, _ = strings.Cut(s, ":")
		if !isHostName(host) {
			return "", 0, false
		}
	}
	if digits == "" {
		return host, 0, true
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || digits[0] == '+' {
		return "", 0, false
	}
	return host, uint16(n), true
}

// isHostName: reg-name of RFC 3986 without what stands for something else in lists
// and escapes; names that are not in ASCII are compared in their IDNA form.
func isHostName(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < 0x80 && !tokenBytes[b] && strings.IndexByte("()=;", b) < 0 || b == '%' || b == '#' || b == '^' || b == '`' || b == '|' {
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}

func isScheme(s string) bool {
	for i := range len(s) {
		b := s[i]
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if !letter && (i == 0 || !(b >= '0' && b <= '9' || strings.IndexByte("+-.", b) >= 0)) {
			return false
		}
	}
	return s != ""
}
