package audit

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/telemetry"
)

func TestLines(t *testing.T) {
	b := open(t)
	wouldBe := blocked(2)
	wouldBe.Judgement.Verdict, wouldBe.Judgement.Prevent = telemetry.Detected, false
	cut := blocked(3)
	cut.Kind = telemetry.ConnectionVerdict
	flood := blocked(4)
	flood.Tuple.Source, flood.Tuple.SourcePort, flood.Count = netip.Addr{}, 0, 1234
	flood.FirstSeen = flood.LastSeen.Add(-800 * time.Millisecond)
	allowed, end := blocked(5), blocked(6)
	allowed.Judgement.Verdict, allowed.Judgement.Action = telemetry.Allowed, telemetry.Allow
	end.Kind = telemetry.ConnectionEnd
	b.Connections([]telemetry.Connection{blocked(1), wouldBe, cut, flood, allowed, end})
	b.Note(began, "start", "Weir")
	b.PolicyChange(telemetry.PolicyChange{Time: began, Change: telemetry.PolicyLoaded, Generation: 8, Source: "policy.yaml", Detail: "2 rules"}, "added: b")
	b.close()
	assert.Equal(t, []string{
		"2026-05-04T03:02:01.000Z blocked   inbound  tcp 203.0.0.1:1025 → 192.0.2.2:23 eth0 rule=telnet",
		"2026-05-04T03:02:01.000Z detected  inbound  tcp 203.0.0.2:1026 → 192.0.2.2:23 eth0 would block rule=telnet",
		"2026-05-04T03:02:01.000Z verdict   inbound  tcp 203.0.0.3:1027 → 192.0.2.2:23 eth0 now blocked rule=telnet",
		"2026-05-04T03:02:01.000Z blocked   inbound  tcp any → 192.0.2.2:23 eth0 rule=telnet ×1234 in 800ms",
		"2026-05-04T03:02:01.000Z start     Weir",
		"2026-05-04T03:02:01.000Z policy    loaded generation 8 from policy.yaml: 2 rules; added: b",
	}, b.lines())
	counts := b.Counts()
	assert.EqualValues(t, 7, counts.Lines)
	all := b.allLines()
	assert.Regexp(t, `Z stop      test$`, all[len(all)-1])
	assert.EqualValues(t, 1237, counts.Connections)
	assert.Equal(t, counts.Connections, b.sum())
}

func TestExchanges(t *testing.T) {
	of := func(x telemetry.Exchange) telemetry.Exchange {
		c := blocked(1)
		x.Time, x.Judgement = c.Time, c.Judgement
		x.Connection = telemetry.ConnectionRef{Tuple: c.Tuple, Direction: c.Direction, Interface: c.Interface}
		return x
	}
	passed := of(telemetry.Exchange{Kind: telemetry.HTTPRequest, HTTP: &telemetry.HTTPExchange{}})
	passed.Judgement.Verdict, passed.Judgement.Action = telemetry.Allowed, telemetry.Allow
	b := open(t)
	b.Exchanges([]telemetry.Exchange{
		of(telemetry.Exchange{Kind: telemetry.HTTPRequest, Protocol: "http", HTTP: &telemetry.HTTPExchange{
			Method: "GET", Host: "example.com", Path: "/a b\n2026 blocked", Query: "token=secret", HasQuery: true,
		}}),
		of(telemetry.Exchange{Kind: telemetry.TLSHandshake, Protocol: "quic", TLS: &telemetry.TLSExchange{ServerName: "x.example", Version: "1.3"}}),
		of(telemetry.Exchange{Kind: telemetry.DNSQuery, Protocol: "dns", DNS: &telemetry.DNSExchange{Name: "a\x1b[2J.zip", Type: "A"}}),
		of(telemetry.Exchange{Kind: telemetry.SSHHandshake, Protocol: "ssh", Problem: "cut\noff", SSH: &telemetry.SSHExchange{ClientSoftware: "OpenSSH_9"}}),
		passed,
	})
	b.close()
	const what = "blocked   inbound  tcp 203.0.0.1:1025 → 192.0.2.2:23 eth0 rule=telnet "
	assert.Equal(t, []string{
		"2026-05-04T03:02:01.000Z http      " + what + `"GET" "example.com/a b\n2026 blocked"`,
		"2026-05-04T03:02:01.000Z tls       " + what + `"x.example" quic 1.3`,
		"2026-05-04T03:02:01.000Z dns       " + what + `"A" "a\x1b[2J.zip"`,
		"2026-05-04T03:02:01.000Z ssh       " + what + `"OpenSSH_9" (cut; off)`,
	}, b.lines())
	counts := b.Counts()
	assert.EqualValues(t, 4, counts.Exchanges)
	assert.Zero(t, counts.Connections, "they are not counted as connections")
}

