package connectionapiextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/policy"
)

// route is one call.
type route struct {
	method, path string
	handle       func(http.ResponseWriter, *http.Request) error
	// maxBody is how long a body is read, in bytes.
	maxBody int64
	// changes: it is to change something, and noted in the audit log.
	changes bool
}

// Of bodies but a policy.
const maxSmallBody = 256 << 10

func (a *api) routes() []route {
	return []route{
		{method: "GET", path: "/v1/policy", handle: a.getPolicy},
		{method: "PUT", path: "/v1/policy", handle: a.putPolicy, maxBody: a.cfg.MaxRequestBodySize, changes: true},
		{method: "POST", path: "/v1/policy/confirm", handle: a.confirmPolicy, changes: true},
		{method: "POST", path: "/v1/policy/rollback", handle: a.rollBackPolicy, changes: true},
		{method: "GET", path: "/v1/rules", handle: a.getRules},
		{method: "GET", path: "/v1/rules/temporary", handle: a.getTemporaryRules},
		{method: "POST", path: "/v1/rules/temporary", handle: a.postTemporaryRule, maxBody: maxSmallBody, changes: true},
		{method: "DELETE", path: "/v1/rules/temporary/{name}", handle: a.deleteTemporaryRule, changes: true},
		{method: "GET", path: "/v1/connections", handle: a.getConnections},
		{method: "GET", path: "/v1/statistics", handle: a.getStatistics},
		{method: "GET", path: "/v1/health", handle: a.getHealth},
		{method: "POST", path: "/v1/evaluate", handle: a.postEvaluate, maxBody: maxSmallBody},
		{method: "GET", path: "/v1/events", handle: a.streamEvents},
		{method: "GET", path: "/openapi.yaml", handle: serveOpenAPI("application/yaml", openAPIYAML)},
		{method: "GET", path: "/openapi.json", handle: serveOpenAPI("application/json", openAPIJSON)},
	}
}

// handler is all of the API. A page of another site that a browser shows cannot
// change anything by its user's rights.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range a.routes() {
		mux.Handle(r.method+" "+r.path, a.handle(&r))
		methods[r.path] = append(methods[r.path], r.method)
	}
	for path, known := range methods {
		allowed := strings.Join(known, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allowed)
			a.fail(w, r, &callError{http.StatusMethodNotAllowed, "accepted are " + allowed, nil})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, &callError{http.StatusNotFound, "there is no such call; GET /openapi.yaml lists them", nil})
	})
	sameSite := http.NewCrossOriginProtection()
	sameSite.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, "a browser made this call for another site")
	}))
	return a.guard(sameSite.Handler(mux))
}

// guard keeps out who may not call.
func (a *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !a.mayCall(r) {
			a.refuse(w, r, "only root and the service user may call")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers who may not make a call. That somebody tried to change something is
// noted as if they could.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, why string) {
	err := &callError{http.StatusForbidden, why, nil}
	a.fail(w, r, err)
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		a.note(r, err)
	}
}

func (a *api) handle(r *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		request.Body = http.MaxBytesReader(w, request.Body, r.maxBody)
		err := r.handle(w, request)
		if err != nil {
			a.fail(w, request, err)
		}
		if r.changes {
			a.note(request, err)
		}
	})
}

// note tells of a call that was to change something: the log who and what, the audit
// log also why not. Errors may quote the policy, which the log does not show.
func (a *api) note(r *http.Request, err error) {
	if dry, err := strconv.ParseBool(r.URL.Query().Get("dry_run")); err == nil && dry {
		return
	}
	call, by, outcome := r.Method+" "+r.URL.Path, caller(r), "done"
	if err == nil {
		a.set.Logger.Info("A call has changed something", zap.String("call", call), zap.String("caller", by))
	} else {
		outcome = fmt.Sprintf("refused: %.500s", firstLine(err))
	}
	if a.policies != nil {
		a.policies.Called(by, fmt.Sprintf("%.300s %s", call, outcome))
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// callError is an answer other than the one that was asked for.
type callError struct {
	status int
	detail string
	errors policy.Errors
}

func (e *callError) Error() string {
	if len(e.errors) > 0 {
		return e.detail + ": " + e.errors.Error()
	}
	return e.detail
}

func badRequest(format string, args ...any) error {
	return &callError{http.StatusBadRequest, fmt.Sprintf(format, args...), nil}
}

// answerTo is how an error is answered.
func answerTo(err error) *callError {
	var known *callError
	var problems policy.Errors
	var tooLarge *http.MaxBytesError
	status := http.StatusInternalServerError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &problems):
		return &callError{http.StatusUnprocessableEntity, "it is not as it should be", problems}
	case errors.As(err, &tooLarge):
		return &callError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit), nil}
	case errors.Is(err, connectionpolicyextension.ErrChanged):
		status = http.StatusPreconditionFailed
	case errors.Is(err, connectionpolicyextension.ErrLockOut),
		errors.Is(err, connectionpolicyextension.ErrDuration):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, connectionpolicyextension.ErrNotWritable),
		errors.Is(err, connectionpolicyextension.ErrNoChange),
		errors.Is(err, connectionpolicyextension.ErrExists),
		errors.Is(err, connectionpolicyextension.ErrTooMany):
		status = http.StatusConflict
	case errors.Is(err, connectionpolicyextension.ErrNoRule):
		status = http.StatusNotFound
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, connectionpolicyextension.ErrNotRunning), errors.Is(err, errNoEngine), errors.Is(err, errNoPolicy):
		status = http.StatusServiceUnavailable
	}
	return &callError{status, err.Error(), nil}
}

// fail answers with a problem, and logs that.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	answer := answerTo(err)
	a.set.Logger.Warn("A call was refused", zap.String("method", r.Method), zap.String("path", fmt.Sprintf("%.200s", r.URL.Path)),
		zap.Int("status", answer.status), zap.String("caller", caller(r)))
	p := apiclient.Problem{Title: http.StatusText(answer.status), Status: answer.status, Detail: answer.detail}
	if len(answer.errors) > 0 {
		p.Errors = apiclient.PolicyErrors(answer.errors)
	}
	w.Header().Set("Content-Type", apiclient.ProblemType)
	writeJSON(w, answer.status, p)
}

// answer writes JSON.
func answer(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, http.StatusOK, value)
	return nil
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.Encode(value) // an error is the other end's going
}
