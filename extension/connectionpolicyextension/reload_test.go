package connectionpolicyextension

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionpolicyextension/internal/metadatatest"
	"github.com/weirnet/weir/internal/telemetry"
)

func TestReload(t *testing.T) {
	tests := []struct {
		name string
		// change makes the policy have two rules.
		change func(t *testing.T, b *bench)
	}{
		{"written in place", func(_ *testing.T, b *bench) { b.write("policy.yaml", twoRules) }},
		{"renamed over, as editors do", func(t *testing.T, b *bench) {
			b.write("policy.yaml~", twoRules)
			require.NoError(t, os.Rename(b.path("policy.yaml~"), b.path("policy.yaml")))
		}},
		{"same size and time", func(t *testing.T, b *bench) {
			info, err := os.Stat(b.path("policy.yaml"))
			require.NoError(t, err)
			b.write("policy.yaml", twoRules)
			require.NoError(t, os.Chtimes(b.path("policy.yaml"), info.ModTime(), info.ModTime()))
		}},
		{"removed and written again", func(t *testing.T, b *bench) {
			require.NoError(t, os.Remove(b.path("policy.yaml")))
			b.write("policy.yaml", twoRules)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := started(t, oneRule)
			var f enforcer
			b.subscribe(&f)
			tt.change(t, b)
			b.look()
			assert.Equal(t, []uint64{1, 2}, f.numbers())
			assert.Equal(t, 2, f.rules())
			assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyLoaded}, f.kinds())
			assert.Equal(t, "2 rules, mode prevent", f.last())
			b.look()
			assert.Equal(t, []uint64{1, 2}, f.numbers(), "nothing changed")
		})
	}
}

// A ConfigMap is a link to a folder behind another link, which is what changes.
func TestReloadOfAConfigMap(t *testing.T) {
	b := newBench(t, oneRule)
	require.NoError(t, os.Remove(b.path("policy.yaml")))
	b.write("..2026_01/policy.yaml", oneRule)
	require.NoError(t, os.Symlink("..2026_01", b.path("..data")))
	require.NoError(t, os.Symlink("..data/policy.yaml", b.path("policy.yaml")))
	require.NoError(t, b.first())
	var f enforcer
	b.subscribe(&f)

	b.write("..2026_02/policy.yaml", twoRules)
	require.NoError(t, os.Symlink("..2026_02", b.path("..data_tmp")))
	require.NoError(t, os.Rename(b.path("..data_tmp"), b.path("..data")))
	require.NoError(t, os.RemoveAll(b.path("..2026_01")))
	b.look()
	assert.Equal(t, 2, f.rules())
}

// Two thirds of a policy can be a policy.
func TestHalfAFileIsNotTakenUp(t *testing.T) {
	b := started(t, noRules)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", oneRule)
	b.pass(b.cfg.ReloadInterval)
	b.write("policy.yaml", twoRules)
	b.pass(maxSettle)
	assert.Equal(t, []uint64{1}, f.numbers(), "it changed between two looks")
	b.pass(maxSettle)
	assert.Equal(t, []uint64{1, 2}, f.numbers())
	assert.Equal(t, 2, f.rules())
}

func TestHalfAnErrorIsNotReported(t *testing.T) {
	b := started(t, oneRule)
	b.write("policy.yaml", broken)
	b.pass(b.cfg.ReloadInterval)
	b.write("policy.yaml", oneRule)
	b.pass(maxSettle)
	b.look()
	assert.Empty(t, b.logs.FilterLevelExact(zap.ErrorLevel).All())
	assert.EqualValues(t, 1, b.current.Number)
}

