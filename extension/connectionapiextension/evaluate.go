package connectionapiextension

import (
	"errors"
	"net/http"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/policy"
)

// postEvaluate asks the policy in force about a connection that need not be there.
func (a *api) postEvaluate(w http.ResponseWriter, r *http.Request) error {
	var question policy.Question
	if err := readJSON(r, &question, ""); err != nil {
		return err
	}
	d, err := a.document()
	if err != nil {
		return err
	}
	now := a.now()
	p := d.Policy.Without(now)
	facts, err := question.Facts(p, now)
	if err != nil {
		var problems policy.Errors
		if errors.As(err, &problems) {
			return &callError{http.StatusUnprocessableEntity, "the question cannot be answered", problems}
		}
		return err
	}
	e := p.Explain(facts)
	return answer(w, apiclient.ExplanationOf(p, &e))
}
