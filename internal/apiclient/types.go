// Package apiclient speaks with the API of the extension connection_api: what goes
// over the wire, and a client for it.
package apiclient

import (
	"encoding/json"
	"time"

	"github.com/weirnet/weir/internal/policy"
)

// Socket is where the API is unless it was configured otherwise.
const Socket = "/run/weir/api.sock"

// ProblemType is the media type of errors (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is an error.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Errors are those of a policy, a rule or a question, each with its place.
	Errors []PolicyError `json:"errors,omitempty"`
}

// Error implements error.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, e := range p.Errors {
		text += "\n" + e.Message
	}
	return text
}

// PolicyError is one problem of a policy.
type PolicyError struct {
	File string `json:"file,omitempty"`
	// Line and Column count from 1; 0 where the place has none.
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Key      string `json:"key,omitempty"`
	Found    string `json:"found,omitempty"`
	Accepted string `json:"accepted,omitempty"`
	Hint     string `json:"hint,omitempty"`
	// Message is all of it on one line.
	Message string `json:"message"`
}

// PolicyErrors are those in the words of the API.
func PolicyErrors(errs policy.Errors) []PolicyError {
	all := make([]PolicyError, len(errs))
	for i, e := range errs {
		all[i] = PolicyError{
			File: e.File, Line: e.Line, Column: e.Column, Key: e.Key, Found: e.Found, Accepted: e.Accepted, Hint: e.Hint,
			Message: e.Error(),
		}
	}
	return all
}

// Policy is the policy in force.
type Policy struct {
	Generation    uint64    `json:"generation"`
	Mode          string    `json:"mode"`
	DefaultAction string    `json:"default_action"`
	Source        string    `json:"source"`
	Writable      bool      `json:"writable"`
	Loaded        time.Time `json:"loaded"`
	ETag          string    `json:"etag"`
	// Rules is the number of rules, temporary ones left out.
	Rules int `json:"rules"`
	// Returns is when the policy before comes back unless this one is confirmed.
	Returns   *Return         `json:"returns,omitempty"`
	Temporary []TemporaryRule `json:"temporary"`
	// Document is the text. Files that it names are not in it.
	Document string `json:"document"`
}

// Return says what becomes of a change that nobody confirms.
type Return struct {
	Generation uint64    `json:"generation"`
	At         time.Time `json:"at"`
}

// Replaced says what a new policy does, or would do.
type Replaced struct {
	// Generation is that in force afterwards.
	Generation uint64    `json:"generation"`
	ETag       string    `json:"etag"`
	DryRun     bool      `json:"dry_run,omitempty"`
	Warnings   []string  `json:"warnings"`
	Changes    []string  `json:"changes"`
	Returns    time.Time `json:"returns,omitzero"`
	// Cuts are live connections that the policy blocks, the first of CutCount.
	Cuts     []string `json:"cuts"`
	CutCount int      `json:"cut_count"`
}

// Generation answers a call that put a policy in force.
type Generation struct {
	Generation uint64 `json:"generation"`
}

// Rule is one that is walked.
type Rule struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Action      string    `json:"action"`
	Shadow      bool      `json:"shadow,omitempty"`
	Safeguard   bool      `json:"safeguard,omitempty"`
	Temporary   bool      `json:"temporary,omitempty"`
	Line        int       `json:"line,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	// Matches are connections that it decided since the counters began.
	Matches uint64 `json:"matches"`
	// LastMatch is of this process.
	LastMatch time.Time `json:"last_match,omitzero"`
}

// Rules are those in force, in the order of the walk.
type Rules struct {
	Generation uint64    `json:"generation"`
	Since      time.Time `json:"since,omitzero"`
	// Total is the number of all, of which these may be a part.
	Total int    `json:"total"`
	Rules []Rule `json:"rules"`
}

// TemporaryRule is in force for a time, before the rules of the policy.
type TemporaryRule struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
	// Rule is its text.
	Rule string `json:"rule"`
}

// NewTemporaryRule asks for one.
type NewTemporaryRule struct {
	// Rule is one of the policy language: an object, or a string of YAML.
	Rule json.RawMessage `json:"rule"`
	// For is its time to live: "10m".
	For string `json:"for"`
}

// Connections is a page of live connections, by descending id.
type Connections struct {
	Connections []Connection `json:"connections"`
	// Next is the cursor of the next page; empty where this is the last.
	Next string `json:"next,omitempty"`
	// Total is the number of all that match.
	Total uint64 `json:"total"`
}

// Connection is a live connection.
type Connection struct {
	ID          uint64    `json:"id"`
	Direction   string    `json:"direction"`
	Transport   string    `json:"transport"`
	Source      End       `json:"source"`
	Destination End       `json:"destination"`
	Interface   string    `json:"interface,omitempty"`
	Protocol    string    `json:"protocol,omitempty"`
	Verdict     string    `json:"verdict"`
	Action      string    `json:"action,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Rule        string    `json:"rule,omitempty"`
	Generation  uint64    `json:"generation,omitempty"`
	FirstSeen   time.Time `json:"first_seen"`
	LastSeen    time.Time `json:"last_seen"`
}

