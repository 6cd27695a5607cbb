package connectiontextencodingextension

import (
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/encoding"
	"github.com/weirnet/weir/extension/connectiontextencodingextension/internal/metadata"
)

func newMarshaler(t *testing.T) encoding.LogsMarshalerExtension {
	t.Helper()
	factory := NewFactory()
	ext, err := factory.Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), factory.CreateDefaultConfig())
	require.NoError(t, err)
	marshaler, ok := ext.(encoding.LogsMarshalerExtension)
	require.True(t, ok, "the file exporter looks for plog.Marshaler")
	return marshaler
}

func logsOf(bodies ...string) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, body := range bodies {
		records.AppendEmpty().Body().SetStr(body)
	}
	return logs
}

func TestMarshalLogs(t *testing.T) {
	tests := []struct {
		name   string
		bodies []string
		want   string
	}{
		{"nothing", nil, ""},
		{"one record", []string{"tcp 192.0.2.1:4711 → 203.0.113.5:443 allowed"}, "tcp 192.0.2.1:4711 → 203.0.113.5:443 allowed"},
		{"records are lines", []string{"a", "b", "c"}, "a\nb\nc"},
		{"an empty body keeps its line", []string{"", "b", ""}, "\nb\n"},
		{"line breaks", []string{"a\nb\r\nc"}, `a\nb\r\nc`},
		{"other line separators", []string{"a\u2028b\u2029c\u0085d\vé"}, `a\u2028b\u2029c\u0085d\vé`},
		{"terminal escape", []string{"\x1b]0;title\a\x1b[2J"}, `\x1b]0;title\a\x1b[2J`},
		{"C1 control sequence introducer", []string{"\u009b31m"}, `\u009b31m`},
		{"bytes that are no UTF-8", []string{"a\x9b\xffb"}, `a\x9b\xffb`},
		{"direction override", []string{"evil\u202egnp.exe"}, `evil\u202egnp.exe`},
		{"zero width", []string{"exa\u200bmple"}, `exa\u200bmple`},
		{"backslash", []string{`\x1b`}, `\\x1b`},
		{"quotes stay", []string{`"GET" 'x'`}, `"GET" 'x'`},
		{"NUL and DEL", []string{"\x00\x7f"}, `\x00\x7f`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := newMarshaler(t).MarshalLogs(logsOf(tt.bodies...))
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(got))
		})
	}
}

func TestMarshalLogsOfSeveralScopes(t *testing.T) {
	logs := logsOf("a")
	logsOf("b").ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	logs.ResourceLogs().At(0).ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetInt(7)

	got, err := newMarshaler(t).MarshalLogs(logs)
	require.NoError(t, err)
	assert.Equal(t, "a\n7\nb", string(got))
}

func FuzzAppendEscaped(f *testing.F) {
	f.Add("GET /\x1b[31m\\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendEscaped(nil, s))
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("%q has something unprintable at %d", got, i)
		}
		back, err := strconv.Unquote(`"` + strings.ReplaceAll(got, `"`, `\"`) + `"`)
		if err != nil || back != s {
			t.Fatalf("%q became %q: %v", s, got, err)
		}
	})
}
