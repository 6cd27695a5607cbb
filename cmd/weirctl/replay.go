package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirnet/weir/internal/engine"
	"github.com/weirnet/weir/internal/policy"
)

func replayCommand() *cobra.Command {
	var file, show string
	var host []string
	var exitCode bool
	c := &cobra.Command{
		Use:   "replay FILE --policy POLICY",
		Short: "Tell what a policy would do to recorded traffic",
		Long: `Replays a pcap or pcapng file, compressed with gzip or not, under a policy: a line
for each event (connections, HTTP requests, TLS and SSH handshakes, DNS queries), and a
summary of connections by the rule that decided them. Nothing is enforced.

A capture does not tell which addresses are the host's. Without --host all
connections are forwarded, and rules with another direction match none.

Exit codes: 0; with --exit-code 4 if a connection would be blocked; 1 failed.`,
		Example: `  weirctl replay traffic.pcapng --policy policy.yaml --host 192.0.2.20 --host 2001:db8::20
  weirctl replay traffic.pcapng --policy policy.yaml --show blocked --exit-code`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			prefixes, err := parsePrefixes(host)
			if err != nil {
				return err
			}
			if show != "all" && show != "blocked" && show != "none" {
				return fmt.Errorf("--show %q is not known; accepted: all, blocked, none", show)
			}
			p, err := load(c, file)
			if err != nil {
				return err
			}
			r := &replayReport{c: c, show: show, json: wantsJSON(c), byRule: map[summaryKey]uint64{}}
			if err := replay(c, files[0], p, prefixes, engine.Sink{Connections: r.take, Exchanges: r.takeSaid}); err != nil {
				return failedWith(err)
			}
			if err := r.summary(); err != nil {
				return err
			}
			if exitCode && r.blocked+r.saidBlocked > 0 {
				return quietly(exitFound)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "policy", "", "the policy; - is standard input")
	c.Flags().StringVar(&show, "show", "all", "which lines: all, blocked, none")
	c.Flags().StringSliceVar(&host, "host", nil, "address or prefix of the host that recorded the file; may be given again")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 4 if a connection would be blocked")
	_ = c.MarkFlagRequired("policy") // it exists
	complete(c, "show", "all", "blocked", "none")
	return c
}

func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--host %q is not an address; accepted: an address or a prefix 192.0.2.0/24", text)
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}

// The table and the idle times are those that the receiver has by default.
const replayEntries = 1 << 20

var replayTimeouts = engine.Timeouts{TCP: 120 * time.Hour, TCPClosing: 2 * time.Minute, UDP: time.Minute, ICMP: 10 * time.Second}

// replay hands all records of a capture to a sink. p may be nil.
func replay(c *cobra.Command, path string, p *policy.Policy, host []netip.Prefix, sink engine.Sink) error {
	ended := make(chan error, 1)
	r, err := engine.NewReplay(engine.ReplayConfig{
		Path: path, MaxEntries: replayEntries, Timeouts: replayTimeouts, Host: host,
		Inspect: engine.InspectConfig{Report: engine.Report{HTTP: true, TLS: true, DNS: true, SSH: true}},
		OnEnd:   func(err error) { ended <- err },
	}, warnings(c))
	if err != nil {
		return err
	}
	if p != nil {
		if err := r.Apply(0, p, nil); err != nil {
			return err
		}
	}
	if err := r.Start(sink); err != nil {
		return err
	}
	err = <-ended
	if closing := r.Shutdown(context.Background()); err == nil {
		err = closing
	}
	return err
}

// warnings writes the warnings of the engine to standard error; what it could not
// do is an error of the command.
func warnings(c *cobra.Command) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		MessageKey: "message", LevelKey: "level", EncodeLevel: func(_ zapcore.Level, to zapcore.PrimitiveArrayEncoder) { to.AppendString("warning:") },
		EncodeDuration: zapcore.StringDurationEncoder, ConsoleSeparator: " ", LineEnding: "\n",
	})
	only := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l == zapcore.WarnLevel })
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(c.ErrOrStderr()), only))
}
