package connectionpolicyextension

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/telemetry"
)

// running is an extension that looks for changes by itself.
func running(t *testing.T, content string, change ...func(*Config)) *bench {
	t.Helper()
	quick := func(c *Config) { c.ReloadInterval = 10 * time.Millisecond }
	b := newBench(t, content, append([]func(*Config){quick}, change...)...)
	b.policyExtension.now = time.Now
	require.NoError(t, b.Start(t.Context(), b.host))
	t.Cleanup(func() { require.NoError(t, b.Shutdown(context.Background())) })
	return b
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 10*time.Second, 5*time.Millisecond, what)
}

func TestRun(t *testing.T) {
	b := running(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	eventually(t, "the change is taken up", func() bool { return f.rules() == 2 })
	b.write("policy.yaml", broken)
	eventually(t, "the error is told", func() bool { return len(f.kinds()) == 3 })
	assert.Equal(t, telemetry.PolicyRefused, f.kinds()[2])
}

func TestRunRollsBack(t *testing.T) {
	b := running(t, oneRule, func(c *Config) { c.ConfirmWithin = 50 * time.Millisecond })
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	eventually(t, "it is rolled back", func() bool {
		kinds := f.kinds()
		return kinds[len(kinds)-1] == telemetry.PolicyRolledBack
	})
	assert.Equal(t, 1, f.rules())
}

func TestRunIsConfirmedBySignal(t *testing.T) {
	b := running(t, oneRule, func(c *Config) { c.ConfirmWithin = time.Hour })
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	eventually(t, "the change is taken up", func() bool { return len(f.kinds()) == 2 })
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	eventually(t, "it is confirmed", func() bool { return len(f.kinds()) == 3 })
	assert.Equal(t, telemetry.PolicyConfirmed, f.kinds()[2])
	assert.Equal(t, "by SIGUSR1", f.last())
}

func TestNoReload(t *testing.T) {
	b := newBench(t, oneRule, func(c *Config) { c.ReloadInterval = 0 })
	require.NoError(t, b.Start(t.Context(), b.host))
	assert.Nil(t, b.done, "nothing runs")
	var f enforcer
	b.subscribe(&f)
	assert.Equal(t, []uint64{1}, f.numbers())
	require.NoError(t, b.Shutdown(t.Context()))
	_, err := b.Subscribe(0, f.apply, f.changed)
	require.ErrorContains(t, err, "is not running")
}

func TestInsecureFilesAllowed(t *testing.T) {
	b := newBench(t, oneRule, func(c *Config) { c.AllowInsecureFiles = true })
	require.NoError(t, os.Chmod(b.path("policy.yaml"), 0o666))
	require.NoError(t, b.first())
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	b := running(t, oneRule)
	entered, leave := make(chan struct{}), make(chan struct{})
	_, err := b.Subscribe(0, func(g Generation) error {
		if g.Number > 1 {
			close(entered)
			<-leave
		}
		return nil
	}, func(telemetry.PolicyChange) {})
	require.NoError(t, err)
	b.write("policy.yaml", twoRules)
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.Shutdown(ctx), context.DeadlineExceeded)
	close(leave)
}

// Subscribers come and go while the policy changes; apply is never called twice
// at a time, and not after cancel. The race detector looks on.
func TestSubscribersComeAndGo(t *testing.T) {
	b := running(t, oneRule)
	var at atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 20 {
				var gone atomic.Bool
				cancel, err := b.Subscribe(0, func(Generation) error {
					assert.EqualValues(t, 1, at.Add(1))
					assert.False(t, gone.Load())
					at.Add(-1)
					return nil
				}, func(telemetry.PolicyChange) {})
				if assert.NoError(t, err) {
					time.Sleep(time.Millisecond)
					cancel()
					gone.Store(true)
				}
			}
		})
	}
	for i := range 10 {
		b.write("policy.yaml", []string{oneRule, twoRules}[i%2])
		time.Sleep(5 * time.Millisecond)
	}
	wait.Wait()
}
