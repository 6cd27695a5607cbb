package connectiontextencodingextension

import (
	"context"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/encoding"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/plog"
)

var _ encoding.LogsMarshalerExtension = textEncoding{}

// textEncoding writes bodies of log records as lines.
type textEncoding struct{}

func (textEncoding) Start(context.Context, component.Host) error { return nil }

func (textEncoding) Shutdown(context.Context) error { return nil }

// MarshalLogs returns a line for each record, in their order. There is no line
// break after the last one: those who write to files, such as the file exporter,
// end each of their writes with one.
func (textEncoding) MarshalLogs(logs plog.Logs) ([]byte, error) {
	var out []byte
	first := true
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				if !first {
					out = append(out, '\n')
				}
				first = false
				out = appendEscaped(out, record.Body().AsString())
			}
		}
	}
	return out, nil
}
