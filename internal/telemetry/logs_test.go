package telemetry_test

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/telemetry"
)

func TestLogs(t *testing.T) {
	cases := map[string]func(plog.LogRecordSlice){
		"start":   appendOne(connection(telemetry.ConnectionStart)),
		"verdict": appendOne(connection(telemetry.ConnectionVerdict)),
		"update":  appendOne(connection(telemetry.ConnectionUpdate)),
		"end":     appendOne(ended()),
		"blocked": appendOne(cut()),
		"icmp":    appendOne(icmp()),
		"other":   appendOne(gre()),
		"flood":   appendOne(flood()),
		"policy": func(records plog.LogRecordSlice) {
			telemetry.AppendPolicyChange(records, &telemetry.PolicyChange{
				Time: began, Change: telemetry.PolicyLoaded, Generation: 7, Source: "policy.yaml", Detail: "12 rules",
			})
			telemetry.AppendPolicyChange(records, &telemetry.PolicyChange{
				Time: began, Change: telemetry.PolicyRefused, Source: "policy.yaml", Detail: "line 3: unknown key\nforged",
			})
		},
	}
	for name, appendTo := range cases {
		t.Run(name, func(t *testing.T) {
			logs, records := origin().NewLogs()
			appendTo(records)
			path := filepath.Join("testdata", name, "logs.yaml")
			if *update {
				require.NoError(t, golden.WriteLogsToFile(path, logs))
			}
			want, err := golden.ReadLogs(path)
			require.NoError(t, err)
			require.NoError(t, plogtest.CompareLogs(want, logs))
			// CompareLogs looks at neither.
			for i := range records.Len() {
				wanted := want.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(i)
				assert.Equal(t, wanted.EventName(), records.At(i).EventName())
				assert.Equal(t, wanted.SeverityNumber(), records.At(i).SeverityNumber())
			}
		})
	}
}

func appendOne(c telemetry.Connection) func(plog.LogRecordSlice) {
	return func(records plog.LogRecordSlice) { telemetry.AppendLog(records, &c) }
}

func TestNothingIsClaimedWithoutRules(t *testing.T) {
	_, records := origin().NewLogs()
	c := gre()
	telemetry.AppendLog(records, &c)
	record := records.At(0)
	assert.Equal(t, plog.SeverityNumberInfo, record.SeverityNumber())
	for _, name := range []string{"weir.action", "weir.reason", "security_rule.name", "security_rule.version"} {
		_, present := record.Attributes().Get(name)
		assert.False(t, present, name)
	}
}

func TestHostileInterfaceName(t *testing.T) {
	for name, want := range map[string]string{
		"eth0":           "eth0",
		"br-größe":       "br-größe",
		"a\nforged":      `a\nforged`,
		"\x1b[31mred":    `\x1b[31mred`,
		"\xff\xfe":       `\xff\xfe`,
		"rtl\u202eoht":   `rtl\u202eoht`,
		"del\x7f":        `del\x7f`,
		"tab\tand\x00no": `tab\tand\x00no`,
	} {
		c := connection(telemetry.ConnectionStart)
		c.Interface = name
		_, records := origin().NewLogs()
		telemetry.AppendLog(records, &c)
		got, _ := records.At(0).Attributes().Get("network.interface.name")
		assert.Equal(t, want, got.Str())
		assert.Contains(t, records.At(0).Body().Str(), " "+want+" ")
	}
}

// BenchmarkAppendLog measures the largest usual record, the end of a TCP
// connection with 21 attributes and a line, in batches as the receiver makes
// them.
func BenchmarkAppendLog(b *testing.B) {
	c := ended()
	b.ReportAllocs()
	_, records := origin().NewLogs()
	for b.Loop() {
		if records.Len() == 512 {
			_, records = origin().NewLogs()
		}
		telemetry.AppendLog(records, &c)
	}
}

// Whatever an interface is called, a record stays one line of valid, printable
// UTF-8.
func FuzzHostileNames(f *testing.F) {
	f.Add("eth0")
	f.Add("a\r\n\x00\xff\u2028\u202e")
	f.Fuzz(func(t *testing.T, name string) {
		c := connection(telemetry.ConnectionStart)
		c.Interface, c.Judgement.Rule = name, name
		line := c.Line()
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q", line)
		}
	})
}
