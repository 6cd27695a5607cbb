package connectionpolicyextension

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/weirnet/weir/internal/telemetry"
)

const patience = 30 * time.Second

func confirmed(c *Config) { c.ConfirmWithin = patience }

func TestAChangeIsRolledBack(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	require.Equal(t, 2, f.rules())
	assert.Contains(t, f.last(), "generation 1 returns at ")

	b.pass(patience - time.Second)
	assert.Equal(t, 2, f.rules())
	b.pass(time.Second)
	assert.Equal(t, 1, f.rules())
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers())
	assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyLoaded, telemetry.PolicyRolledBack}, f.kinds())
	assert.Equal(t, "generation 2 was not confirmed within 30s, the policy of generation 1 is in force again", f.last())
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusOK, componentstatus.StatusRecoverableError}, b.host.statuses())

	b.look()
	b.pass(2 * patience)
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers(), "the content stays refused")

	b.write("policy.yaml", oneRule)
	b.look()
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers(), "it is what is in force")
	assert.Equal(t, componentstatus.StatusOK, b.host.statuses()[2])
}

func TestAChangeIsConfirmed(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	b.touch("policy.yaml.confirm", time.Millisecond)
	b.pass(confirmPoll)
	assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyLoaded, telemetry.PolicyConfirmed}, f.kinds())
	b.pass(2 * patience)
	assert.Equal(t, []uint64{1, 2, 2}, f.numbers())
	assert.Equal(t, uint64(1), f.applied[1].Return.To, "until it is confirmed it may return")
	assert.Nil(t, f.applied[2].Return)
}

func TestAnotherChangeReturnsToTheConfirmedOne(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	b.write("policy.yaml", threeRules)
	b.look()
	assert.Equal(t, uint64(1), f.applied[2].Return.To)
	assert.Equal(t, patience, f.applied[2].Return.Within, "the time begins anew")
}

func TestWhatDoesNotConfirm(t *testing.T) {
	tests := []struct {
		name   string
		before func(b *bench)
		after  func(t *testing.T, b *bench)
	}{
		{"touched before the change", func(b *bench) { b.touch("policy.yaml.confirm", -time.Minute) }, func(*testing.T, *bench) {}},
		{"an old time in the future", func(b *bench) { b.touch("policy.yaml.confirm", time.Hour) }, func(*testing.T, *bench) {}},
		{"touched with an old time", func(*bench) {}, func(_ *testing.T, b *bench) { b.touch("policy.yaml.confirm", -time.Minute) }},
		{"writable by others", func(*bench) {}, func(t *testing.T, b *bench) {
			b.touch("policy.yaml.confirm", time.Second)
			require.NoError(t, os.Chmod(b.path("policy.yaml.confirm"), 0o666))
		}},
		{"a folder", func(*bench) {}, func(t *testing.T, b *bench) {
			require.NoError(t, os.Mkdir(b.path("policy.yaml.confirm"), 0o755))
			at := b.now().Add(time.Second)
			require.NoError(t, os.Chtimes(b.path("policy.yaml.confirm"), at, at))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := started(t, oneRule, confirmed)
			var f enforcer
			b.subscribe(&f)
			tt.before(b)
			b.write("policy.yaml", twoRules)
			b.look()
			require.Equal(t, 2, f.rules())
			tt.after(t, b)
			b.pass(patience)
			assert.Equal(t, 1, f.rules())
		})
	}
}

func TestSeveralChangesReturnToTheConfirmedOne(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	b.pass(patience / 2)
	b.write("policy.yaml", noRules)
	b.look()
	require.Equal(t, 0, f.rules())
	b.pass(patience * 3 / 4)
	assert.Equal(t, 0, f.rules(), "the time starts anew")
	b.pass(patience / 4)
	assert.Equal(t, 1, f.rules())
	assert.Equal(t, []uint64{1, 2, 3, 4}, f.numbers())
}

func TestTheConfirmedContentConfirmsItself(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	b.write("policy.yaml", oneRule)
	b.look()
	assert.Equal(t, []telemetry.Change{
		telemetry.PolicyLoaded, telemetry.PolicyLoaded, telemetry.PolicyLoaded, telemetry.PolicyConfirmed,
	}, f.kinds())
	b.pass(2 * patience)
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers())
}

func TestARefusedChangeLeavesTheTimeRunning(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	b.write("policy.yaml", broken)
	b.look()
	b.pass(patience)
	assert.Equal(t, 1, f.rules())
}

func TestARollBackIsTriedAgain(t *testing.T) {
	b := started(t, oneRule, confirmed)
	f := enforcer{refuse: map[int]bool{}}
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	f.refuse[1] = true
	b.pass(patience)
	assert.Equal(t, 2, f.rules())
	assert.Contains(t, f.last(), "return to the policy of generation 1")
	f.refuse[1] = false
	b.pass(rollBackRetry)
	assert.Equal(t, 1, f.rules())
}

func TestConfirmFileElsewhere(t *testing.T) {
	b := newBench(t, oneRule, confirmed)
	b.cfg.ConfirmFile = b.path("run/confirm")
	b.confirm.file = b.cfg.confirmFile()
	require.NoError(t, b.first())
	b.write("policy.yaml", twoRules)
	b.look()
	b.write("run/confirm", "")
	b.touch("run/confirm", time.Second)
	b.pass(confirmPoll)
	assert.False(t, b.confirm.waiting)
}

func TestLockOut(t *testing.T) {
	const shadow = "mode: prevent\ndefault_action: block\nrules:\n  - {name: a, action: allow, mode: detect}\n"
	const expired = "mode: prevent\ndefault_action: block\nrules:\n  - {name: a, action: allow, expires: 2001-01-01T00:00:00Z}\n"
	tests := []struct {
		name, content string
		want          bool
	}{
		{"no allow rule", nobodyIn, true},
		{"no rule", "mode: prevent\ndefault_action: block\n", true},
		{"shadow rule", shadow, true},
		{"expired rule", expired, true},
		{"allow rule", oneRule, false},
		{"default allow", "mode: prevent\ndefault_action: allow\nrules:\n  - {name: a, action: block}\n", false},
		{"no rules, default left out", "mode: prevent\n", false},
		{"detect", "mode: detect\ndefault_action: block\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.content)
			err := b.first()
			if !tt.want {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errLockOut)
			assert.ErrorContains(t, err, "add an allow rule")
			assert.ErrorContains(t, err, "policy.yaml.confirm after writing the policy")
			assert.NotContains(t, err.Error(), "confirm_within", "there is nothing to return to")
		})
	}
}

func TestLockOutConfirmedBeforehand(t *testing.T) {
	b := newBench(t, nobodyIn, confirmed)
	b.touch("policy.yaml.confirm", -time.Minute)
	require.ErrorIs(t, b.first(), errLockOut, "older than the policy")
	b.touch("policy.yaml.confirm", time.Minute)
	require.NoError(t, b.first())
}

func TestLockOutOnReload(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", nobodyIn)
	b.look()
	b.look()
	assert.Equal(t, []uint64{1}, f.numbers())
	assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyRefused}, f.kinds())
	assert.Contains(t, f.last(), "set confirm_within")

	b.touch("policy.yaml.confirm", time.Second)
	b.look()
	assert.Equal(t, []uint64{1, 2}, f.numbers(), "confirmed although it had been refused")
}

func TestLockOutReturnsByItself(t *testing.T) {
	b := started(t, oneRule, confirmed)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", nobodyIn)
	b.look()
	assert.Equal(t, []uint64{1, 2}, f.numbers())
	b.pass(patience)
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers())
	assert.EqualValues(t, 1, f.rules())
}
