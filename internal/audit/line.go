package audit

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirnet/weir/internal/telemetry"
)

// timeFormat begins each line: UTC, so that lines of several hosts, and those of
// the hour that a clock is set back by, can be put in order.
const timeFormat = "2006-01-02T15:04:05.000Z"

// wordWidth is that of the column after the time; it is the one of the lines about
// connections.
const wordWidth = 10

// appendLine writes a line of the file. text is readable and without control
// characters, as Line of the records makes it.
func appendLine(to []byte, at time.Time, text string) []byte {
	to = at.UTC().AppendFormat(to, timeFormat)
	to = append(to, ' ')
	to = append(to, text...)
	return append(cut(to, maxLine-1), '\n')
}

// cut shortens a line to so many bytes, and marks it.
func cut(line []byte, limit int) []byte {
	const mark = "…"
	if len(line) <= limit {
		return line
	}
	line = line[:limit-len(mark)]
	for len(line) > 0 && !utf8.Valid(line[max(0, len(line)-utf8.UTFMax):]) && !utf8.RuneStart(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	if r, size := utf8.DecodeLastRune(line); r == utf8.RuneError && size == 1 {
		line = line[:len(line)-1]
	}
	return append(line, mark...)
}

func noteLine(at time.Time, word, text string) []byte {
	return appendLine(nil, at, fmt.Sprintf("%-*s%s", wordWidth, word, plain(text)))
}

// plain is text as it may stand in a line: control characters would forge lines or
// drive a terminal. Line breaks, which errors have, become "; ".
func plain(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// wordOf is the word of a line that was read; empty for what is none of ours.
func wordOf(line []byte) string {
	if len(line) < len(timeFormat)+1 {
		return ""
	}
	word, _, _ := bytes.Cut(line[len(timeFormat)+1:], []byte(" "))
	return string(word)
}

// timeOf is the time of a line that was read; zero for what is none of ours.
func timeOf(line []byte) time.Time {
	if len(line) < len(timeFormat) {
		return time.Time{}
	}
	at, err := time.Parse(timeFormat, string(line[:len(timeFormat)]))
	if err != nil {
		return time.Time{}
	}
	return at
}

// connectionOf is an exchange as a record about its connection, with the
// judgement of the exchange.
func connectionOf(x *telemetry.Exchange) telemetry.Connection {
	return telemetry.Connection{
		Kind: x.Kind, Time: x.Time, FirstSeen: x.Time, LastSeen: x.Time, Count: 1,
		Tuple: x.Connection.Tuple, Direction: x.Connection.Direction, Interface: x.Connection.Interface,
		Judgement: x.Judgement,
	}
}

// exchangeWords begin the lines about exchanges, by their kind.
var exchangeWords = map[telemetry.Kind]string{
	telemetry.HTTPRequest:  "http",
	telemetry.TLSHandshake: "tls",
	telemetry.DNSQuery:     "dns",
	telemetry.SSHHandshake: "ssh",
}

// exchangeLine is a line about an exchange: its word, and what a line about its
// connection would be.
func exchangeLine(c *telemetry.Connection, text string) []byte {
	word, of := exchangeWords[c.Kind], *c
	of.Kind = telemetry.ConnectionStart
	return appendLine(nil, c.Time, strings.TrimSuffix(fmt.Sprintf("%-*s%s %s", wordWidth, word, of.Line(), text), " "))
}

// exchangeText is what was asked for. Everything in it was sent by somebody, so it
// is quoted. A query string is left out: it may have secrets in it.
func exchangeText(x *telemetry.Exchange) string {
	var parts []string
	add := func(words ...string) {
		for _, w := range words {
			if w != "" {
				parts = append(parts, w)
			}
		}
	}
	switch {
	case x.HTTP != nil:
		add(quoted(x.HTTP.Method), quoted(x.HTTP.Host+x.HTTP.Path))
	case x.TLS != nil:
		add(quoted(x.TLS.ServerName), plain(x.Protocol), plain(x.TLS.Version))
	case x.DNS != nil:
		add(quoted(x.DNS.Type), quoted(x.DNS.Name))
	case x.SSH != nil:
		add(quoted(x.SSH.ClientSoftware), quoted(x.SSH.ClientKey))
	}
	if x.Problem != "" {
		add("(" + plain(x.Problem) + ")")
	}
	return strings.Join(parts, " ")
}

// quoted leaves an empty text empty.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}
