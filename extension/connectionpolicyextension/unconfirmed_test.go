package connectionpolicyextension

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRestartDoesNotConfirm: a change that nobody confirmed before the process ended
// is a change for the next one, too.
func TestRestartDoesNotConfirm(t *testing.T) {
	b := ended(t, oneRule, confirmed)
	b.write("policy.yaml", twoRules)
	n := b.next(confirmed)
	require.NoError(t, n.Start(t.Context(), n.host))
	t.Cleanup(func() { assert.NoError(t, n.Shutdown(context.Background())) })
	var f enforcer
	n.subscribe(&f)
	assert.Equal(t, 1, f.rules(), "what was confirmed last")
	n.look()
	require.Equal(t, 2, f.rules())
	require.NotNil(t, f.applied[1].Return)
	assert.Equal(t, f.applied[0].Number, f.applied[1].Return.To)
	n.pass(patience)
	assert.Equal(t, 1, f.rules(), "nobody confirmed it")
}

// TestRestartAfterConfirmation goes on with what was confirmed.
func TestRestartAfterConfirmation(t *testing.T) {
	b := ended(t, oneRule, confirmed)
	n := b.next(confirmed)
	require.NoError(t, n.Start(t.Context(), n.host))
	t.Cleanup(func() { assert.NoError(t, n.Shutdown(context.Background())) })
	var f enforcer
	n.subscribe(&f)
	n.look()
	assert.Equal(t, []int{1}, []int{f.rules()})
	assert.Nil(t, f.applied[0].Return)
	assert.Len(t, f.applied, 1)
}