// End is one end of a connection, and what it sent.
type End struct {
	Address string `json:"address"`
	Port    uint16 `json:"port,omitempty"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Statistics are of the last so much time.
type Statistics struct {
	Window string `json:"window"`
	By     string `json:"by"`
	// Active are live connections; Since is when the kernel's counters began, of
	// which Blocked is the number of connections that were blocked, WouldBlock of those
	// that were let through in mode detect and that prevent would have blocked.
	Active     uint64    `json:"active"`
	Since      time.Time `json:"since,omitzero"`
	Blocked    uint64    `json:"blocked"`
	WouldBlock uint64    `json:"would_block"`
	Series     []Point   `json:"series"`
	Top        Tops      `json:"top"`
	// Missed are records that were not counted, since they came too fast.
	Missed uint64 `json:"missed"`
}

// Point is what one minute had.
type Point struct {
	Time time.Time `json:"time"`
	Counts
}

// Counts are of connections that began, that were blocked, that mode prevent would
// have blocked, and the bytes of those that ended.
type Counts struct {
	Connections uint64 `json:"connections"`
	Blocked     uint64 `json:"blocked"`
	WouldBlock  uint64 `json:"would_block"`
	Bytes       uint64 `json:"bytes"`
}

// Tops are the greatest of each kind, the greatest first.
type Tops struct {
	Sources      []Top `json:"sources"`
	Destinations []Top `json:"destinations"`
	Ports        []Top `json:"ports"`
	Rules        []Top `json:"rules"`
	Names        []Top `json:"names"`
}

// Top is one of the greatest.
type Top struct {
	Key string `json:"key"`
	Counts
	// Error is how much may be missing of what it is ordered by.
	Error uint64 `json:"error,omitempty"`
}

// Health is how Weir is.
type Health struct {
	// Status is ok, or degraded, with Problems.
	Status   string   `json:"status"`
	Problems []string `json:"problems"`
	Version  string   `json:"version"`
	// Generation is that which the kernel enforces; Mode and Source are empty
	// without a policy.
	Generation  uint64            `json:"generation"`
	Mode        string            `json:"mode,omitempty"`
	Rules       int               `json:"rules"`
	Interfaces  int               `json:"interfaces"`
	Flows       uint64            `json:"flows"`
	FlowsMost   uint64            `json:"flows_most"`
	Lost        map[string]uint64 `json:"lost"`
	Subscribers int               `json:"subscribers"`
}

// Explanation is a walk, rule by rule.
type Explanation struct {
	// Verdict is allow, block or inspect.
	Verdict string       `json:"verdict"`
	Mode    string       `json:"mode"`
	Rule    string       `json:"rule,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Early   bool         `json:"early,omitempty"`
	Wanted  []string     `json:"wanted,omitempty"`
	Shadow  *ShadowWalk  `json:"shadow,omitempty"`
	Steps   []WalkedRule `json:"steps"`
}

// ShadowWalk is what the walk with shadow rules comes to, where that differs.
type ShadowWalk struct {
	Rule   string `json:"rule,omitempty"`
	Action string `json:"action"`
}

// WalkedRule is what became of one rule.
type WalkedRule struct {
	Rule   string `json:"rule"`
	Action string `json:"action"`
	Shadow bool   `json:"shadow,omitempty"`
	Line   int    `json:"line,omitempty"`
	// Outcome is matches, differs, unknown or unobtainable.
	Outcome  string      `json:"outcome"`
	Ends     bool        `json:"ends,omitempty"`
	Criteria []Criterion `json:"criteria,omitempty"`
}

// Criterion is one of a rule, judged by itself.
type Criterion struct {
	Key     string   `json:"key"`
	Outcome string   `json:"outcome"`
	Found   string   `json:"found,omitempty"`
	Wanted  []string `json:"wanted,omitempty"`
	Cause   string   `json:"cause,omitempty"`
}

// Event is one of the stream: what the log record of the same name has.
type Event struct {
	// ID goes into Last-Event-ID, to go on after it.
	ID         string         `json:"id"`
	Event      string         `json:"event"`
	Time       time.Time      `json:"time"`
	Severity   string         `json:"severity,omitempty"`
	Body       string         `json:"body,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
	// Lost is set where Event is LostEvent: so many that came before this were not
	// sent; 0: nobody knows how many.
	Lost *uint64 `json:"lost,omitempty"`
}

// LostEvent is the name of the event that tells of others.
const LostEvent = "weir.api.lost"
