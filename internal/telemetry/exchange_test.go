package telemetry_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/telemetry"
)

func ExampleExchange_Line() {
	for _, e := range []telemetry.Exchange{
		request(), fullRequest(), withheldRequest(), malformedRequest(), tlsHandshake(), quicHandshake(), resumedSSL(),
		query(), answeredQuery(), droppedQuery(), multicastQuery(), sshHandshake(),
	} {
		fmt.Println(e.Line())
	}
	// Output:
	// http      outbound tcp 192.0.2.2:41822 → 203.0.113.7:80 eth0 rule=web-api GET http://api.example.com:8080/v1/items? 200 12.3ms
	// http      outbound tcp 192.0.2.2:41822 → 203.0.113.7:80 eth0 rule=web-api GET http://api.example.com:8080/v1/items?page=2&all 200 12.3ms
	// http      outbound tcp 192.0.2.2:41822 → 203.0.113.7:80 eth0 blocked rule=no-purges PURGE http://cache.example.com/
	// http      outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 would block reason=error.malformed: Content-Length twice
	// tls       outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api api.example.com TLS 1.2 h2 12.3ms
	// quic      outbound udp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api video.example.net ECH not established
	// tls       outbound tcp 192.0.2.2:41822 → 203.0.113.7:443 eth0 rule=web-api SSL 3 resumed 12.3ms
	// dns       outbound udp 192.0.2.2:41822 → 203.0.113.7:53 eth0 rule=web-api A www.example.com NOERROR 12.3ms
	// dns       outbound udp 192.0.2.2:41822 → 203.0.113.7:53 eth0 rule=web-api A www.example.com NOERROR 12.3ms edge.example.net 192.0.2.80 192.0.2.81 192.0.2.82 …
	// dns       outbound udp 192.0.2.2:41822 → 203.0.113.7:53 eth0 blocked rule=no-ads HTTPS ads.example.org
	// mdns      outbound udp [fe80::1]:41822 → [ff02::fb]:5353 eth0 SRV "Den Printer._ipp._tcp.local"
	// ssh       inbound  tcp 192.0.2.2:41822 → 203.0.113.7:22 eth0 rule=web-api client=OpenSSH_9.2p1 server=OpenSSH_9.6 key=SHA256:jXMTvJPXh3bNO9a8pVYQnPnJ0lrVRXAhKeeV8Eu0Qw0 12.3ms
}

func TestExchangeLogs(t *testing.T) {
	for name, e := range exchanges() {
		t.Run(name, func(t *testing.T) {
			logs, records := origin().NewLogs()
			telemetry.AppendExchangeLog(records, &e)
			path := filepath.Join("testdata", name, "logs.yaml")
			if *update {
				require.NoError(t, golden.WriteLogsToFile(path, logs))
			}
			want, err := golden.ReadLogs(path)
			require.NoError(t, err)
			require.NoError(t, plogtest.CompareLogs(want, logs))
			// CompareLogs looks at neither.
			wanted := want.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
			assert.Equal(t, wanted.EventName(), records.At(0).EventName())
			assert.Equal(t, wanted.SeverityNumber(), records.At(0).SeverityNumber())
		})
	}
}

func TestSeverityOfExchanges(t *testing.T) {
	for name, e := range exchanges() {
		_, records := origin().NewLogs()
		telemetry.AppendExchangeLog(records, &e)
		want := plog.SeverityNumberInfo
		switch name {
		case "http_blocked", "dns_blocked", "http_malformed": // the last would be
			want = plog.SeverityNumberWarn
		}
		assert.Equal(t, want, records.At(0).SeverityNumber(), name)
	}
}

// fill makes an exchange of every kind with s wherever a stranger can write.
func fill(s string) []telemetry.Exchange {
	http, tls, dns, ssh := fullRequest(), tlsHandshake(), answeredQuery(), sshHandshake()
	http.HTTP = &telemetry.HTTPExchange{
		Method: s, Scheme: s, Path: s, Query: s, HasQuery: true, Host: s, Port: 1, UserAgent: s,
		Headers: map[string][]string{"x-a": {s, "", s}, "x-b": {s}}, Status: 999,
	}
	tls.TLS = &telemetry.TLSExchange{
		ServerName: s, Version: s, Cipher: s, NextProtocol: s, JA3: s, JA4: s, Subject: s, Issuer: s, SHA256: s,
	}
	dns.DNS = &telemetry.DNSExchange{Name: s, Type: s, Answers: []string{s, s, s, s, s}, ResponseCode: s, Transport: s, Service: s}
	ssh.SSH = &telemetry.SSHExchange{ClientSoftware: s, ServerSoftware: s, ClientKey: s, HostKey: s, HASSH: s}
	all := []telemetry.Exchange{http, tls, dns, ssh}
	for i := range all {
		all[i].Version, all[i].Problem = s, s
	}
	return all
}

