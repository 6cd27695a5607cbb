package telemetry

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line is the exchange as one readable line, the body of its log record. What
// strangers wrote stands last, behind what Weir says, and in quotes where it is
// more than a word.
//
//	http      outbound tcp 192.0.2.2:41822 → 203.0.113.7:80 eth0 rule=web GET http://api.example.com/v1 200 12.3ms
//	dns       outbound udp 192.0.2.2:50211 → 203.0.113.9:53 eth0 A www.example.com NOERROR 3.1ms
func (e *Exchange) Line() string {
	return string(e.appendLine(make([]byte, 0, 240)))
}

func (e *Exchange) appendLine(line []byte) []byte {
	c := &e.Connection
	line = appendHead(line, e.word(), c.Direction, &c.Tuple, false, c.Interface)
	line = e.Judgement.appendTo(line, e.Kind)
	switch {
	case e.HTTP != nil:
		line = e.HTTP.appendTo(line)
	case e.TLS != nil:
		line = e.TLS.appendTo(line)
	case e.DNS != nil:
		line = e.DNS.appendTo(line)
	case e.SSH != nil:
		line = e.SSH.appendTo(line)
	}
	if took := e.Duration(); took > 0 {
		line = append(line, ' ')
		line = appendDuration(line, took)
	}
	if e.DNS != nil {
		for _, answer := range e.DNS.Answers[:min(len(e.DNS.Answers), maxLineAnswers)] {
			line = appendWord(append(line, ' '), answer)
		}
		if len(e.DNS.Answers) > maxLineAnswers {
			line = append(line, " …"...)
		}
	}
	if e.Problem != "" {
		line = append(line, ": "...)
		line = appendBounded(line, e.Problem, maxWord)
	}
	return line
}

// maxLineAnswers is how many answers of a query a line has.
const maxLineAnswers = 4

// word is the first column: the protocol.
func (e *Exchange) word() string {
	if e.DNS != nil && e.DNS.Service != "" {
		return bounded(e.DNS.Service, maxWord)
	}
	return bounded(e.Protocol, maxWord)
}

// appendTo writes the request as a URL, and the status. A query that was not asked
// for is a question mark.
func (h *HTTPExchange) appendTo(line []byte) []byte {
	if h.Method != "" {
		line = appendWord(append(line, ' '), h.Method)
	}
	if url := h.url(); url != "" {
		line = appendWord(append(line, ' '), url)
	}
	if h.Status != 0 {
		line = append(line, ' ')
		line = strconv.AppendUint(line, uint64(h.Status), 10)
	}
	return line
}

// url is the request's URL, at least as much of it as a line has.
func (h *HTTPExchange) url() string {
	url := make([]byte, 0, 128)
	start := func(s string) string { return s[:min(len(s), maxWord+utf8.UTFMax)] }
	if h.Host != "" {
		// CONNECT has an authority alone.
		if h.Scheme != "" && h.Path != "" {
			url = append(append(url, start(h.Scheme)...), "://"...)
		}
		if strings.Contains(h.Host, ":") {
			url = append(append(append(url, '['), start(h.Host)...), ']')
		} else {
			url = append(url, start(h.Host)...)
		}
		if h.Port != 0 {
			url = strconv.AppendUint(append(url, ':'), uint64(h.Port), 10)
		}
	}
	url = append(url, start(h.Path)...)
	if h.HasQuery {
		url = append(url, '?')
		url = append(url, start(h.Query)...)
	}
	return string(url)
}

func (t *TLSExchange) appendTo(line []byte) []byte {
	if t.ServerName != "" {
		line = appendWord(append(line, ' '), t.ServerName)
	}
	if t.Version != "" {
		name, version := tlsProtocol(t.Version)
		if name == "ssl" {
			line = append(line, " SSL "...)
		} else {
			line = append(line, " TLS "...)
		}
		line = appendWord(line, version)
	}
	if t.NextProtocol != "" {
		line = appendWord(append(line, ' '), t.NextProtocol)
	}
	if t.ECH {
		line = append(line, " ECH"...)
	}
	if t.Resumed {
		line = append(line, " resumed"...)
	}
	if !t.Established {
		line = append(line, " not established"...)
	}
	return line
}

func (d *DNSExchange) appendTo(line []byte) []byte {
	for _, word := range [...]string{d.Type, d.Name, d.ResponseCode} {
		if word != "" {
			line = appendWord(append(line, ' '), word)
		}
	}
	return line
}

func (s *SSHExchange) appendTo(line []byte) []byte {
	for _, word := range [...]struct{ name, value string }{
		{" client=", s.ClientSoftware}, {" server=", s.ServerSoftware}, {" key=", s.ClientKey},
	} {
		if word.value != "" {
			line = appendWord(append(line, word.name...), word.value)
		}
	}
	return line
}
