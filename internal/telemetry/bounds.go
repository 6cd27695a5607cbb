package telemetry

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Bounds on what strangers wrote (paths, headers, names), in bytes as they come
// out. What is longer is cut and ends with "…".
const (
	// maxText is for a value of an attribute.
	maxText = 1024
	// maxURL is for url.path and url.query.
	maxURL = 2048
	// maxValues is the number of values of a list, maxList the bytes of a record's
	// lists together.
	maxValues = 32
	maxList   = 8192
	// maxWord is for a text in a line, of which no more is read.
	maxWord = 200
)

const cutMark = "…"

// bounded is clean, and at most limit bytes long.
func bounded(s string, limit int) string {
	if len(s) <= limit && isPlain(s) {
		return s
	}
	return string(appendBounded(make([]byte, 0, min(len(s)+8, limit)), s, limit))
}

// appendBounded writes s as clean would, in at most limit bytes.
func appendBounded(out []byte, s string, limit int) []byte {
	begin := len(out)
	cut := begin // where the mark still fits
	for len(s) > 0 {
		if len(out)-begin <= limit-len(cutMark) {
			cut = len(out)
		}
		var size int
		out, size = appendCleanRune(out, s)
		if len(out)-begin > limit {
			return append(out[:cut], cutMark...)
		}
		s = s[size:]
	}
	return out
}

// appendWord writes a stranger's text so that it is one word of a line: what has
// spaces or is empty stands in quotes, lest it pass for more than one.
func appendWord(line []byte, s string) []byte {
	begin := len(line)
	line = appendBounded(line, s, maxWord)
	quote := len(line) == begin
	for _, c := range line[begin:] {
		quote = quote || c == ' ' || c == '"'
	}
	if !quote {
		return line
	}
	text := string(line[begin:])
	line = append(line[:begin], '"')
	for i := range len(text) {
		if text[i] == '"' {
			line = append(line, '\\')
		}
		line = append(line, text[i])
	}
	return append(line, '"')
}

// putText puts a stranger's text, unless there is none.
func putText(attributes pcommon.Map, key, value string) {
	putBounded(attributes, key, value, maxText)
}

func putBounded(attributes pcommon.Map, key, value string, limit int) {
	if value != "" {
		attributes.PutStr(key, bounded(value, limit))
	}
}

// putList puts the values that there is room for, and takes that from room.
func putList(attributes pcommon.Map, key string, values []string, room *int) {
	values = values[:min(len(values), maxValues)]
	if len(values) == 0 || *room < len(cutMark) {
		return
	}
	list := attributes.PutEmptySlice(key)
	list.EnsureCapacity(len(values))
	for _, value := range values {
		if *room < len(cutMark) {
			return
		}
		value = bounded(value, min(maxText, *room))
		list.AppendEmpty().SetStr(value)
		*room -= len(value)
	}
}

// Size is about how many bytes the texts of e have.
func (e *Exchange) Size() int {
	n := len(e.Protocol) + len(e.Version) + len(e.Problem)
	switch {
	case e.HTTP != nil:
		h := e.HTTP
		n += len(h.Method) + len(h.Scheme) + len(h.Path) + len(h.Query) + len(h.Host) + len(h.UserAgent)
		for name, values := range h.Headers {
			n += len(name)
			for _, value := range values {
				n += len(value)
			}
		}
	case e.TLS != nil:
		t := e.TLS
		n += len(t.ServerName) + len(t.Cipher) + len(t.NextProtocol) + len(t.JA3) + len(t.JA4) + len(t.Subject) + len(t.Issuer) + len(t.SHA256)
	case e.DNS != nil:
		n += len(e.DNS.Name) + len(e.DNS.Type)
		for _, answer := range e.DNS.Answers {
			n += len(answer)
		}
	case e.SSH != nil:
		s := e.SSH
		n += len(s.ClientSoftware) + len(s.ServerSoftware) + len(s.ClientKey) + len(s.HostKey) + len(s.HASSH)
	}
	return n
}
