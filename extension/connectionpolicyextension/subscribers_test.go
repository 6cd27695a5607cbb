package connectionpolicyextension

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/weirnet/weir/internal/telemetry"
)

func TestARefusedGenerationIsTakenBack(t *testing.T) {
	b := started(t, oneRule)
	var first, last enforcer
	refuses := enforcer{refuse: map[int]bool{2: true}}
	b.subscribe(&first)
	b.subscribe(&refuses)
	b.subscribe(&last)

	b.write("policy.yaml", twoRules)
	b.look()
	b.look()
	assert.Equal(t, []uint64{1, 2, 1}, first.numbers(), "it took what another one refused")
	assert.Equal(t, []uint64{1}, refuses.numbers())
	assert.Equal(t, []uint64{1}, last.numbers(), "it was never asked")
	for _, f := range []*enforcer{&first, &refuses, &last} {
		assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyRefused}, f.kinds())
		assert.Equal(t, "apply generation 2: the kernel says no; generation 1 stays in force", f.last())
	}
	assert.EqualValues(t, 2, first.changes[1].Generation)
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, b.host.statuses())

	b.write("policy.yaml", noRules)
	b.look()
	assert.Equal(t, []uint64{1, 2, 1, 3}, first.numbers(), "a refused number is not used again")
}

func TestGoingBackFails(t *testing.T) {
	b := started(t, oneRule)
	first := enforcer{refuse: map[int]bool{}}
	refuses := enforcer{refuse: map[int]bool{2: true}}
	b.subscribe(&first)
	b.subscribe(&refuses)
	first.refuse[1] = true
	b.write("policy.yaml", twoRules)
	b.look()
	assert.Contains(t, fmt.Sprint(b.logs.FilterMessage("Policy refused").All()[0].ContextMap()["errors"]), "go back to generation 1")
}

func TestTheFirstGenerationIsRefused(t *testing.T) {
	b := started(t, oneRule)
	f := enforcer{refuse: map[int]bool{1: true}}
	_, err := b.Subscribe(0, f.apply, f.changed)
	require.ErrorContains(t, err, "apply generation 1 of the policy from ")
	require.ErrorContains(t, err, "the kernel says no")
	assert.Empty(t, f.changes)

	b.write("policy.yaml", twoRules)
	b.look()
	assert.Empty(t, f.applied, "it is not subscribed")
}

func TestALateSubscriberIsToldWhatHappened(t *testing.T) {
	b := started(t, oneRule)
	b.write("policy.yaml", twoRules)
	b.look()
	b.write("policy.yaml", broken)
	b.look()
	var f enforcer
	b.subscribe(&f)
	assert.Equal(t, []uint64{2}, f.numbers())
	assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyRefused}, f.kinds())
	assert.EqualValues(t, 2, f.changes[0].Generation)
	assert.Equal(t, b.path("policy.yaml"), f.changes[0].Source)
}

func TestWhatIsKeptForLateSubscribersIsBounded(t *testing.T) {
	b := started(t, oneRule)
	for i := range 3 * maxTold {
		b.write("policy.yaml", fmt.Sprintf("broken%d: 1\n", i))
		b.look()
	}
	var f enforcer
	b.subscribe(&f)
	assert.Len(t, f.changes, maxTold)
	assert.Equal(t, telemetry.PolicyLoaded, f.changes[0].Change)
	assert.Contains(t, f.last(), "broken47")
}

func TestCancel(t *testing.T) {
	b := started(t, oneRule)
	var f, other enforcer
	cancel := b.subscribe(&f)
	b.subscribe(&other)
	cancel()
	cancel()
	b.write("policy.yaml", twoRules)
	b.look()
	assert.Equal(t, []uint64{1}, f.numbers())
	assert.Equal(t, []uint64{1, 2}, other.numbers())
	require.NoError(t, b.Shutdown(t.Context()))
	cancel()
}

func TestCancelWaitsForACallUnderWay(t *testing.T) {
	b := started(t, oneRule)
	entered, leave := make(chan struct{}), make(chan struct{})
	var under sync.Mutex
	cancel, err := b.Subscribe(0, func(g Generation) error {
		if g.Number == 1 {
			return nil
		}
		under.Lock()
		defer under.Unlock()
		close(entered)
		<-leave
		return nil
	}, func(telemetry.PolicyChange) {})
	require.NoError(t, err)
	b.write("policy.yaml", twoRules)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		b.look()
	}()
	<-entered
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		cancel()
		assert.True(t, under.TryLock(), "apply is still at work")
	}()
	select {
	case <-cancelled:
		t.Fatal("cancel did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	<-cancelled
	<-looked
}
