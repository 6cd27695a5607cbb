package connectionpolicyextension

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/weirnet/weir/internal/telemetry"
)

// next is another process with the same files, which is not started.
func (b *bench) next(change ...func(*Config)) *bench {
	b.t.Helper()
	content, err := os.ReadFile(b.path("policy.yaml"))
	require.NoError(b.t, err)
	n := newBench(b.t, "", append([]func(*Config){func(c *Config) {
		c.File, c.StateDirectory = b.path("policy.yaml"), b.path("state")
	}}, change...)...)
	n.dir = b.dir
	b.write("policy.yaml", string(content))
	return n
}

// ended is a process in whose life this was the policy.
func ended(t *testing.T, content string, change ...func(*Config)) *bench {
	t.Helper()
	b := started(t, content, change...)
	b.subscribe(&enforcer{})
	require.NoError(t, b.Shutdown(context.Background()))
	return b
}

// TestLastGood: what a process starts with whose policy cannot be put in force.
func TestLastGood(t *testing.T) {
	const listed = "groups:\n  addresses:\n    bad: {file: lists/bad.txt}\n"
	for _, c := range []struct {
		name   string
		before string // the policy of the process before; empty: none
		change func(b *bench)
		config func(*Config)
		refuse map[int]bool // by the receiver, by number of rules
		rules  int          // in force; -1: it does not start
		why    string       // in the error, or in what is told
	}{
		{name: "as before", before: oneRule, rules: 1},
		{name: "another", before: oneRule, change: func(b *bench) { b.write("policy.yaml", twoRules) }, rules: 2},
		{name: "broken", before: oneRule, change: func(b *bench) { b.write("policy.yaml", broken) }, rules: 1, why: "prevnt"},
		{name: "gone", before: oneRule, change: func(b *bench) { os.Remove(b.path("policy.yaml")) }, rules: 1, why: "no such file"},
		{
			name: "others may write it", before: oneRule,
			change: func(b *bench) { os.Chmod(b.path("policy.yaml"), 0o666) }, rules: 1, why: "chmod",
		},
		{
			name: "list gone", before: listed + oneRule,
			change: func(b *bench) { os.Remove(b.path("lists/bad.txt")) }, rules: 1, why: "no such file",
		},
		{name: "locks everybody out", before: oneRule, change: func(b *bench) { b.write("policy.yaml", nobodyIn) }, rules: 1, why: "lock everybody out"},
		{
			name: "the receiver refuses it", before: oneRule, refuse: map[int]bool{2: true},
			change: func(b *bench) { b.write("policy.yaml", twoRules) }, rules: 1, why: "the kernel says no",
		},
		{
			name: "the receiver refuses both", before: oneRule, refuse: map[int]bool{1: true, 2: true},
			change: func(b *bench) { b.write("policy.yaml", twoRules) }, rules: -1, why: "the kernel says no",
		},
		{name: "nothing before", change: func(b *bench) { b.write("policy.yaml", broken) }, rules: -1, why: "no last good policy to start with instead"},
		{
			name: "switched off", before: oneRule, config: func(c *Config) { c.KeepLastGood = false },
			change: func(b *bench) { b.write("policy.yaml", broken) }, rules: -1, why: "none is kept",
		},
		{
			name: "of another file", before: oneRule,
			config: func(c *Config) { c.File += ".other" },
			change: func(b *bench) { b.write("policy.yaml.other", broken) }, rules: -1, why: "does not exist",
		},
		{
			name: "kept file damaged", before: oneRule,
			change: func(b *bench) {
				b.write("policy.yaml", broken)
				path := kepts(b)[0]
				content, _ := os.ReadFile(path)
				content[1024+512] ^= 1 // in the policy or its header
				os.WriteFile(path, content, 0o600)
			}, rules: -1, why: "read the policy that was kept",
		},
		{
			name: "kept file readable by others", before: oneRule,
			change: func(b *bench) {
				b.write("policy.yaml", broken)
				os.Chmod(kepts(b)[0], 0o644)
			}, rules: -1, why: "chmod",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, dir: t.TempDir()}
			b.write("lists/bad.txt", "192.0.2.0/24\n")
			b.write("policy.yaml", c.before)
			if c.before != "" {
				first := b.next()
				require.NoError(t, first.first())
				first.subscribe(&enforcer{})
				require.NoError(t, first.Shutdown(t.Context()))
			}
			change := []func(*Config){}
			if c.config != nil {
				change = append(change, c.config)
			}
			n := b.next(change...)
			if c.change != nil {
				c.change(b)
			}
			f := &enforcer{refuse: c.refuse}
			err := n.Start(t.Context(), n.host)
			if err == nil {
				t.Cleanup(func() { n.Shutdown(context.Background()) })
				_, err = n.Subscribe(0, f.apply, f.changed)
			}
			if c.rules < 0 {
				require.ErrorContains(t, err, c.why)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.rules, f.rules())
			if c.why == "" {
				assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded}, f.kinds())
				return
			}
			assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyRefused}, f.kinds())
			assert.Contains(t, f.changes[0].Detail, "the last good policy, of ")
			assert.Contains(t, f.last(), c.why)
			assert.Equal(t, 1, n.logs.FilterMessageSnippet("The last good one is in force instead").Len())
			statuses := n.host.statuses()
			assert.Equal(t, componentstatus.StatusRecoverableError, statuses[len(statuses)-1])
		})
	}
}

