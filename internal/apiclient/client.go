package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls an API. Errors that the API answers with are of type *Problem.
type Client struct {
	http *http.Client
	base string
}

// New is a client of the API on a unix socket, or with one of http:// and https://,
// over TCP by transport, which may be nil.
func New(endpoint string, transport http.RoundTripper) *Client {
	if strings.Contains(endpoint, "://") {
		return &Client{&http.Client{Transport: transport}, strings.TrimSuffix(endpoint, "/")}
	}
	if transport == nil {
		transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", endpoint)
		}}
	}
	return &Client{&http.Client{Transport: transport}, "http://weir"}
}

// maxAnswer bounds what is read of an answer, in bytes: a policy, as JSON text.
const maxAnswer = 512 << 20

// call makes a call and reads its answer into one, if that is not nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header, answer any) error {
	response, err := c.do(ctx, method, path, query, body, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		request.Header = header
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("call Weir: %w", err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	problem := &Problem{Title: http.StatusText(response.StatusCode), Status: response.StatusCode}
	content, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); mediaType == ProblemType {
		json.Unmarshal(content, problem) // without it the status says enough
	}
	return nil, problem
}

// Policy is the policy in force.
func (c *Client) Policy(ctx context.Context) (p Policy, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/policy", nil, nil, nil, &p)
	return p, err
}

// PutPolicy replaces the policy of an ETag, or with an empty one, whichever it is.
// confirmWithin may be 0: as the settings say.
func (c *Client) PutPolicy(ctx context.Context, document []byte, etag string, dryRun bool, confirmWithin time.Duration) (r Replaced, err error) {
	query, header := url.Values{}, http.Header{"Content-Type": {"application/yaml"}, "If-Match": {"*"}}
	if etag != "" {
		header.Set("If-Match", strconv.Quote(etag))
	}
	if dryRun {
		query.Set("dry_run", "true")
	}
	if confirmWithin > 0 {
		query.Set("confirm_within", confirmWithin.String())
	}
	err = c.call(ctx, http.MethodPut, "/v1/policy", query, document, header, &r)
	return r, err
}

// Confirm lets the policy stay that waits to be confirmed.
func (c *Client) Confirm(ctx context.Context) (g Generation, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/policy/confirm", nil, nil, nil, &g)
	return g, err
}

// RollBack returns to the policy before.
func (c *Client) RollBack(ctx context.Context) (g Generation, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/policy/rollback", nil, nil, nil, &g)
	return g, err
}

// Rules are those in force, from an offset on.
func (c *Client) Rules(ctx context.Context, offset, limit int) (r Rules, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/rules", url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(limit)}}, nil, nil, &r)
	return r, err
}

// AddRule puts a rule in force for a time. It is an object in JSON.
func (c *Client) AddRule(ctx context.Context, rule json.RawMessage, ttl time.Duration) (r TemporaryRule, err error) {
	body, err := json.Marshal(NewTemporaryRule{Rule: rule, For: ttl.String()})
	if err != nil {
		return r, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/rules/temporary", nil, body, nil, &r)
	return r, err
}

// TemporaryRules are those that have not expired, the latest first.
func (c *Client) TemporaryRules(ctx context.Context) (r []TemporaryRule, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/rules/temporary", nil, nil, nil, &r)
	return r, err
}

// RemoveRule takes a temporary one out of force.
func (c *Client) RemoveRule(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/rules/temporary/"+url.PathEscape(name), nil, nil, nil, nil)
}

// Connections is a page of live connections. The query has the filters of the API.
func (c *Client) Connections(ctx context.Context, query url.Values) (p Connections, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/connections", query, nil, nil, &p)
	return p, err
}

// Statistics are of the last so much time. The query has the API's parameters.
func (c *Client) Statistics(ctx context.Context, query url.Values) (s Statistics, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/statistics", query, nil, nil, &s)
	return s, err
}

// Health is how Weir is.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/health", nil, nil, nil, &h)
	return h, err
}

// Evaluate asks what would become of a connection; the question is a policy.Question.
func (c *Client) Evaluate(ctx context.Context, question any) (e Explanation, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return e, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/evaluate", nil, body, nil, &e)
	return e, err
}

// Events hands over events until visit says false, ctx ends (which is no error), or
// the API does. after is the ID of the last one known; empty: from now on.
func (c *Client) Events(ctx context.Context, query url.Values, after string, visit func(*Event) bool) error {
	header := http.Header{"Accept": {"application/x-ndjson"}}
	if after != "" {
		header.Set("Last-Event-ID", after)
	}
	response, err := c.do(ctx, http.MethodGet, "/v1/events", query, nil, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue // nothing happened for a while
		}
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		if !visit(&e) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return io.ErrUnexpectedEOF
}
