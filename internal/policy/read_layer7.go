package policy

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

var layer7Keys = []string{"domains", "http", "tls", "dns", "ssh"}

const acceptedText = "a text, in which * stands for any characters"

// layer7 reads the alternatives of the application protocol. A list names
// protocols without further criteria, as with layer4.
func (c *cursor) layer7(r *Rule) {
	l := &Layer7{}
	if c.n.Kind != yaml.MappingNode {
		protocols := layer7Keys[1:]
		c.list("http, tls, dns, ssh, or a mapping with these keys or domains", func(at *cursor) {
			switch i, ok := at.word(protocols...); {
			case !ok:
			case i == 0:
				l.HTTP = &HTTP{}
			case i == 1:
				l.TLS = &TLS{}
			case i == 2:
				l.DNS = &DNS{}
			case i == 3:
				l.SSH = &SSH{}
			}
		})
		r.Layer7 = l
		return
	}
	f, _ := c.mapping(layer7Keys)
	if len(f) == 0 {
		return
	}
	for _, v := range f {
		switch v.key {
		case "domains":
			l.Domains = v.names(r)
		case "http":
			l.HTTP = v.http(r)
		case "tls":
			l.TLS = v.tls(r)
		case "dns":
			l.DNS = v.dns(r)
		case "ssh":
			l.SSH = v.ssh()
		}
	}
	r.Layer7 = l
}

// words reads a list of words out of some.
func (c *cursor) words(words ...string) []string {
	var list []string
	c.list(strings.Join(words, ", "), func(at *cursor) {
		if i, ok := at.word(words...); ok {
			list = append(list, words[i])
		}
	})
	return list
}
