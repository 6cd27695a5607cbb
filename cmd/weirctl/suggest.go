package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/suggest"
	"github.com/weirnet/weir/internal/telemetry"
)

func suggestCommand() *cobra.Command {
	config := suggest.DefaultConfig()
	var mode string
	var host []string
	var withBlocked, withRefused bool
	c := &cobra.Command{
		Use:   "suggest FILE...",
		Short: "Make a policy of connections that were seen",
		Long: `Writes the least policy that allows the connections of some files, with the
evidence as comments. Each file is a capture (pcap or pcapng), or has log records of
Weir in lines of OTLP JSON, as the file exporter writes them; "-" is standard input
with such lines.

Connections are grouped by direction, service and ends. Names count where the
connection said one, addresses elsewhere; ports of clients are left out. Addresses
become a prefix only where it is dense. What is wider than what was seen has a
comment that says so. Left out, and counted, are connections that were blocked, TCP
that nobody answered or that was refused, such as scans, floods that were told
together, and what the safeguards allow.

Read it before you put it in force: what was seen is not all that is needed, and not
all of it may be wanted.`,
		Example: `  weirctl suggest connections.json > policy.yaml
  weirctl suggest traffic.pcapng --host 192.0.2.20 --host 2001:db8::20`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			prefixes, err := parsePrefixes(host)
			if err != nil {
				return err
			}
			switch mode {
			case "detect":
			case "prevent":
				config.Mode = policy.Prevent
			default:
				return fmt.Errorf("--mode %q is not known; accepted: detect, prevent", mode)
			}
			if config.MaxRules < 10 || config.MaxAddresses < 1 || config.MaxPorts < 1 || config.MaxSiblings < 1 {
				return errors.New("the bounds are too low; accepted: --max-rules from 10, --max-addresses, --max-ports and --max-siblings from 1")
			}
			s := suggest.New(config)
			r := &records{to: &suggest.Recorder{To: s}, suggestion: s, withBlocked: withBlocked, withRefused: withRefused}
			for _, file := range files {
				isCapture, err := looksLikeCapture(file)
				switch {
				case err != nil:
				case isCapture:
					err = replay(c, file, nil, prefixes, engine.Sink{Connections: r.captured, Exchanges: r.said})
				default:
					err = r.readFile(c, file)
				}
				if err != nil {
					return failedWith(err)
				}
			}
			r.to.Flush()
			if r.other > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "warning: passed over %s that Weir did not write\n", count(r.other, "log record"))
			}
			text, err := s.YAML()
			if err != nil {
				return failedWith(err)
			}
			_, err = c.OutOrStdout().Write(text)
			return failedWith(err)
		},
	}
	f := c.Flags()
	f.StringVar(&mode, "mode", "detect", "mode of the policy: detect, prevent")
	f.StringSliceVar(&host, "host", nil, "address or prefix of the host that recorded a capture; may be given again")
	f.BoolVar(&withBlocked, "blocked", false, "allow also what was blocked")
	f.BoolVar(&withRefused, "refused", false, "allow also what nobody answered, or was refused")
	f.IntVar(&config.MaxRules, "max-rules", config.MaxRules, "rules; beyond it, the rarest are joined")
	f.IntVar(&config.MaxAddresses, "max-addresses", config.MaxAddresses, "addresses and prefixes in a rule; beyond it, any will do")
	f.IntVar(&config.MaxPorts, "max-ports", config.MaxPorts, "ports and ranges in a rule; beyond it, the nearest are joined")
	f.IntVar(&config.MaxSiblings, "max-siblings", config.MaxSiblings, "names of one parent in a rule; beyond it, * is written")
	complete(c, "mode", "detect", "prevent")
	return c
}

// looksLikeCapture tells a capture, which may be compressed, from lines of JSON.
func looksLikeCapture(path string) (bool, error) {
	if path == "-" {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	// A section of pcapng begins with line ends, to find out who changes these.
	if string(head) == "\n\r\r\n" {
		return true, nil
	}
	text := bytes.TrimLeft(head[:n], " \t\r\n")
	return len(text) > 0 && text[0] != '{', nil
}

// records turns records into what was seen.
type records struct {
	to          *suggest.Recorder
	suggestion  *suggest.Suggestion
	withBlocked bool
	withRefused bool
	other       int
}

// captured takes the records of a replay.
func (r *records) captured(all []telemetry.Connection) {
	logs := plog.NewLogRecordSlice()
	for i := range all {
		telemetry.AppendLog(logs, &all[i])
	}
	r.take(logs)
}

// said takes the requests, handshakes and queries of a replay.
func (r *records) said(all []telemetry.Exchange) {
	logs := plog.NewLogRecordSlice()
	for i := range all {
		telemetry.AppendExchangeLog(logs, &all[i])
	}
	r.take(logs)
}

func (r *records) take(logs plog.LogRecordSlice) {
	for _, record := range logs.All() {
		switch l, ok := telemetry.ReadLog(record); {
		case ok:
			r.logged(&l)
		case record.EventName() != telemetry.PolicyChangeEvent:
			r.other++
		}
	}
}

func (r *records) logged(l *telemetry.Logged) {
	ends := l.Event == telemetry.ConnectionEnd.EventName()
	starts := l.Event == telemetry.ConnectionStart.EventName()
	switch {
	case l.Folded():
		if starts {
			r.suggestion.LeaveOut("told together, since they were many that nobody answered", l.Count)
		}
		return
	case l.Verdict == telemetry.Blocked.String() && !r.withBlocked:
		r.to.Forget(l.ID)
		if ends {
			r.suggestion.LeaveOut("blocked", 1)
		}
		return
	case l.Refused() && !r.withRefused:
		r.to.Forget(l.ID)
		r.suggestion.LeaveOut("of TCP that nobody answered, or that were refused", 1)
		return
	case l.Reason == telemetry.ReasonSafeguard.String():
		if starts {
			r.suggestion.LeaveOut("allowed by the safeguards", 1)
		}
		return
	case !l.Tuple.Source.IsValid() || !l.Tuple.Destination.IsValid():
		r.other++
		return
	}
	s := suggest.Seen{Direction: l.Direction, Tuple: l.Tuple, Name: l.Name, First: l.Time, Last: l.Time, Count: 1}
	switch l.Event {
	case "weir.tls.handshake", "weir.http.request":
		r.to.Named(l.ID, s)
		if l.Tunnel {
			// What is spoken inside has no name, or one of its own.
			s.Name = ""
			r.to.Named(l.ID, s)
		}
	case telemetry.ConnectionStart.EventName(), telemetry.ConnectionVerdict.EventName(),
		telemetry.ConnectionUpdate.EventName(), telemetry.ConnectionEnd.EventName():
		s.Name = ""
		r.to.Connection(l.ID, s, ends)
	}
}

// maxLine bounds a line in bytes: the file exporter writes a batch to each.
const maxLine = 64 << 20

// readFile reads lines of OTLP JSON.
func (r *records) readFile(c *cobra.Command, path string) error {
	in, name := c.InOrStdin(), "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in, name = f, path
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var unmarshaler plog.JSONUnmarshaler
	n := 0
	for lines.Scan() {
		n++
		if len(lines.Bytes()) == 0 {
			continue
		}
		logs, err := unmarshaler.UnmarshalLogs(lines.Bytes())
		if err != nil {
			return fmt.Errorf("%s:%d: the line is no OTLP JSON with logs: %s; accepted: a capture, or what the file exporter writes in format json", name, n, clean(err.Error()))
		}
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				r.take(scope.LogRecords())
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read line %d of %s: %w", n+1, name, err)
	}
	return nil
}
