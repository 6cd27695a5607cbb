package connectionpolicyextension

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// In a file for the scheme weir: the keys that are not the policy's are left to
// others; elsewhere they are errors, since nobody reads them.
func TestOneFile(t *testing.T) {
	const text = oneRule + "\notel: {endpoint: 'collector:4317'}\n"
	b := newBench(t, text, func(c *Config) { c.OneFile = true })
	require.NoError(t, b.first())
	assert.Len(t, b.current.Policy.Rules, 1)

	kept := policyText{name: "kept", content: []byte(text)}
	p, err := kept.parse(b.now())
	require.NoError(t, err)
	assert.Len(t, p.Rules, 1)

	require.ErrorContains(t, newBench(t, text).first(), `unknown key "otel"`)
	require.ErrorContains(t, newBench(t, oneRule+"\noteel: {}\n", func(c *Config) { c.OneFile = true }).first(), "did you mean otel?")
}
