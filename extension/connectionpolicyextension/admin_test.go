package connectionpolicyextension

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// content is what is in the policy file.
func (b *bench) content() string {
	b.t.Helper()
	content, err := os.ReadFile(b.path("policy.yaml"))
	require.NoError(b.t, err)
	return string(content)
}

// noLeftovers fails where files were left beside the policy file.
func (b *bench) noLeftovers() {
	b.t.Helper()
	left, err := filepath.Glob(b.path(".policy.yaml*"))
	require.NoError(b.t, err)
	assert.Empty(b.t, left)
}

func (b *bench) document() Document {
	b.t.Helper()
	d, err := b.Document()
	require.NoError(b.t, err)
	return d
}

func TestReplace(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	require.NoError(t, os.Chmod(b.path("policy.yaml"), 0o400))
	before := b.document()
	assert.Equal(t, oneRule, string(before.Content))
	assert.True(t, before.Writable)

	dry, err := b.Replace(Replacement{Content: []byte(twoRules), IfMatch: before.ETag, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"+ rule 2 b: allow layer4.tcp.destination_ports 443"}, dry.Changes.Lines())
	assert.Equal(t, oneRule, b.content())
	assert.Equal(t, before.ETag, b.document().ETag)

	done, err := b.Replace(Replacement{Content: []byte(twoRules), IfMatch: before.ETag})
	require.NoError(t, err)
	assert.Equal(t, dry.ETag, done.ETag)
	assert.EqualValues(t, 2, done.Generation)
	assert.Equal(t, twoRules, b.content())
	assert.Equal(t, 2, f.rules())
	info, err := os.Stat(b.path("policy.yaml"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o400), info.Mode(), "it keeps its mode")
	b.look()
	assert.Equal(t, []uint64{1, 2}, f.numbers(), "what it wrote itself is no change")

	_, err = b.Replace(Replacement{Content: []byte(threeRules), IfMatch: before.ETag})
	assert.ErrorIs(t, err, ErrChanged)
	_, err = b.Replace(Replacement{Content: []byte(broken)})
	var problems policy.Errors
	require.ErrorAs(t, err, &problems)
	assert.Equal(t, 1, problems[0].Line)
	_, err = b.Replace(Replacement{Content: []byte(nobodyIn)})
	assert.ErrorIs(t, err, ErrLockOut)
	_, err = b.Replace(Replacement{Content: []byte(nobodyIn), DryRun: true})
	assert.ErrorIs(t, err, ErrLockOut)
	f.refuse = map[int]bool{3: true}
	_, err = b.Replace(Replacement{Content: []byte(threeRules)})
	assert.ErrorContains(t, err, "the kernel says no")
	assert.Equal(t, twoRules, b.content())
	_, err = b.AddTemporary([]byte(blockDNS), time.Minute, "a test") // three rules with it
	assert.ErrorContains(t, err, "the kernel says no")
	assert.Empty(t, b.document().Temporary)
	b.noLeftovers()
	assert.Equal(t, telemetry.PolicyRefused, f.changes[len(f.changes)-1].Change)
	assert.NoError(t, b.document().Problem, "nothing is wrong with what is configured")
	b.touch("policy.yaml.confirm", time.Second)
	b.look()
	assert.Equal(t, twoRules, string(b.document().Content), "what a call asked for is not confirmed later")

	again, err := b.Replace(Replacement{Content: []byte(twoRules)})
	require.NoError(t, err)
	assert.EqualValues(t, 2, again.Generation, "it is in force already")
}

// What somebody edits meanwhile is not overwritten by one who has not seen it.
func TestReplaceWhatIsEdited(t *testing.T) {
	b := started(t, oneRule)
	tag := b.document().ETag
	b.write("policy.yaml", broken)
	b.look()
	_, err := b.Replace(Replacement{Content: []byte(twoRules), IfMatch: tag})
	assert.ErrorIs(t, err, ErrChanged)
	assert.Equal(t, broken, b.content())
	_, err = b.Replace(Replacement{Content: []byte(oneRule)})
	require.NoError(t, err)
	assert.Equal(t, oneRule, b.content(), "the policy in force is put back into the file")
	assert.NoError(t, b.document().Problem)
	b.write("policy.yaml", broken)
	b.look()
	_, err = b.Replace(Replacement{Content: []byte(twoRules)})
	require.NoError(t, err)
	assert.Equal(t, twoRules, b.content())
}

