// Package journal follows what OpenSSH's server says in the systemd journal.
package journal

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/entry"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator/helper"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator/input/journald"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/sshlog"
)

// Journal follows what sshd says in the systemd journal. Of an entry it believes who
// wrote it by the fields that journald itself adds, which no client can
// (systemd.journal-fields(7), "trusted").
type Journal struct {
	input operator.Operator
	// servers are the executables that are sshd.
	servers map[string]bool
	take    func(sshlog.Entry)
}

// Follow begins, with what is written from now on. take is called with each login,
// one at a time; it must not block. journalctl is the program of that name.
func Follow(journalctl string, servers []string, take func(sshlog.Entry), log *zap.Logger) (*Journal, error) {
	path, err := exec.LookPath(journalctl)
	if err != nil {
		return nil, fmt.Errorf("follow the journal: %w", err)
	}
	settings := component.TelemetrySettings{
		Logger: log, MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(), Resource: pcommon.NewResource(),
	}
	j := &Journal{servers: map[string]bool{}, take: take}
	c := journald.NewConfig()
	c.JournalctlPath, c.Priority = path, "debug"
	for _, server := range servers {
		j.servers[server] = true
		c.Matches = append(c.Matches, journald.MatchConfig{"_UID": "0", "_EXE": server})
	}
	if j.input, err = c.Build(settings); err != nil {
		return nil, fmt.Errorf("follow the journal: %w", err)
	}
	output, err := helper.NewOutputConfig("logins", "logins").Build(settings)
	if err != nil {
		return nil, fmt.Errorf("follow the journal: %w", err)
	}
	to := &sink{OutputOperator: output, read: j.read}
	j.input.SetOutputIDs([]string{to.ID()})
	if err := j.input.SetOutputs([]operator.Operator{to}); err != nil {
		return nil, fmt.Errorf("follow the journal: %w", err)
	}
	if err := j.input.Start(nowhere{}); err != nil {
		return nil, fmt.Errorf("follow the journal: %w", err)
	}
	return j, nil
}

// Stop ends it.
func (j *Journal) Stop() error { return j.input.Stop() }

// read tells of a login where the entry is sshd's message of one.
func (j *Journal) read(e *entry.Entry) {
	fields, ok := e.Body.(map[string]any)
	if !ok {
		return
	}
	text := func(name string) string { s, _ := fields[name].(string); return s }
	// journalctl has been asked for no others.
	if text("_UID") != "0" || !j.servers[text("_EXE")] {
		return
	}
	if login, ok := sshlog.Parse([]byte(text("MESSAGE"))); ok {
		j.take(sshlog.Entry{Login: login, Time: e.Timestamp})
	}
}

// sink is what stanza's input hands its entries to.
type sink struct {
	helper.OutputOperator
	read func(*entry.Entry)
}

var _ operator.Operator = (*sink)(nil)

// Process takes an entry.
func (s *sink) Process(_ context.Context, e *entry.Entry) error {
	s.read(e)
	return nil
}

// ProcessBatch takes entries.
func (s *sink) ProcessBatch(_ context.Context, entries []*entry.Entry) error {
	for _, e := range entries {
		s.read(e)
	}
	return nil
}

// nowhere keeps no place in the journal: a login of an earlier process is not asked for.
type nowhere struct{}

var _ operator.Persister = nowhere{}

func (nowhere) Get(context.Context, string) ([]byte, error)        { return nil, nil }
func (nowhere) Set(context.Context, string, []byte) error          { return nil }
func (nowhere) Delete(context.Context, string) error               { return nil }
func (nowhere) Batch(context.Context, ...*storage.Operation) error { return nil }
