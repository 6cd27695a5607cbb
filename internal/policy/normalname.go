package policy

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// nameProfile maps names as a resolver does before it asks for them. Strict
// rules are off, since names of services have underscores.
var nameProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// normalPattern is the normal form of a name in a policy, or what is wrong.
func normalPattern(s string) (name, problem, hint string) {
	if a, ok := addressLiteral(s); ok {
		return a, "", ""
	}
	bad := func(b byte) bool {
		return b <= ' ' || b == 0x7f || strings.IndexByte("!\"#$%&'()+,/:;<=>?@[\\]^`{|}~", b) >= 0
	}
	for i := range len(s) {
		if bad(s[i]) {
			switch {
			case strings.Contains(s, "://"):
				hint = "leave out the scheme and the path"
			case s[i] == '/':
				hint = "leave out the path"
			case s[i] == ':':
				hint = "leave out the port"
			}
			return "", "has the character " + quote(s[i:i+1]) + ", which names have not", hint
		}
	}
	name = strings.TrimSuffix(s, ".")
	ascii := isLowerASCII(name)
	if !ascii {
		var err error
		if name, err = nameProfile.ToASCII(name); err != nil {
			return "", "is not a name in IDNA: " + strings.TrimPrefix(err.Error(), "idna: "), ""
		}
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", "is not a name of 1 to 253 characters", ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", "has a label that is not of 1 to 63 characters", ""
		}
	}
	return name, "", ""
}

// addressLiteral is the normal form of an address that stands where a name could,
// as the host of a URL does.
func addressLiteral(s string) (string, bool) {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", false
	}
	return a.String(), true
}

// normalName is the normal form of a name that was seen; one that is not valid
// is compared as it is, in lower case.
func normalName(s string) string {
	s = strings.TrimSuffix(s, ".")
	if isLowerASCII(s) && !strings.HasPrefix(s, "[") {
		return s
	}
	if a, ok := addressLiteral(s); ok {
		return a
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			if name, err := nameProfile.ToASCII(s); err == nil {
				return strings.TrimSuffix(name, ".")
			}
			break
		}
	}
	return strings.ToLower(s)
}

// isLowerASCII says whether nothing needs to be mapped.
func isLowerASCII(s string) bool {
	for i := range len(s) {
		if b := s[i]; b >= 0x80 || b >= 'A' && b <= 'Z' || b == ':' {
			return false
		}
	}
	return true
}
