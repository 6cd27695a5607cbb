package connectionpolicyextension

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/securefile"
	"github.com/weirnet/weir/internal/telemetry"
)

// Bounds of temporary rules.
const (
	maxTemporary     = 256
	maxTemporarySize = 64 << 10 // bytes of one
	maxTemporaryTime = 30 * 24 * time.Hour
)

// TemporaryPrefix begins the names of temporary rules: no rule of a policy has it.
const TemporaryPrefix = "temporary:"

// Why a temporary rule is not taken or removed.
var (
	ErrTooMany  = fmt.Errorf("there are %d temporary rules already", maxTemporary)
	ErrExists   = errors.New("there is a temporary rule of this name")
	ErrNoRule   = errors.New("there is no temporary rule of this name")
	ErrDuration = fmt.Errorf("the time to live is from 1s to %v", maxTemporaryTime)
)

// TemporaryRule is a rule that stands right after the safeguards until it expires.
// The kernel lets it expire, whether anybody is there or not.
type TemporaryRule struct {
	// Name begins with TemporaryPrefix.
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
	// Text is the rule in the policy language, YAML or JSON.
	Text string `json:"rule"`

	rule policy.Rule
}

// Rule is the rule as it is walked.
func (r *TemporaryRule) Rule() *policy.Rule { return &r.rule }

// temporaryRules are those that have not expired, the latest first: it stands before
// the others.
type temporaryRules struct{ all []TemporaryRule }

func (t *temporaryRules) list(now time.Time) []TemporaryRule {
	t.all = slices.DeleteFunc(t.all, func(r TemporaryRule) bool { return !now.Before(r.Expires) })
	return slices.Clone(t.all)
}

func (t *temporaryRules) live(now time.Time) []policy.Rule {
	var rules []policy.Rule
	for _, r := range t.list(now) {
		rules = append(rules, r.rule)
	}
	return rules
}

func (t *temporaryRules) index(name string) int {
	return slices.IndexFunc(t.all, func(r TemporaryRule) bool { return r.Name == name })
}