func TestRefusedFiles(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, b *bench)
		// want is in the log, line by line.
		want []string
	}{
		{"errors", func(_ *testing.T, b *bench) { b.write("policy.yaml", broken) }, []string{"policy.yaml:1:7: mode: ", "rules[0]"}},
		{"vanished", func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.path("policy.yaml"))) }, []string{"no such file"}},
		{"empty", func(_ *testing.T, b *bench) { b.write("policy.yaml", "") }, []string{"policy.yaml"}},
		{"readable by others", func(t *testing.T, b *bench) {
			b.write("policy.yaml", twoRules)
			require.NoError(t, os.Chmod(b.path("policy.yaml"), 0o644))
		}, []string{"mode 0644", "chmod 600 ", "allow_insecure_files: true"}},
		{
			"folder writable by others", func(t *testing.T, b *bench) { require.NoError(t, os.Chmod(b.dir, 0o777)) },
			[]string{"mode 0777", "chmod go-w "},
		},
		{"somebody else's", func(t *testing.T, b *bench) {
			if os.Geteuid() != 0 {
				t.Skip("giving files away needs root")
			}
			require.NoError(t, os.Chown(b.path("policy.yaml"), 65534, -1))
		}, []string{"belongs to user 65534"}},
		{"FIFO", func(t *testing.T, b *bench) {
			require.NoError(t, os.Remove(b.path("policy.yaml")))
			require.NoError(t, syscall.Mkfifo(b.path("policy.yaml"), 0o600))
		}, []string{"not a regular file"}},
		{"folder", func(t *testing.T, b *bench) {
			require.NoError(t, os.Remove(b.path("policy.yaml")))
			require.NoError(t, os.Mkdir(b.path("policy.yaml"), 0o700))
		}, []string{"it is a folder"}},
		{
			"100 MB", func(t *testing.T, b *bench) { require.NoError(t, os.Truncate(b.path("policy.yaml"), 100<<20)) },
			[]string{"larger than 64 MiB"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := started(t, oneRule)
			var f enforcer
			b.subscribe(&f)
			tt.change(t, b)
			start := time.Now()
			b.look()
			b.look()
			assert.Less(t, time.Since(start), 5*time.Second)

			assert.Equal(t, []uint64{1}, f.numbers(), "the old policy stays in force")
			assert.Equal(t, []telemetry.Change{telemetry.PolicyLoaded, telemetry.PolicyRefused}, f.kinds(), "told once")
			assert.Contains(t, f.last(), "; generation 1 stays in force")
			assert.NotContains(t, f.last(), "\n")
			entries := b.logs.FilterMessage("Policy refused").All()
			require.Len(t, entries, 1)
			var text []string
			for _, line := range entries[0].ContextMap()["errors"].([]any) {
				text = append(text, line.(string))
			}
			for _, want := range tt.want {
				assert.Contains(t, strings.Join(text, "\n"), want)
			}
			assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, b.host.statuses())

			// A good policy makes up for it.
			require.NoError(t, os.Chmod(b.dir, 0o755))
			require.NoError(t, os.RemoveAll(b.path("policy.yaml")))
			b.write("policy.yaml", twoRules)
			b.look()
			assert.Equal(t, []uint64{1, 2}, f.numbers())
			assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, b.host.statuses())
		})
	}
}

func TestTheOldContentReturns(t *testing.T) {
	b := started(t, oneRule)
	var f enforcer
	b.subscribe(&f)
	b.write("policy.yaml", broken)
	b.look()
	b.write("policy.yaml", oneRule)
	b.look()
	assert.Equal(t, []uint64{1}, f.numbers(), "it was in force all the time")
	assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, b.host.statuses())
}

func TestLists(t *testing.T) {
	b := newBench(t, withLists)
	require.ErrorContains(t, b.first(), "lists: no such file or directory")

	b.write("lists/bad.txt", "192.0.2.0/24\n")
	require.NoError(t, b.first())
	b.report.host = b.host
	var f enforcer
	b.subscribe(&f)
	include := func() int { return len(f.applied[len(f.applied)-1].Policy.Rules[0].Source.Include) }
	assert.Equal(t, 1, include())

	b.write("lists/bad.txt", "192.0.2.0/24\n198.51.100.0/24\n")
	b.look()
	assert.Equal(t, []uint64{1, 2}, f.numbers())
	assert.Equal(t, 2, include())

	require.NoError(t, os.Remove(b.path("lists/bad.txt")))
	b.look()
	b.look()
	assert.Equal(t, []uint64{1, 2}, f.numbers(), "the list that was read stays in force")
	assert.Equal(t, 1, b.logs.FilterMessage("Policy refused").Len())

	b.write("lists/bad.txt", "203.0.113.0/24\n")
	b.look()
	assert.Equal(t, []uint64{1, 2, 3}, f.numbers())

	require.NoError(t, os.Chmod(b.path("lists/bad.txt"), 0o644))
	b.look()
	assert.Contains(t, f.last(), "chmod 600 ")
}