// Until it is confirmed, the file has the policy that returns.
func TestReplaceForATime(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	done, err := b.Replace(Replacement{Content: []byte(nobodyIn), ConfirmWithin: time.Minute})
	require.NoError(t, err)
	assert.Equal(t, b.now().Add(time.Minute), done.Returns)
	assert.Equal(t, &Return{To: 1, Within: time.Minute}, f.applied[1].Return)
	assert.Equal(t, oneRule, b.content())
	b.look()
	b.pass(time.Minute)
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers())
	assert.Equal(t, oneRule, string(b.document().Content))
	b.noLeftovers()

	_, err = b.Replace(Replacement{Content: []byte(twoRules), ConfirmWithin: time.Minute})
	require.NoError(t, err)
	_, err = b.Replace(Replacement{Content: []byte(broken), ConfirmWithin: time.Minute})
	require.Error(t, err)
	_, err = b.Replace(Replacement{Content: []byte(threeRules), ConfirmWithin: time.Minute})
	require.NoError(t, err)
	n, err := b.Confirm("a test")
	require.NoError(t, err)
	assert.EqualValues(t, 5, n)
	assert.Equal(t, threeRules, b.content())
	assert.Equal(t, "by a test", f.last())
	_, err = b.Confirm("a test")
	assert.ErrorIs(t, err, ErrNoChange)
	b.pass(time.Hour)
	assert.EqualValues(t, 5, b.document().Number)
	b.noLeftovers()

	_, err = b.Replace(Replacement{Content: []byte(oneRule), ConfirmWithin: time.Minute})
	require.NoError(t, err)
	_, err = b.RollBack("a test")
	require.NoError(t, err)
	assert.Equal(t, threeRules, string(b.document().Content))
	assert.Contains(t, f.last(), "generation 6 was taken back by a test")
	_, err = b.RollBack("a test")
	assert.ErrorIs(t, err, ErrNoChange)
	b.noLeftovers()
}

func TestReplaceRefused(t *testing.T) {
	inline := newBench(t, oneRule, func(c *Config) {
		c.File, c.Policy = "", map[string]any{"mode": "detect"}
	})
	_, err := inline.Replace(Replacement{Content: []byte(oneRule)})
	require.ErrorIs(t, err, ErrNotRunning)
	require.NoError(t, inline.first())
	_, err = inline.Replace(Replacement{Content: []byte(oneRule)})
	require.ErrorIs(t, err, ErrNotWritable)
	assert.False(t, inline.document().Writable)

	b := started(t, oneRule)
	b.write("lists/bad.txt", "192.0.2.1\n")
	_, err = b.Replace(Replacement{Content: []byte(withLists)})
	require.NoError(t, err)
	for _, path := range []string{"/etc/hostname", "../x", "lists/../../x"} {
		_, err = b.Replace(Replacement{Content: []byte(strings.Replace(withLists, "lists/bad.txt", path, 1))})
		assert.ErrorContains(t, err, "lists_dir", path)
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chmod(b.dir, 0o777))
		_, err = b.Replace(Replacement{Content: []byte(oneRule)})
		assert.Error(t, err)
		require.NoError(t, os.Chmod(b.dir, 0o755))
	}
}

const blockDNS = "{name: dns, action: block, layer4: {udp: 53}}"

