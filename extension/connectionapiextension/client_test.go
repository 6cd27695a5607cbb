package connectionapiextension

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// TestClient makes every call of the client.
func TestClient(t *testing.T) {
	b := newBench(t)
	b.engine.live = []telemetry.Connection{connection(1), blocked(2)}
	c, ctx := apiclient.New(b.socket, nil), t.Context()
	p, err := c.Policy(ctx)
	require.NoError(t, err)
	dry, err := c.PutPolicy(ctx, []byte(twoRules), "", true, 0)
	require.NoError(t, err)
	assert.Len(t, dry.Changes, 1)
	done, err := c.PutPolicy(ctx, []byte(twoRules), p.ETag, false, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, dry.ETag, done.ETag)
	_, err = c.RollBack(ctx)
	require.NoError(t, err)
	_, err = c.PutPolicy(ctx, []byte(twoRules), "", false, time.Minute)
	require.NoError(t, err)
	_, err = c.Confirm(ctx)
	require.NoError(t, err)
	_, err = c.Confirm(ctx)
	var problem *apiclient.Problem
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, http.StatusConflict, problem.Status)
	_, err = c.PutPolicy(ctx, []byte("mode: x\n"), "", false, 0)
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, 1, problem.Errors[0].Line)
	assert.ErrorContains(t, err, "accepted: detect, prevent")

	rule, err := c.AddRule(ctx, []byte(`{"action": "block", "layer4": "udp"}`), time.Minute)
	require.NoError(t, err)
	rules, err := c.Rules(ctx, 0, 100)
	require.NoError(t, err)
	assert.Equal(t, rule.Name, rules.Rules[len(rules.Rules)-3].Name)
	temporary, err := c.TemporaryRules(ctx)
	require.NoError(t, err)
	assert.Len(t, temporary, 1)
	require.NoError(t, c.RemoveRule(ctx, rule.Name))
	require.ErrorAs(t, c.RemoveRule(ctx, rule.Name), &problem)

	page, err := c.Connections(ctx, url.Values{"verdict": {"blocked"}})
	require.NoError(t, err)
	assert.EqualValues(t, 1, page.Total)
	_, err = c.Statistics(ctx, url.Values{"by": {"bytes"}})
	require.NoError(t, err)
	health, err := c.Health(ctx)
	require.NoError(t, err)
	assert.Equal(t, "1.2.3", health.Version)
	e, err := c.Evaluate(ctx, policy.Question{Direction: "inbound", Source: "192.0.2.1:1", Destination: "192.0.2.2:22"})
	require.NoError(t, err)
	assert.Equal(t, "allow", e.Verdict)

	go func() {
		for b.feed.subscribers.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		b.Connections([]telemetry.Connection{connection(1), blocked(2)})
	}()
	var events []string
	require.NoError(t, c.Events(ctx, url.Values{"verdict": {"allowed", "blocked"}}, "", func(e *apiclient.Event) bool {
		events = append(events, e.Attributes["weir.verdict"].(string))
		return len(events) < 2
	}))
	assert.Equal(t, []string{"allowed", "blocked"}, events)
	_, err = apiclient.New("/nowhere/api.sock", nil).Health(ctx)
	assert.ErrorContains(t, err, "call Weir")
}