// kepts are the files with kept policies.
func kepts(b *bench) []string {
	list, err := filepath.Glob(b.path("state/*.policy.tar"))
	require.NoError(b.t, err)
	return list
}

// TestLastGoodAndThenMended: the file is put right while the last good policy is in
// force.
func TestLastGoodAndThenMended(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		rules   int
		last    telemetry.Change
	}{
		"as it was": {oneRule, 1, telemetry.PolicyRefused}, // restored: that is in the log
		"anew":      {twoRules, 2, telemetry.PolicyLoaded},
	} {
		t.Run(name, func(t *testing.T) {
			b := ended(t, oneRule)
			n := b.next()
			b.write("policy.yaml", broken)
			require.NoError(t, n.first())
			var f enforcer
			n.subscribe(&f)
			n.watch.next = n.now()
			b.write("policy.yaml", c.content)
			n.look()
			assert.Equal(t, c.rules, f.rules())
			kinds := f.kinds()
			assert.Equal(t, c.last, kinds[len(kinds)-1])
		})
	}
}

// TestOnlyGoodIsKept: what nobody has enforced or confirmed does not replace what
// is kept.
func TestOnlyGoodIsKept(t *testing.T) {
	b := started(t, oneRule, func(c *Config) { c.ConfirmWithin = time.Minute })
	assert.Empty(t, kepts(b), "nobody enforces it yet")
	b.subscribe(&enforcer{})
	kept := func() int {
		k, err := b.store.load()
		require.NoError(t, err)
		p, err := k.text.parse(time.Now())
		require.NoError(t, err)
		return len(p.Rules)
	}
	assert.Equal(t, 1, kept())
	b.write("policy.yaml", twoRules)
	b.look()
	assert.Equal(t, 1, kept(), "it waits for a confirmation")
	b.pass(time.Second)
	b.touch("policy.yaml.confirm", time.Second)
	b.pass(2 * time.Second)
	assert.Equal(t, 2, kept(), "it was confirmed")
	b.write("policy.yaml", oneRule)
	b.look()
	b.pass(2 * time.Minute)
	assert.Equal(t, 2, kept(), "it was taken back")
	assert.Nil(t, b.current.text, "what is kept is not held in memory")
}