func TestTemporaryRules(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	r, err := b.AddTemporary([]byte(blockDNS), 10*time.Minute, "a test")
	require.NoError(t, err)
	assert.Equal(t, "temporary:dns", r.Name)
	assert.Equal(t, b.now().Add(10*time.Minute), r.Expires)
	names := func() (all []string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, r := range f.applied[len(f.applied)-1].Policy.Rules {
			all = append(all, r.Name)
		}
		return all
	}
	assert.Equal(t, []string{"temporary:dns", "a"}, names())
	assert.Equal(t, policy.Block, f.applied[1].Policy.Rules[0].Action)
	assert.Equal(t, r.Expires, f.applied[1].Policy.Rules[0].Expires)
	_, err = b.AddTemporary([]byte(blockDNS), time.Minute, "a test")
	assert.ErrorIs(t, err, ErrExists)
	second, err := b.AddTemporary([]byte(`{"action": "allow", "layer4": "tcp"}`), time.Minute, "a test")
	require.NoError(t, err)
	assert.Equal(t, []string{second.Name, "temporary:dns", "a"}, names(), "the latest stands first")

	// They survive a reload.
	b.write("policy.yaml", twoRules)
	b.look()
	assert.Equal(t, []string{second.Name, "temporary:dns", "a", "b"}, names())
	assert.Equal(t, twoRules, string(b.document().Content))
	b.pass(time.Minute)
	assert.Len(t, b.document().Temporary, 1)

	// And a restart.
	require.NoError(t, b.Shutdown(context.Background()))
	next := newBench(t, twoRules, func(c *Config) {
		c.File, c.StateDirectory = b.path("policy.yaml"), b.path("state")
	})
	next.time = b.now()
	require.NoError(t, next.first())
	next.subscribe(&f)
	assert.Equal(t, []string{"temporary:dns", "a", "b"}, names())
	require.NoError(t, next.RemoveTemporary("temporary:dns", "a test"))
	assert.Equal(t, []string{"a", "b"}, names())
	assert.ErrorIs(t, next.RemoveTemporary("temporary:dns", "a test"), ErrNoRule)
	assert.Equal(t, telemetry.PolicyLoaded, f.changes[len(f.changes)-1].Change)
}

// A temporary rule does not confirm a change that waits.
func TestTemporaryRuleWhileAChangeWaits(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	_, err := b.Replace(Replacement{Content: []byte(twoRules), ConfirmWithin: time.Minute})
	require.NoError(t, err)
	b.pass(20 * time.Second)
	_, err = b.AddTemporary([]byte(blockDNS), time.Hour, "a test")
	require.NoError(t, err)
	assert.Equal(t, &Return{To: 1, Within: 40 * time.Second}, f.applied[2].Return)
	b.pass(40 * time.Second)
	last := f.applied[3].Policy
	assert.Equal(t, []string{"temporary:dns", "a"}, []string{last.Rules[0].Name, last.Rules[1].Name})
}

func TestRefusedTemporaryRules(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	for text, want := range map[string]string{
		"":                           "EOF",
		"[":                          "yaml",
		"- a":                        "no mapping",
		"{action: allow, name: A B}": "name",
		"{action: permit}":           "action",
		"{action: allow, expires: 2030-01-01T00:00:00Z}":             "expires",
		"{action: allow, layer3: {source: ['group:office']}}":        "group",
		"{action: allow, layer3: {source: [&a 1.2.3.4]}, wat: 1}":    "wat",
		strings.Repeat("[", 60000):                                   "",
		"{action: allow, description: " + strings.Repeat("x", 1<<17): "at most",
	} {
		_, err := b.AddTemporary([]byte(text), time.Minute, "a test")
		if assert.Error(t, err, "%.50s", text) {
			assert.ErrorContains(t, err, want)
		}
	}
	for _, ttl := range []time.Duration{0, -time.Second, time.Millisecond, 31 * 24 * time.Hour} {
		_, err := b.AddTemporary([]byte(blockDNS), ttl, "a test")
		assert.ErrorIs(t, err, ErrDuration)
	}
	for range maxTemporary {
		_, err := b.AddTemporary([]byte("{action: allow}"), time.Minute, "a test")
		require.NoError(t, err)
		b.mu.Lock()
		b.time = b.time.Add(time.Microsecond)
		b.mu.Unlock()
	}
	_, err := b.AddTemporary([]byte("{action: allow}"), time.Minute, "a test")
	assert.ErrorIs(t, err, ErrTooMany)
	f.mu.Lock()
	f.refuse = map[int]bool{1: true}
	f.mu.Unlock()
	b.pass(time.Hour)
	_, err = b.AddTemporary([]byte("{action: allow}"), time.Minute, "a test")
	require.NoError(t, err)
}
