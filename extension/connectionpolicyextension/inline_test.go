package connectionpolicyextension

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// inline decodes a policy as the Collector does, to which it is part of a
// larger file.
func inline(t *testing.T, text string) *candidate {
	t.Helper()
	var decoded map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &decoded))
	cfg := decode(t, map[string]any{"policy": decoded})
	r, err := newReader(cfg, "connection_policy/x", time.Now)
	require.NoError(t, err)
	return r.load()
}

func TestInline(t *testing.T) {
	c := inline(t, `
mode: prevent
rules:
  - name: "123"
    action: allow
    expires: 2037-01-31T00:00:00Z
    reject: true
    layer3: {source: ["192.0.2.0/24", "!192.0.2.1"]}
    layer4: {tcp: [22, 8000-8100]}
  - name: versions
    action: allow
    layer7: {http: {versions: [1.0, 1.1, 2]}}
`)
	require.NoError(t, c.err)
	require.Len(t, c.policy.Rules, 2)
	rule := c.policy.Rules[0]
	assert.Equal(t, "123", rule.Name)
	assert.Equal(t, time.Date(2037, 1, 31, 0, 0, 0, 0, time.UTC), rule.Expires.UTC())
	assert.Len(t, rule.Source.Exclude, 1)
}

func TestInlineErrorsNameTheKeyPath(t *testing.T) {
	c := inline(t, "rules:\n  - {name: a, action: alow}\n")
	require.ErrorContains(t, c.err, "extensions::connection_policy/x::policy.rules[0].action")
	assert.NotContains(t, c.err.Error(), ":0")
}

func TestInlineScalars(t *testing.T) {
	tests := []struct {
		value     any
		tag, text string
	}{
		{nil, "!!null", "null"},
		{"true", "!!str", "true"},
		{true, "!!bool", "true"},
		{80, "!!int", "80"},
		{int64(1) << 40, "!!int", "1099511627776"},
		{1.0, "!!float", "1.0"},
		{1.2, "!!float", "1.2"},
		{1e21, "!!float", "1000000000000000000000.0"},
		{time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), "!!timestamp", "2027-01-31T00:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			node, err := inlineNode(tt.value, "policy")
			require.NoError(t, err)
			assert.Equal(t, tt.tag, node.Tag)
			assert.Equal(t, tt.text, node.Value)
		})
	}
}

func TestInlineRefusesOtherTypes(t *testing.T) {
	_, err := inlineNode(map[string]any{"rules": []any{map[any]any{1: 2}}}, "policy")
	require.ErrorContains(t, err, "policy::rules[0]: ")
}
