package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var httpKeys = []string{"hosts", "paths", "methods", "headers", "versions"}

func (c *cursor) http(r *Rule) *HTTP {
	h := &HTTP{}
	if c.n.Kind != yaml.MappingNode {
		h.Hosts = c.names(r)
		return h
	}
	f, _ := c.mapping(httpKeys)
	for _, v := range f {
		switch v.key {
		case "hosts":
			h.Hosts = v.names(r)
		case "paths":
			h.Paths = v.paths()
		case "methods":
			const accepted = "a method such as GET"
			v.list(accepted, func(at *cursor) {
				s, ok := at.text(accepted)
				if !ok {
					return
				}
				if !isToken(s) {
					at.fail(quote(s)+" is not a method", accepted, "")
					return
				}
				h.Methods = append(h.Methods, strings.Clone(strings.ToUpper(s)))
			})
		case "headers":
			h.Headers = v.headers()
		case "versions":
			h.Versions = v.words("1.0", "1.1", "2")
		}
	}
	return h
}

func (c *cursor) headers() []Header {
	f, _ := c.entries("a mapping of header names to values")
	var headers []Header
	for _, v := range f {
		h := Header{Name: strings.Clone(strings.ToLower(v.key))}
		twice := slices.ContainsFunc(headers, func(o Header) bool { return o.Name == h.Name })
		switch {
		case !isToken(v.key):
			v.fail(quote(v.key)+" is not the name of a header", "a name such as x-env", "")
		case twice:
			v.fail("the header "+quote(v.key)+" is here a second time", "each header once; case does not matter", "")
		}
		h.Values = v.texts(false, acceptedText)
		headers = append(headers, h)
	}
	return headers
}

// isToken checks methods and names of headers (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		b := s[i]
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0) {
			return false
		}
	}
	return s != "" && s[0] != '!' && !strings.Contains(s, "*")
}
