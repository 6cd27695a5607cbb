package connectionapiextension

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/policy"
)

func (a *api) getRules(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit, err := number(query, "limit", 1000, 1, 10_000)
	if err != nil {
		return err
	}
	offset, err := number(query, "offset", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	d, err := a.document()
	if err != nil {
		return err
	}
	now := a.now()
	told := apiclient.Rules{Generation: d.Number, Rules: []apiclient.Rule{}}
	matches := map[string]uint64{}
	// Without an engine the rules are in force all the same.
	if engine, err := a.engines.get(); err == nil {
		totals, err := engine.Totals()
		if err != nil {
			return err
		}
		told.Since = totals.Since
		for _, t := range totals.Rules {
			matches[t.Rule] = t.Count
		}
	}
	walked := d.Policy.Without(now).Walked()
	told.Total = len(walked)
	for i := offset; i < min(offset+limit, len(walked)); i++ {
		told.Rules = append(told.Rules, a.rule(&walked[i], matches))
	}
	return answer(w, told)
}

func (a *api) rule(r *policy.Rule, matches map[string]uint64) apiclient.Rule {
	return apiclient.Rule{
		Name: r.Name, Description: r.Description, Action: r.Action.String(), Shadow: r.Shadow,
		Safeguard: r.Safeguard(), Temporary: isTemporary(r), Line: r.Line, Expires: r.Expires,
		Matches: matches[r.Name], LastMatch: a.profile.LastMatch(r.Name),
	}
}

func temporaryRules(rules []connectionpolicyextension.TemporaryRule) []apiclient.TemporaryRule {
	told := make([]apiclient.TemporaryRule, len(rules))
	for i, r := range rules {
		told[i] = apiclient.TemporaryRule{Name: r.Name, Expires: r.Expires, By: r.By, Rule: r.Text}
	}
	return told
}

func (a *api) getTemporaryRules(w http.ResponseWriter, _ *http.Request) error {
	d, err := a.document()
	if err != nil {
		return err
	}
	return answer(w, temporaryRules(d.Temporary))
}

func (a *api) postTemporaryRule(w http.ResponseWriter, r *http.Request) error {
	if a.policies == nil {
		return errNoPolicy
	}
	var asked apiclient.NewTemporaryRule
	if err := readJSON(r, &asked, "rule"); err != nil {
		return err
	}
	ttl, err := time.ParseDuration(asked.For)
	if err != nil {
		return badRequest("for: %.100q is not accepted; accepted is a duration such as 10m", asked.For)
	}
	text := []byte(asked.Rule)
	var yaml string
	if json.Unmarshal(text, &yaml) == nil {
		text = []byte(yaml)
	}
	rule, err := a.policies.AddTemporary(text, ttl, caller(r))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/v1/rules/temporary/"+url.PathEscape(rule.Name))
	writeJSON(w, http.StatusCreated, temporaryRules([]connectionpolicyextension.TemporaryRule{rule})[0])
	return nil
}

func (a *api) deleteTemporaryRule(w http.ResponseWriter, r *http.Request) error {
	if a.policies == nil {
		return errNoPolicy
	}
	name := r.PathValue("name")
	if !strings.HasPrefix(name, connectionpolicyextension.TemporaryPrefix) {
		name = connectionpolicyextension.TemporaryPrefix + name
	}
	if err := a.policies.RemoveTemporary(name, caller(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
