package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

const samplePath = "testdata/connections.json"

// TestSample keeps the log records that the transcripts and the documentation make a
// policy of what this code makes.
func TestSample(t *testing.T) {
	want := sampleLogs(t)
	if *update {
		if err := os.WriteFile(samplePath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(samplePath); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: the file is not what its code makes; go test ./cmd/weirctl -run TestSample -update writes it", err)
	}
}

// sampleRecorder writes the records of a server: a line for each ten.
type sampleRecorder struct {
	lines bytes.Buffer
	logs  plog.Logs
	at    time.Time
	id    uint64
}

func (r *sampleRecorder) records() plog.LogRecordSlice {
	return r.logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
}

func (r *sampleRecorder) begin() {
	r.logs = plog.NewLogs()
	r.logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().Scope().SetName("github.com/weirnet/weir/receiver/ebpfconnectionreceiver")
}

func (r *sampleRecorder) flush(t *testing.T) {
	var m plog.JSONMarshaler
	line, err := m.MarshalLogs(r.logs)
	if err != nil {
		t.Fatal(err)
	}
	r.lines.Write(append(line, '\n'))
	r.begin()
}

// connection records the start and the end of one; name is what it said.
func (r *sampleRecorder) connection(direction packet.Direction, protocol uint8, source, destination string, name string, change func(*telemetry.Connection)) {
	from, to := netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)
	r.id++
	r.at = r.at.Add(7 * time.Second)
	c := telemetry.Connection{
		Kind: telemetry.ConnectionStart, Time: r.at, Observed: r.at, ID: r.id, Direction: direction, Interface: "eth0", Count: 1,
		Tuple:     packet.Tuple{Source: from.Addr(), SourcePort: from.Port(), Destination: to.Addr(), DestinationPort: to.Port(), Protocol: protocol},
		Judgement: telemetry.Judgement{Verdict: telemetry.Detected}, FirstSeen: r.at, LastSeen: r.at,
		Source: telemetry.Counts{Packets: 6, Bytes: 800}, Destination: telemetry.Counts{Packets: 5, Bytes: 4000}, End: telemetry.EndFIN,
	}
	if change != nil {
		change(&c)
	}
	telemetry.AppendLog(r.records(), &c)
	if name != "" {
		l := r.records().AppendEmpty()
		r.records().At(r.records().Len() - 2).CopyTo(l)
		l.SetEventName("weir.tls.handshake")
		l.SetTimestamp(pcommon.NewTimestampFromTime(r.at.Add(time.Millisecond)))
		l.Attributes().PutStr("weir.tls.server_name", name)
	}
	c.Kind, c.Time, c.LastSeen = telemetry.ConnectionEnd, r.at.Add(time.Second), r.at.Add(time.Second)
	telemetry.AppendLog(r.records(), &c)
}

func sampleLogs(t *testing.T) []byte {
	const tcp, udp = packet.TCP, packet.UDP
	in, out := packet.Inbound, packet.Outbound
	r := &sampleRecorder{at: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)}
	r.begin()
	change := telemetry.PolicyChange{Time: r.at, Change: telemetry.PolicyLoaded, Generation: 1, Source: "policy.yaml", Detail: "no rules"}
	telemetry.AppendPolicyChange(r.records(), &change)
	for i := range 12 {
		r.connection(in, tcp, fmt.Sprintf("203.0.113.%d:%d", 10+7*i, 40000+i), "192.0.2.20:443", "", nil)
		r.connection(out, udp, fmt.Sprintf("192.0.2.20:%d", 50000+i), "192.0.2.53:53", "", nil)
		r.connection(out, tcp, fmt.Sprintf("192.0.2.20:%d", 51000+i), "198.51.100.7:443", "deb.debian.org", nil)
	}
	r.flush(t)
	for i := range 10 {
		r.connection(out, tcp, fmt.Sprintf("192.0.2.20:%d", 52000+i), fmt.Sprintf("198.51.100.%d:443", 30+i), fmt.Sprintf("shard%d.metrics.example.net", i), nil)
		r.connection(in, tcp, fmt.Sprintf("192.0.2.%d:%d", 128+i, 42000+i), "192.0.2.20:22", "", nil)
	}
	r.connection(out, tcp, "192.0.2.20:53000", "192.0.2.53:53", "", nil)
	r.connection(out, tcp, "192.0.2.20:53001", "198.51.100.60:5432", "", nil)
	r.flush(t)
	for port := range 5 {
		r.connection(in, tcp, "203.0.113.99:61002", fmt.Sprintf("192.0.2.20:%d", 20+port), "", func(c *telemetry.Connection) {
			c.Destination, c.End = telemetry.Counts{Packets: 1, Bytes: 40}, telemetry.EndRST
		})
	}
	r.connection(in, tcp, "203.0.113.99:61003", "192.0.2.20:23", "", func(c *telemetry.Connection) {
		c.Judgement = telemetry.Judgement{Verdict: telemetry.Blocked, Action: telemetry.Block, Reason: telemetry.ReasonDefault, Prevent: true}
	})
	r.connection(out, udp, "192.0.2.20:68", "192.0.2.1:67", "", func(c *telemetry.Connection) {
		c.Judgement.Reason, c.Judgement.Action = telemetry.ReasonSafeguard, telemetry.Allow
	})
	r.connection(in, tcp, "203.0.113.99:1", "192.0.2.20:80", "", func(c *telemetry.Connection) {
		c.Count, c.Tuple.Source, c.Tuple.SourcePort = 4000, netip.Addr{}, 0
	})
	r.flush(t)
	return r.lines.Bytes()
}

func TestSuggestRefusesLines(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"no JSON":   {"detected outbound tcp\n", "standard input:1: the line is no OTLP JSON"},
		"cut":       {`{"resourceLogs":[]}` + "\n\n" + `{"resourceLogs":[{`, "standard input:3: the line is no OTLP JSON"},
		"long line": {strings.Repeat(" ", maxLine+1), "read line 1 of standard input: bufio.Scanner: token too long"},
		"escapes":   {"\x1b[2J\n", "no OTLP JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			if code := run([]string{"suggest", "-"}, strings.NewReader(tt.in), &out, &complaints, nil); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(complaints.String(), tt.want) || strings.Contains(complaints.String(), "\x1b") || out.Len() > 0 {
				t.Errorf("complains %q, prints %q", complaints.String(), out.String())
			}
		})
	}
}