func TestListOfAnInlinePolicy(t *testing.T) {
	b := newBench(t, "", func(c *Config) {
		c.File = ""
		c.Policy = map[string]any{
			"groups": map[string]any{"addresses": map[string]any{"bad": map[string]any{"file": "bad.txt"}}},
			"rules":  []any{map[string]any{"name": "a", "action": "block", "layer3": map[string]any{"source": "group:bad"}}},
		}
	})
	t.Chdir(b.dir)
	b.write("bad.txt", "192.0.2.0/24\n")
	require.NoError(t, b.first())
	b.write("bad.txt", "192.0.3.0/24\n")
	b.look()
	assert.EqualValues(t, 2, b.current.Number)
	assert.Equal(t, "extensions::connection_policy::policy", b.current.Source)
}

func TestTheFirstPolicyIsRefused(t *testing.T) {
	for name, content := range map[string]string{"errors": broken, "lock-out": nobodyIn} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, content)
			err := b.Start(t.Context(), b.host)
			require.ErrorContains(t, err, "load the policy from "+b.path("policy.yaml"))
			var f enforcer
			_, err = b.Subscribe(0, f.apply, f.changed)
			require.ErrorContains(t, err, "is not running")
			require.NoError(t, b.Shutdown(t.Context()))
		})
	}
}

func TestMetrics(t *testing.T) {
	b := started(t, twoRules)
	ignoreTime := metricdatatest.IgnoreTimestamp()
	gauge := func(v int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: v}} }
	counts := func(loaded, refused int64) []metricdata.DataPoint[int64] {
		points := []metricdata.DataPoint[int64]{{Value: loaded, Attributes: attribute.NewSet(attribute.String("change", "loaded"))}}
		if refused > 0 {
			points = append(points, metricdata.DataPoint[int64]{Value: refused, Attributes: attribute.NewSet(attribute.String("change", "refused"))})
		}
		return points
	}
	metadatatest.AssertEqualWeirPolicyGeneration(t, b.tel, gauge(1), ignoreTime)
	metadatatest.AssertEqualWeirPolicyRules(t, b.tel, gauge(2), ignoreTime)
	metadatatest.AssertEqualWeirPolicyLoadTime(t, b.tel, gauge(b.now().Unix()), ignoreTime)
	metadatatest.AssertEqualWeirPolicyRefused(t, b.tel, gauge(0), ignoreTime)
	metadatatest.AssertEqualWeirPolicyChanges(t, b.tel, counts(1, 0), ignoreTime)

	b.write("policy.yaml", broken)
	b.look()
	metadatatest.AssertEqualWeirPolicyGeneration(t, b.tel, gauge(1), ignoreTime)
	metadatatest.AssertEqualWeirPolicyRefused(t, b.tel, gauge(1), ignoreTime)
	metadatatest.AssertEqualWeirPolicyChanges(t, b.tel, counts(1, 1), ignoreTime)

	b.write("policy.yaml", oneRule)
	b.look()
	metadatatest.AssertEqualWeirPolicyGeneration(t, b.tel, gauge(2), ignoreTime)
	metadatatest.AssertEqualWeirPolicyRules(t, b.tel, gauge(1), ignoreTime)
	metadatatest.AssertEqualWeirPolicyRefused(t, b.tel, gauge(0), ignoreTime)
	metadatatest.AssertEqualWeirPolicyChanges(t, b.tel, counts(2, 1), ignoreTime)
}

func TestWarningsAreLogged(t *testing.T) {
	b := started(t, noRules+"groups: {addresses: {none: []}}\n")
	assert.NotEmpty(t, b.logs.FilterMessage("Policy warning").All())
}