// Whatever is in a name, it is one line, and begins with its time.
func TestNothingForgesLines(t *testing.T) {
	const hostile = "x\n2026-05-04T03:02:01.000Z blocked inbound\r\x1b[1A\u2028\u202e\xff\x00"
	b := open(t)
	c := blocked(1)
	c.Interface, c.Judgement.Rule = hostile, hostile
	b.Connections([]telemetry.Connection{c})
	b.Note(began, "call", hostile)
	b.PolicyChange(telemetry.PolicyChange{Time: began, Change: telemetry.PolicyRefused, Source: hostile, Detail: hostile}, hostile)
	b.Note(began, "call", strings.Repeat("ä", 3000))
	b.close()
	lines := b.lines()
	require.Len(t, lines, 4)
	for _, l := range lines {
		assert.True(t, strings.HasPrefix(l, "2026-05-04T03:02:01.000Z "), l)
		assert.LessOrEqual(t, len(l), maxLine)
		for _, r := range l {
			assert.True(t, r >= ' ' && r != 0x7f && r != '\u2028' && r != '\u202e' && r != '\ufffd', "%q in %s", r, l)
		}
	}
	assert.True(t, strings.HasSuffix(lines[3], "ä…"))
}

// A flood takes a bounded number of lines, and none of it is missing.
func TestFloodIsFoldedExactly(t *testing.T) {
	b := open(t, func(c *Config) { c.LinesPerSecond = 50 })
	const total = 200_000
	start := time.Now()
	records := manyBlocked(0, total)
	for i := range records {
		switch {
		case i%3 == 0: // one source: it stays told apart
			records[i].Tuple.Source = netip.MustParseAddr("198.51.100.1")
		case i%5 == 0:
			records[i].Tuple.DestinationPort = uint16(i)
		case i%7 == 0:
			records[i].Judgement.Rule = "rule-" + string(rune('a'+i%26)) + strings.Repeat("x", i%40)
		}
	}
	for i := 0; i < total; i += 1000 {
		b.Connections(records[i : i+1000])
	}
	took := time.Since(start)
	b.close()
	counts := b.Counts()
	assert.EqualValues(t, total, counts.Connections)
	assert.EqualValues(t, total, b.sum())
	assert.Empty(t, counts.Lost)
	perSecond := uint64(50 + 3*64 + 4)
	assert.LessOrEqual(t, counts.Lines, perSecond*uint64(took/time.Second+3))
	assert.Positive(t, counts.Folded["rate"])
	var one uint64
	for _, l := range b.lines() {
		if strings.Contains(l, "198.51.100.1:any") {
			one += connectionsIn(t, l)
		}
	}
	assert.GreaterOrEqual(t, one, uint64(total/3-500), "the one source has a count of its own")
	t.Logf("%d connections in %v: %d lines", total, took, counts.Lines)
}

// A fold that stays with one record is told as it is.
func TestFoldOfOne(t *testing.T) {
	b := open(t, func(c *Config) { c.LinesPerSecond = 1 })
	b.Connections(manyBlocked(1, 2))
	b.close()
	assert.Contains(t, b.lines()[1], "tcp 203.0.0.2:1026 → 192.0.2.2:23 eth0 rule=telnet")
	assert.NotContains(t, b.lines()[1], "×")
}

func TestAfterTheEnd(t *testing.T) {
	b := open(t)
	b.close()
	b.Connections(manyBlocked(0, 3))
	b.Note(began, "call", "late")
	counts := b.Counts()
	assert.Equal(t, map[string]uint64{"shutdown": 4}, counts.Lost)
	assert.EqualValues(t, 3, counts.LostConnections)
	b.close()
}

func BenchmarkConnections(b *testing.B) {
	l := Open(Config{Path: b.TempDir() + "/log/audit.log", MaxSize: 1 << 30, LinesPerSecond: 200}, func(error) {})
	defer l.Close(b.Context(), "test")
	records := manyBlocked(0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		l.Connections(records)
	}
	b.ReportMetric(float64(b.N)*1024/b.Elapsed().Seconds(), "connections/s")
}
