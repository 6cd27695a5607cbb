package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

// status is how Weir is. Policy is nil where nothing holds one.
type status struct {
	Health     apiclient.Health     `json:"health"`
	Policy     *policyInForce       `json:"policy,omitempty"`
	Statistics apiclient.Statistics `json:"statistics"`
}

// policyInForce is a policy without its text.
type policyInForce struct {
	apiclient.Policy
	Document string `json:"document,omitempty"`
}

func statusCommand() *cobra.Command {
	var exitCode bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell how Weir is, and which policy is in force",
		Long: `Asks a running Weir: mode, policy and where it comes from, whether it waits to be
confirmed, health, totals.

Exit codes: 0; with --exit-code 4 if its health is degraded; 1 failed; 2 usage.`,
		Args: cobra.NoArgs,
	}
	api := live(c)
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 4 if its health is degraded")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s status
		err := api.call(c, func(ctx context.Context, client *apiclient.Client) (err error) {
			s, err = statusOf(ctx, client)
			return err
		})
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			if err := printJSON(c, s); err != nil {
				return err
			}
		} else {
			s.print(c)
		}
		if exitCode && s.Health.Status != "ok" {
			return quietly(exitFound)
		}
		return nil
	}
	return c
}

func statusOf(ctx context.Context, client *apiclient.Client) (s status, err error) {
	if s.Health, err = client.Health(ctx); err != nil {
		return s, err
	}
	if s.Statistics, err = client.Statistics(ctx, url.Values{"top": {"1"}}); err != nil {
		return s, err
	}
	p, err := client.Policy(ctx)
	var problem *apiclient.Problem
	if errors.As(err, &problem) && problem.Status == http.StatusServiceUnavailable {
		return s, nil // the health says why
	}
	if err == nil {
		s.Policy = &policyInForce{Policy: p}
	}
	return s, err
}

func (s *status) print(c *cobra.Command) {
	line := func(label, format string, args ...any) {
		printLine(c, "%-12s"+format, append([]any{label}, args...)...)
	}
	if p := s.Policy; p == nil {
		line("mode", "detect, without a policy")
	} else {
		line("mode", "%s, default_action %s", p.Mode, p.DefaultAction)
		line("policy", "generation %d, %s, from %s, since %s", p.Generation, count(p.Rules, "rule"), clean(p.Source), moment(p.Loaded))
		if r := p.Returns; r != nil {
			line("", "waits to be confirmed (weirctl confirm): generation %d returns at %s", r.Generation, moment(r.At))
		}
		if n := len(p.Temporary); n > 0 {
			line("", "and %s (weirctl rules --temporary)", count(n, "temporary rule"))
		}
	}
	h := &s.Health
	line("health", "%s", h.Status)
	for _, text := range h.Problems {
		line("", "%s", clean(text))
	}
	line("weir", "%s, %s, %s", orElse(clean(h.Version), "unknown version"), count(h.Interfaces, "interface"), count(h.Subscribers, "subscriber"))
	line("connections", "%d live; %d of %d entries of the flow table", s.Statistics.Active, h.Flows, h.FlowsMost)
	// What the other mode counted is still in the counters after a change of the mode.
	prevent := s.Policy != nil && s.Policy.Mode == "prevent"
	if n := s.Statistics.Blocked; prevent || n > 0 {
		line("blocked", "%d since %s", n, moment(s.Statistics.Since))
	}
	if n := s.Statistics.WouldBlock; !prevent || n > 0 {
		line("would block", "%d since %s", n, moment(s.Statistics.Since))
	}
	var lost []string
	for _, cause := range slices.Sorted(maps.Keys(h.Lost)) {
		if n := h.Lost[cause]; n > 0 {
			lost = append(lost, fmt.Sprintf("%s %d", clean(cause), n))
		}
	}
	if len(lost) > 0 {
		line("lost", "%s", strings.Join(lost, ", "))
	}
}