// checkHostile fails unless all that e comes out as is bounded, printable UTF-8.
func checkHostile(t *testing.T, e *telemetry.Exchange) {
	t.Helper()
	printable := func(what, s string, limit int) {
		t.Helper()
		switch {
		case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Errorf("%s: %.300q", what, s)
		case len(s) > limit:
			t.Errorf("%s has %d bytes", what, len(s))
		}
	}
	check := func(attributes pcommon.Map) {
		total := 0
		for key, value := range attributes.All() {
			switch value.Type() {
			case pcommon.ValueTypeStr:
				limit := 1024
				if strings.HasPrefix(key, "url.") {
					limit = 2048
				}
				printable(key, value.Str(), limit)
				if value.Str() == "" {
					t.Errorf("%s is empty", key)
				}
			case pcommon.ValueTypeSlice:
				for _, v := range value.Slice().All() {
					printable(key, v.Str(), 1024)
					total += len(v.Str())
				}
				if n := value.Slice().Len(); n == 0 || n > 32 {
					t.Errorf("%s has %d values", key, n)
				}
			}
		}
		if total > 8192 {
			t.Errorf("lists of %d bytes", total)
		}
	}
	_, records := origin().NewLogs()
	telemetry.AppendExchangeLog(records, e)
	check(records.At(0).Attributes())
	printable("body", records.At(0).Body().Str(), 4096)

	_, spans := origin().NewTraces()
	telemetry.Tracing{All: true}.AppendExchange(spans, "", e)
	check(spans.At(0).Attributes())
	if name := spans.At(0).Name(); len(name) > len("quic handshake") {
		t.Errorf("span %q", name)
	}
}

func TestHostileExchanges(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":       "",
		"forged line":   "/\nblocked   inbound tcp",
		"escape":        "\x1b[31mred",
		"no UTF-8":      "\xff\xfe\xc3",
		"override":      "rtl\u202eoht",
		"long":          strings.Repeat("a", 1<<20),
		"long controls": strings.Repeat("\x00", 1<<20),
		"long runes":    strings.Repeat("größe", 1<<18),
		"at the limit":  strings.Repeat("a", 1023) + "é" + strings.Repeat("a", 1023) + "é",
		"quotes":        `" rule="x`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, e := range fill(s) {
				checkHostile(t, &e)
			}
		})
	}
}

func FuzzHostileExchanges(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\n")
	f.Add("\xff\u2028\u202e\x00 \"")
	f.Fuzz(func(t *testing.T, s string) {
		for _, e := range fill(s) {
			checkHostile(t, &e)
		}
	})
}

// What is cut says so, and what just fits is not cut.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		name, path string
		want       int
		cut        bool
	}{
		{"fits", strings.Repeat("a", 2048), 2048, false},
		{"one more", strings.Repeat("a", 2049), 2048, true},
		{"a rune across", strings.Repeat("a", 2047) + "é", 2048, true},
		{"grows by an escape", strings.Repeat("a", 2047) + "\x00", 2048, true},
		{"escapes fit", strings.Repeat("\x00", 512), 2048, false},
		{"no half escapes", strings.Repeat("\x00", 513), 2047, true},
	} {
		e := request()
		e.HTTP.Path = c.path
		_, records := origin().NewLogs()
		telemetry.AppendExchangeLog(records, &e)
		value, _ := records.At(0).Attributes().Get("url.path")
		assert.Len(t, value.Str(), c.want, c.name)
		assert.Equal(t, c.cut, strings.HasSuffix(value.Str(), "…"), c.name)
		assert.Equal(t, strings.Count(value.Str(), `\`), strings.Count(value.Str(), `\x00`), c.name)
	}
}

// Many headers share what one record may take.
func TestManyValues(t *testing.T) {
	e := request()
	e.HTTP.Headers = map[string][]string{}
	for i := range 20 {
		for range 50 {
			name := fmt.Sprintf("x-%02d", i)
			e.HTTP.Headers[name] = append(e.HTTP.Headers[name], strings.Repeat("v", 100))
		}
	}
	checkHostile(t, &e)
	_, records := origin().NewLogs()
	telemetry.AppendExchangeLog(records, &e)
	first, _ := records.At(0).Attributes().Get("http.request.header.x-00")
	assert.Equal(t, 32, first.Slice().Len())
	_, last := records.At(0).Attributes().Get("http.request.header.x-19")
	assert.False(t, last, "there was no more room")
}

func TestDurationOfExchanges(t *testing.T) {
	e := request()
	assert.Equal(t, 12300*time.Microsecond, e.Duration())
	e.Answered = e.Time.Add(-time.Second) // packets out of order
	assert.Zero(t, e.Duration())
}

func BenchmarkAppendExchangeLog(b *testing.B) {
	for name, e := range exchanges() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			_, records := origin().NewLogs()
			for b.Loop() {
				if records.Len() == 512 {
					_, records = origin().NewLogs()
				}
				telemetry.AppendExchangeLog(records, &e)
			}
		})
	}
}