// AddTemporary puts a rule of the policy language in force for a time. Its name, if
// it has one, gets TemporaryPrefix.
func (e *policyExtension) AddTemporary(text []byte, ttl time.Duration, by string) (TemporaryRule, error) {
	if ttl < time.Second || ttl > maxTemporaryTime {
		return TemporaryRule{}, fmt.Errorf("%w: found %v", ErrDuration, ttl)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	r := TemporaryRule{Expires: now.Add(ttl), By: by, Text: string(text)}
	if err := r.parse(now); err != nil {
		return r, err
	}
	switch before := e.temporary.list(now); {
	case e.current.Policy == nil:
		return r, ErrNotRunning
	case len(before) >= maxTemporary:
		return r, ErrTooMany
	case e.temporary.index(r.Name) >= 0:
		return r, fmt.Errorf("%w: %s", ErrExists, r.Name)
	}
	return r, e.changeTemporary(slices.Insert(slices.Clone(e.temporary.all), 0, r),
		fmt.Sprintf("%s by %s until %s", r.Name, by, r.Expires.UTC().Format(time.RFC3339)))
}

// RemoveTemporary takes one out of force before its time.
func (e *policyExtension) RemoveTemporary(name, by string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.temporary.list(e.now())
	i := e.temporary.index(name)
	if i < 0 {
		return fmt.Errorf("%w: %q", ErrNoRule, name)
	}
	return e.changeTemporary(slices.Delete(slices.Clone(e.temporary.all), i, i+1), name+" removed by "+by)
}

// changeTemporary puts the policy in force with other temporary rules. A change that
// waits to be confirmed goes on waiting.
func (e *policyExtension) changeTemporary(rules []TemporaryRule, detail string) error {
	before := e.temporary
	e.temporary.all = rules
	next := e.current
	next.Return = nil
	if e.confirm.waiting {
		next.Return = &Return{To: e.confirm.back.Number, Within: max(e.confirm.deadline.Sub(e.now()), time.Millisecond)}
	}
	err := e.byCall(func() error {
		err := e.install(next)
		if err != nil {
			e.temporary = before
			e.refused(e.lastNumber, err)
		}
		return err
	})
	if err != nil {
		return err
	}
	e.tell(telemetry.PolicyLoaded, e.current.Number, "temporary rule "+detail)
	e.keepTemporary()
	return nil
}

// parse reads the rule's text.
func (r *TemporaryRule) parse(now time.Time) error {
	document, name, err := temporaryDocument([]byte(r.Text))
	if err != nil {
		return err
	}
	p, _, err := policy.Load(policy.Document{Name: "rule", Content: document, Now: now})
	if err != nil {
		return err
	}
	if name == "" {
		name = r.Expires.UTC().Format("20060102-150405.000000")
	}
	r.rule = p.Rules[0]
	r.Name = TemporaryPrefix + name
	r.rule.Name, r.rule.Expires, r.rule.Line = r.Name, r.Expires, 0
	return nil
}

var temporaryName = regexp.MustCompile(`^[a-z0-9._-]{1,100}$`)

// temporaryDocument is a policy with nothing but the rule. A rule has its time from
// the call.
func temporaryDocument(text []byte) (document []byte, name string, err error) {
	fail := func(key, found, accepted string) ([]byte, string, error) {
		return nil, "", policy.Errors{{File: "rule", Key: key, Found: found, Accepted: accepted}}
	}
	if len(text) > maxTemporarySize {
		return fail("", fmt.Sprintf("it has %d bytes", len(text)), fmt.Sprintf("a rule of at most %d bytes", maxTemporarySize))
	}
	var root yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&root); err != nil {
		return fail("", strings.ReplaceAll(err.Error(), "\n", " "), "a rule of the policy language")
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return fail("", "it is no mapping", "a rule of the policy language: {action: allow, …}")
	}
	rule := root.Content[0]
	for i := 0; i+1 < len(rule.Content); i += 2 {
		switch value := rule.Content[i+1]; rule.Content[i].Value {
		case "name":
			name = value.Value
			if value.Kind != yaml.ScalarNode || !temporaryName.MatchString(name) {
				return fail("name", fmt.Sprintf("%.100q", name), "1 to 100 of a-z, 0-9, dot, underscore and hyphen")
			}
		case "expires":
			return fail("expires", "it is given", "the time to live of the call")
		}
	}
	if name == "" {
		rule.Content = append(rule.Content, scalar("!!str", "name"), scalar("!!str", "unnamed"))
	}
	whole := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{
		scalar("!!str", "rules"), {Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{rule}},
	}}
	document, err = yaml.Marshal(whole)
	if err != nil {
		return fail("", err.Error(), "a rule of the policy language")
	}
	return document, name, nil
}

// openTemporary takes up those that an earlier process had, as far as they have not
// expired.
func (e *policyExtension) openTemporary() {
	if e.store == nil {
		return
	}
	var content bytes.Buffer
	err := securefile.Copy(&content, e.store.temporaryPath(), securefile.Private, maxTemporary*(maxTemporarySize*6+1024))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var found []TemporaryRule
	if err == nil {
		err = json.Unmarshal(content.Bytes(), &found)
	}
	now := e.now()
	for i := range found {
		if err == nil && now.Before(found[i].Expires) {
			name := found[i].Name
			if err = found[i].parse(now); err == nil {
				found[i].Name, found[i].rule.Name = name, name
				e.temporary.all = append(e.temporary.all, found[i])
			}
		}
	}
	if err != nil {
		e.report.notKept(fmt.Errorf("read the temporary rules from %s: %w", e.store.temporaryPath(), err))
	}
}

// keepTemporary keeps them for the next process.
func (e *policyExtension) keepTemporary() {
	if e.store == nil {
		return
	}
	err := e.store.write(e.store.temporaryPath(), func(f *os.File) error { return json.NewEncoder(f).Encode(e.temporary.all) })
	if err != nil {
		e.report.notKept(fmt.Errorf("keep the temporary rules: %w", err))
	}
}

func (s *store) temporaryPath() string {
	return strings.TrimSuffix(s.numberPath, ".generation") + ".temporary"
}
