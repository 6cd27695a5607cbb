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

// What the file says besides the policy is neither shown nor replaced by call.
func TestOneFileByCall(t *testing.T) {
	b := newBench(t, oneRule+"\notel: {endpoint: 'collector:4317', headers: {authorization: secret}}\n", func(c *Config) { c.OneFile = true })
	require.NoError(t, b.first())
	d, err := b.Document()
	require.NoError(t, err)
	assert.NotContains(t, string(d.Content), "secret")
	assert.Contains(t, string(d.Content), "rules:")
	assert.False(t, d.Writable)
	_, err = b.Replace(Replacement{Content: []byte(oneRule)})
	require.ErrorIs(t, err, ErrNotWritable)
	require.ErrorContains(t, err, "its file also says where events go")
}

// A change of its other keys is told as a policy that says the same.
func TestOneFileReload(t *testing.T) {
	b := running(t, oneRule+"\nlogging: {level: info}\n", func(c *Config) { c.OneFile = true })
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules+"\nlogging: {level: warn}\n")
	eventually(t, "the change is taken up", func() bool { return f.rules() == 2 })
}
