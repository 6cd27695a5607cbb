package connectionapiextension

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

var errNoPolicy = errors.New("no extension holds a policy")

// document is the policy in force.
func (a *api) document() (connectionpolicyextension.Document, error) {
	if a.policies == nil {
		return connectionpolicyextension.Document{}, errNoPolicy
	}
	return a.policies.Document()
}

func (a *api) getPolicy(w http.ResponseWriter, r *http.Request) error {
	d, err := a.document()
	if err != nil {
		return err
	}
	w.Header().Set("ETag", strconv.Quote(d.ETag))
	if r.Header.Get("If-None-Match") == strconv.Quote(d.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if accept := r.Header.Get("Accept"); strings.Contains(accept, "yaml") {
		w.Header().Set("Content-Type", "application/yaml")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(d.Content)
		return nil
	}
	told := apiclient.Policy{
		Generation: d.Number, Mode: d.Policy.Mode.String(), DefaultAction: d.Policy.DefaultAction.String(),
		Source: d.Source, Writable: d.Writable, Loaded: d.Loaded, ETag: d.ETag,
		Rules: len(d.Policy.Rules), Temporary: temporaryRules(d.Temporary), Document: string(d.Content),
	}
	for i := range d.Policy.Rules {
		if isTemporary(&d.Policy.Rules[i]) {
			told.Rules--
		}
	}
	if d.Return != nil {
		told.Returns = &apiclient.Return{Generation: d.Return.To, At: d.Returns}
	}
	return answer(w, told)
}

func isTemporary(r *policy.Rule) bool {
	return strings.HasPrefix(r.Name, connectionpolicyextension.TemporaryPrefix)
}

func (a *api) putPolicy(w http.ResponseWriter, r *http.Request) error {
	if a.policies == nil {
		return errNoPolicy
	}
	change, err := readReplacement(r)
	if err != nil {
		return err
	}
	select { // a policy takes many times its size in memory while it is read
	case a.writing <- struct{}{}:
		defer func() { <-a.writing }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	var body bytes.Buffer
	if _, err := io.Copy(&body, r.Body); err != nil {
		return bodyError(err)
	}
	change.Content = body.Bytes()
	done, err := a.policies.Replace(change)
	if err != nil {
		return err
	}
	told := apiclient.Replaced{
		Generation: done.Generation, ETag: done.ETag, DryRun: change.DryRun, Returns: done.Returns,
		Warnings: []string{}, Changes: []string{}, Cuts: []string{},
	}
	for _, warning := range done.Warnings {
		told.Warnings = append(told.Warnings, warning.String())
	}
	if lines := done.Changes.Lines(); len(lines) > 0 {
		told.Changes = lines
	}
	if change.DryRun {
		a.cuts(&told, done.Policy)
	}
	w.Header().Set("ETag", strconv.Quote(done.ETag))
	return answer(w, told)
}

// readReplacement reads what stands beside the body.
func readReplacement(r *http.Request) (change connectionpolicyextension.Replacement, err error) {
	query := r.URL.Query()
	if query.Has("dry_run") {
		if change.DryRun, err = strconv.ParseBool(query.Get("dry_run")); err != nil {
			return change, badRequest("dry_run: %.100q is not accepted; accepted are true, false", query.Get("dry_run"))
		}
	}
	if change.ConfirmWithin, err = duration(query.Get("confirm_within"), 0, time.Second, 24*time.Hour); err != nil {
		return change, badRequest("confirm_within: %v", err)
	}
	match := r.Header.Get("If-Match")
	switch {
	case match == "" && !change.DryRun:
		return change, &callError{
			http.StatusPreconditionRequired,
			`If-Match is missing: accepted is the ETag of the policy that is to be replaced, or * for whichever it is`, nil,
		}
	case match != "" && match != "*":
		if change.IfMatch, err = strconv.Unquote(match); err != nil || change.IfMatch == "" {
			return change, badRequest("If-Match: %.100q is not accepted; accepted is an ETag in double quotes, or *", match)
		}
	}
	return change, nil
}

// mostCuts is how many connections are named that a policy would cut.
const mostCuts = 20

// cuts finds the live connections that a policy would block.
func (a *api) cuts(told *apiclient.Replaced, p *policy.Policy) {
	engine, err := a.engines.get()
	if err != nil || p.Mode != policy.Prevent {
		return
	}
	now := a.now()
	engine.Connections(func(c *telemetry.Connection) bool {
		if c.Judgement.Verdict != telemetry.Blocked && p.Walk(factsOf(c, now)).Action == policy.Block {
			if told.CutCount++; len(told.Cuts) < mostCuts {
				live := *c
				live.Kind = telemetry.ConnectionStart // with its verdict
				told.Cuts = append(told.Cuts, live.Line())
			}
		}
		return true
	}) // without the engine there is nothing to tell
}

// factsOf are those that the kernel's entry has. What the entry does not have, and only
// safeguards ask for, was so if such a one decided.
func factsOf(c *telemetry.Connection, now time.Time) *policy.Facts {
	bySafeguard := c.Judgement.Reason == telemetry.ReasonSafeguard
	f := &policy.Facts{
		Direction: policy.DirectionSet(1) << (c.Direction - 1), Protocol: c.Tuple.Protocol,
		Source: c.Tuple.Source, SourcePort: c.Tuple.SourcePort,
		Destination: c.Tuple.Destination, DestinationPort: c.Tuple.DestinationPort,
		ICMPType: c.Tuple.ICMPType, ICMPCode: c.Tuple.ICMPCode,
		Now: now, Age: now.Sub(c.FirstSeen), Kept: true,
		Loopback: bySafeguard, OwnSocket: bySafeguard, QuotesAllowed: bySafeguard,
	}
	if bySafeguard {
		f.HopLimit = 255
	}
	return f
}

func (a *api) confirmPolicy(w http.ResponseWriter, r *http.Request) error {
	return a.settle(w, r, policyHolder.Confirm)
}

func (a *api) rollBackPolicy(w http.ResponseWriter, r *http.Request) error {
	return a.settle(w, r, policyHolder.RollBack)
}

func (a *api) settle(w http.ResponseWriter, r *http.Request, call func(policyHolder, string) (uint64, error)) error {
	if a.policies == nil {
		return errNoPolicy
	}
	n, err := call(a.policies, caller(r))
	if err != nil {
		return err
	}
	return answer(w, apiclient.Generation{Generation: n})
}
