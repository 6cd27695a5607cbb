package audit

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var since = time.Date(2026, 5, 4, 1, 0, 0, 500, time.UTC)

// quiet tells the kernel's count until the log takes it for settled.
func (b *bench) quiet(n uint64) {
	b.t.Helper()
	b.await("all to be written", func() bool {
		b.Log.mu.Lock()
		defer b.Log.mu.Unlock()
		return b.tally.known && b.tally.told == b.counts.Connections
	})
	for range quietTimes + 1 {
		b.Counted(since, n)
	}
}

// texts are the lines without their time.
func (b *bench) texts() (all []string) {
	b.t.Helper()
	for _, l := range b.lines() {
		all = append(all, l[len(timeFormat)+1:])
	}
	return all
}

// kill ends a log as a kill of its process does.
func (b *bench) kill() {
	b.t.Helper()
	b.await("all to be written", func() bool { c := b.Counts(); return c.Connections == b.toldOf() })
	content, err := os.ReadFile(b.config.Path)
	require.NoError(b.t, err)
	b.close()
	require.NoError(b.t, os.WriteFile(b.config.Path, content, 0o600))
}

func (b *bench) toldOf() uint64 {
	b.Log.mu.Lock()
	defer b.Log.mu.Unlock()
	return b.tally.told
}

const counted = " blocked, or would be, since 2026-05-04T01:00:00.0000005Z"

func TestCountsAgree(t *testing.T) {
	b := open(t)
	b.quiet(0)
	b.Connections(manyBlocked(0, 3))
	b.quiet(3)
	b.quiet(3)
	b.close()
	texts := b.texts()
	assert.Equal(t, "count     0"+counted, texts[0])
	assert.Equal(t, "count     3"+counted, texts[4])
	assert.Len(t, texts, 5, "it is said once")
	assert.Zero(t, b.Counts().Unlined)
}

// What a killed process had no time to write is said by the next one, exactly,
// also where the file was set aside in between.
func TestCountAfterAKill(t *testing.T) {
	for name, maxSize := range map[string]int64{"one file": 1 << 30, "many files": 1000} {
		t.Run(name, func(t *testing.T) {
			b := open(t, func(c *Config) { c.MaxSize = maxSize })
			b.quiet(0)
			for i := range 30 {
				b.Connections(manyBlocked(i, 1))
				b.await("a line", func() bool { return b.Counts().Connections == uint64(i+1) })
			}
			b.kill()
			next := &bench{t: t, config: b.config}
			next.open()
			next.Connections(manyBlocked(30, 2))
			next.quiet(37) // the kernel counted five that the first was killed with
			next.Connections(manyBlocked(32, 1))
			next.quiet(38)
			next.close()
			texts := next.texts()
			all := strings.Join(texts, "\n")
			assert.Contains(t, all, "error     the process before ended abruptly")
			assert.Contains(t, all, "count     37"+counted+"\nerror     5 of these have no line")
			assert.Contains(t, all, "count     38"+counted)
			assert.Equal(t, 1, strings.Count(all, "have no line"))
			assert.EqualValues(t, 5, next.Counts().Unlined)
			assert.EqualValues(t, 33, next.sum())
		})
	}
}

// Counters that began anew, as at a boot, are not compared with what was before.
func TestCountOfOtherCounters(t *testing.T) {
	b := open(t)
	b.Counted(since.Add(-time.Hour), 0)
	b.Connections(manyBlocked(0, 3))
	b.await("the lines", func() bool { return b.Counts().Connections == 3 })
	b.close()
	next := &bench{t: t, config: b.config}
	next.open()
	next.Counted(since, 0)
	next.Connections(manyBlocked(3, 2))
	next.quiet(2)
	next.close()
	texts := next.texts()
	assert.Equal(t, "count     2"+counted, texts[len(texts)-1])
	assert.Zero(t, next.Counts().Unlined)
}

// A log that begins later than the counters says so.
func TestCountOfALateLog(t *testing.T) {
	b := open(t)
	b.quiet(12)
	b.close()
	texts := b.texts()
	assert.Equal(t, []string{"count     0" + counted, "count     12" + counted}, texts[:2])
	assert.Contains(t, texts[2], "error     12 of these have no line")
}

// While something is on its way nothing is said.
func TestCountWhileItGoesOn(t *testing.T) {
	b := open(t)
	b.quiet(0)
	for i := range 10 {
		b.Counted(since, uint64(i*10+5))
		b.Connections(manyBlocked(i*10, 10))
	}
	b.quiet(100)
	b.close()
	assert.NotContains(t, strings.Join(b.texts(), "\n"), "no line")
}

func FuzzTally(f *testing.F) {
	f.Add("2026-05-04T03:02:01.000Z count     7 blocked, or would be, since 2026-05-04T01:00:00Z\n2026-05-04T03:02:01.000Z blocked   x ×5 in 3s\n")
	f.Add("2026-05-04T03:02:01.000Z count\n\n\x00 ×")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := tallyOf(strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	})
}