// TestNumbersGoOn over restarts: the same policy keeps its number, another one has
// one that none had.
func TestNumbersGoOn(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", twoRules)
	b.look()
	assert.Equal(t, []uint64{1, 2}, f.numbers())
	for _, c := range []struct {
		name    string
		content string
		last    uint64 // what the subscriber knows
		config  func(*Config)
		want    uint64
	}{
		{"the same", twoRules, 2, func(*Config) {}, 2},
		{"another", oneRule, 2, func(*Config) {}, 3},
		{"the kernel knows a later one", oneRule, 9, func(*Config) {}, 10},
		{"the same again", oneRule, 10, func(*Config) {}, 10},
		{"broken: the last good one", broken, 10, func(*Config) {}, 10},
		{"nothing is kept, the kernel knows", oneRule, 10, func(c *Config) { c.KeepLastGood = false }, 11},
		{"nothing is kept, nobody knows", oneRule, 0, func(c *Config) { c.KeepLastGood = false }, 1},
	} {
		n := b.next(c.config)
		b.write("policy.yaml", c.content)
		require.NoError(t, n.first(), c.name)
		var f enforcer
		_, err := n.Subscribe(c.last, f.apply, f.changed)
		require.NoError(t, err, c.name)
		assert.Equal(t, []uint64{c.want}, f.numbers(), c.name)
		assert.Equal(t, c.want, f.changes[0].Generation, c.name)
		require.NoError(t, n.Shutdown(t.Context()))
	}
}

// TestKeptIsComplete: lists and an inline policy are read without their files.
func TestKeptIsComplete(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"file": func(*Config) {},
		"inline": func(c *Config) {
			c.File = ""
			c.Policy = map[string]any{
				"groups": map[string]any{"addresses": map[string]any{"bad": map[string]any{"file": ""}}},
				"rules":  []any{map[string]any{"name": "a", "action": "block", "layer3": map[string]any{"source": []any{"group:bad"}}}},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			list := filepath.Join(dir, "bad.txt")
			require.NoError(t, os.WriteFile(list, []byte("192.0.2.0/24\n198.51.100.1\n"), 0o600))
			content := "groups:\n  addresses:\n    bad: {file: " + list + "}\nrules:\n  - {name: a, action: block, layer3: {source: [group:bad]}}\n"
			b := started(t, content, change, func(c *Config) {
				if c.Policy != nil {
					c.Policy["groups"].(map[string]any)["addresses"].(map[string]any)["bad"].(map[string]any)["file"] = list
				}
			})
			var f enforcer
			b.subscribe(&f)
			require.NoError(t, os.Remove(list))
			k, err := b.store.load()
			require.NoError(t, err)
			p, err := k.text.parse(time.Now())
			require.NoError(t, err)
			p.Rules[0].Line = f.applied[0].Policy.Rules[0].Line // an inline policy had none
			assert.Equal(t, f.applied[0].Policy, p)
			for _, path := range []string{b.store.path, b.store.numberPath, b.path("state")} {
				info, err := os.Stat(path)
				require.NoError(t, err)
				assert.Zero(t, info.Mode().Perm()&0o077, path)
			}
		})
	}
}

func TestStateDirectory(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		env    string
		want   string
	}{
		{"nothing said", Config{KeepLastGood: true}, "", "/var/lib/weir"},
		{"systemd", Config{KeepLastGood: true}, "/var/lib/x", "/var/lib/x"},
		{"systemd names two", Config{KeepLastGood: true}, "/var/lib/x:/var/lib/y", "/var/lib/x"},
		{"set", Config{KeepLastGood: true, StateDirectory: "/s"}, "/var/lib/x", "/s"},
		{"a trial", Config{KeepLastGood: true, AllowInsecureFiles: true}, "/var/lib/x", ""},
		{"a trial of it", Config{KeepLastGood: true, AllowInsecureFiles: true, StateDirectory: "/s"}, "", "/s"},
		{"switched off", Config{StateDirectory: "/s"}, "/var/lib/x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", c.env)
			assert.Equal(t, c.want, c.config.stateDirectory())
		})
	}
}

// TestStateFolderOfOthers is not used, and the policy in force all the same.
func TestStateFolderOfOthers(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"others may read it": func(path string) error { return os.Mkdir(path, 0o755) },
		"a file":             func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, oneRule)
			require.NoError(t, prepare(b.path("state")))
			require.NoError(t, b.first())
			var f enforcer
			b.subscribe(&f)
			assert.Equal(t, 1, f.rules())
			assert.Positive(t, b.logs.FilterMessageSnippet("cannot be kept").Len())
			assert.Empty(t, kepts(b))
		})
	}
}
