package audit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/nstest"
	"github.com/weirnet/weir/internal/securefile"
)

func TestModes(t *testing.T) {
	b := prepare(t, func(c *Config) { c.MaxSize = 1000 })
	defer syscall.Umask(syscall.Umask(0))
	b.open()
	for i := range 20 {
		b.Connections(manyBlocked(i, 1))
		b.await("a line", func() bool { return b.Counts().Lines == uint64(i+1) })
	}
	b.close()
	require.Greater(t, len(b.files()), 1)
	for _, name := range append(b.files(), b.dir()) {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, "%s has mode %v", name, info.Mode())
	}
}

// Nothing is written where others have a part in it; it is said why, and taken up
// when that is put right.
func TestRefusedPlaces(t *testing.T) {
	mkdir := func(t *testing.T, b *bench, mode os.FileMode) {
		require.NoError(t, os.Mkdir(b.dir(), 0o700))
		require.NoError(t, os.Chmod(b.dir(), mode))
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, b *bench)
		want    string
		repair  func(t *testing.T, b *bench)
	}{
		"folder that others may write to": {
			func(t *testing.T, b *bench) { mkdir(t, b, 0o777) }, "chmod",
			func(t *testing.T, b *bench) { require.NoError(t, os.Chmod(b.dir(), 0o700)) },
		},
		"folder that others may read": {
			func(t *testing.T, b *bench) { mkdir(t, b, 0o755) }, "chmod 700",
			func(t *testing.T, b *bench) { require.NoError(t, os.Chmod(b.dir(), 0o700)) },
		},
		"folder above that others may write to": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, os.Chmod(filepath.Dir(b.dir()), 0o777))
			}, "chmod go-w",
			func(t *testing.T, b *bench) { require.NoError(t, os.Chmod(filepath.Dir(b.dir()), 0o755)) },
		},
		"folder of somebody else": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, os.Chown(b.dir(), 65534, -1))
			}, "belongs to user 65534",
			func(t *testing.T, b *bench) { require.NoError(t, os.Chown(b.dir(), 0, -1)) },
		},
		"file that others may read": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, os.WriteFile(b.config.Path, nil, 0o644))
			}, "chmod 600",
			func(t *testing.T, b *bench) { require.NoError(t, os.Chmod(b.config.Path, 0o600)) },
		},
		"symbolic link": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), b.config.Path))
			}, "symbolic link",
			func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.config.Path)) },
		},
		"hard link": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, os.WriteFile(b.config.Path, nil, 0o600))
				require.NoError(t, os.Link(b.config.Path, b.config.Path+"2"))
			}, "hard links",
			func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.config.Path+"2")) },
		},
		"FIFO": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, syscall.Mkfifo(b.config.Path, 0o600))
			}, "not a regular file",
			func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.config.Path)) },
		},
		"something else's file": {
			func(t *testing.T, b *bench) {
				mkdir(t, b, 0o700)
				require.NoError(t, os.WriteFile(b.config.Path, make([]byte, 1<<20), 0o600))
			}, "not an audit log",
			func(t *testing.T, b *bench) { require.NoError(t, os.Remove(b.config.Path)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("giving files away needs root")
			}
			t.Parallel()
			b := prepare(t)
			c.prepare(t, b)
			before := snapshot(t, b.dir())
			b.open()
			b.Connections(manyBlocked(0, 5))
			b.await("an error", func() bool { return len(b.told()) > 0 })
			assert.ErrorContains(t, b.told()[0], c.want)
			assert.Equal(t, before, snapshot(t, b.dir()), "nothing is written")
			assert.Zero(t, b.Counts().Lines)
			c.repair(t, b)
			b.await("the lines", func() bool { return b.Counts().Connections == 5 })
			b.close()
			assert.EqualValues(t, 5, b.sum())
			told := b.told()
			assert.NoError(t, told[len(told)-1])
		})
	}
}

// snapshot is what is in a folder, and how large.
func snapshot(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		all = append(all, fmt.Sprint(e.Name(), info.Mode(), info.Size()))
	}
	return all
}

func TestOneProcessPerFile(t *testing.T) {
	b := open(t)
	b.Connections(manyBlocked(0, 1))
	b.await("a line", func() bool { return b.Counts().Lines == 1 })
	other := &bench{t: t, config: b.config}
	other.open()
	other.await("an error", func() bool { return len(other.told()) > 0 })
	assert.ErrorContains(t, other.told()[0], "another process writes it")
	b.close()
	other.Note(began, "start", "again")
	other.await("a line", func() bool { return other.Counts().Lines >= 1 })
}

// TestFullDisk fills a small disk, and empties it again.
func TestFullDisk(t *testing.T) {
	nstest.Need(t)
	b := prepare(t, func(c *Config) { c.LinesPerSecond = 100 })
	disk := filepath.Dir(b.dir())
	require.NoError(t, unix.Mount("audit", disk, "tmpfs", 0, "size=512k,mode=755"))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	b.open()
	b.Connections(manyBlocked(0, 10))
	b.await("lines", func() bool { return b.Counts().Lines == 10 })
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)

	sent := 10
	send := func(n int) {
		b.Connections(manyBlocked(sent, n))
		sent += n
	}
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		send(500)
	}
	b.await("an error", func() bool { return len(b.told()) > 0 })
	assert.ErrorIs(t, b.told()[0], unix.ENOSPC)
	assert.Len(t, b.told(), 1, "it is said once")
	assert.Positive(t, b.Counts().Failures["no_space"])
	b.lines() // none is half
	require.NoError(t, os.Remove(ballast))
	b.await("the end of it", func() bool { return len(b.told()) == 2 })
	assert.NoError(t, b.told()[1])
	send(10)
	b.close()
	counts := b.Counts()
	assert.EqualValues(t, sent, counts.Connections)
	assert.EqualValues(t, sent, b.sum(), "nothing is missing, nothing is there twice")
	assert.Empty(t, counts.Lost)
	assert.Contains(t, strings.Join(b.lines(), "\n"), " error     this log could not be written for ")
	t.Logf("%d connections, %+v", sent, counts)
}

// fill leaves no byte.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
}

// What cannot be written before the end is counted and said.
func TestFullDiskAtTheEnd(t *testing.T) {
	nstest.Need(t)
	b := prepare(t)
	disk := filepath.Dir(b.dir())
	require.NoError(t, unix.Mount("audit", disk, "tmpfs", 0, "size=16k,mode=755"))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	b.open()
	b.await("the file", func() bool { _, err := os.Stat(b.config.Path); return err == nil })
	fill(t, filepath.Join(disk, "ballast"))
	b.Connections(manyBlocked(0, 100))
	err := b.Close(context.Background(), "test")
	require.ErrorIs(t, err, unix.ENOSPC)
	counts := b.Counts()
	assert.EqualValues(t, 100, counts.Connections+counts.LostConnections)
	assert.Equal(t, counts.Connections, b.sum())
}

func TestRotation(t *testing.T) {
	b := open(t, func(c *Config) { c.MaxSize = 2000 })
	for i := range 100 {
		b.Connections(manyBlocked(i, 1))
		if i%7 == 0 {
			b.await("the line", func() bool { return b.Counts().Lines == uint64(i+1) })
		}
	}
	b.close()
	assert.EqualValues(t, 100, b.sum())
	require.Greater(t, len(b.files()), 4)
	for _, name := range b.files() {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.LessOrEqual(t, info.Size(), int64(2000))
	}
}

func TestRotationByAge(t *testing.T) {
	b := open(t, func(c *Config) { c.RotateInterval = time.Hour })
	old := blocked(1)
	old.Time = time.Now().Add(-2 * time.Hour)
	b.Connections(append(manyBlocked(0, 0), old))
	b.await("the line", func() bool { return b.Counts().Lines == 1 })
	b.await("the rotation, although nothing happens", func() bool { return len(b.files()) == 2 })
	b.close()
	assert.EqualValues(t, 1, b.sum())
}

func TestPruning(t *testing.T) {
	b := prepare(t, func(c *Config) { c.MaxSize, c.MaxBackups, c.MaxAge = 1000, 3, 24*time.Hour })
	require.NoError(t, os.Mkdir(b.dir(), 0o700))
	others := []string{"audit-notes.log", "audit-2020-01-01T00-00-00.000.log.gz", "other-2020-01-01T00-00-00.000.log", "audit.log.1"}
	for _, name := range append(others, "audit-2020-01-01T00-00-00.000.log") {
		require.NoError(t, os.WriteFile(filepath.Join(b.dir(), name), nil, 0o600))
	}
	b.open()
	for i := range 60 {
		b.Connections(manyBlocked(i, 1))
		b.await("the line", func() bool { return b.Counts().Lines == uint64(i+1) })
	}
	b.close()
	for _, name := range others {
		assert.FileExists(t, filepath.Join(b.dir(), name))
	}
	assert.NoFileExists(t, filepath.Join(b.dir(), "audit-2020-01-01T00-00-00.000.log"), "too old")
	assert.Len(t, b.files(), 1+3+1, "three set aside, the notes, the log")
}

// A file that somebody else rotates or removes is made anew.
func TestMovedAway(t *testing.T) {
	for name, move := range map[string]func(b *bench) error{
		"renamed":        func(b *bench) error { return os.Rename(b.config.Path, filepath.Join(b.dir(), "audit-0.log")) },
		"folder removed": func(b *bench) error { return os.RemoveAll(b.dir()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			b.Connections(manyBlocked(0, 1))
			b.await("the line", func() bool { return b.Counts().Lines == 1 })
			require.NoError(t, move(b))
			b.await("the file", func() bool { _, err := os.Stat(b.config.Path); return err == nil })
			b.Connections(manyBlocked(1, 1))
			b.close()
			content, err := os.ReadFile(b.config.Path)
			require.NoError(t, err)
			assert.Equal(t, 1, strings.Count(string(content), "blocked"))
		})
	}
}

func TestHalfALineIsCutOff(t *testing.T) {
	b := prepare(t)
	require.NoError(t, os.Mkdir(b.dir(), 0o700))
	whole := string(noteLine(began, "start", "Weir"))
	require.NoError(t, os.WriteFile(b.config.Path, []byte(whole+whole[:30]), 0o600))
	b.open()
	b.Note(began, "start", "again")
	b.close()
	lines := b.lines()
	require.Len(t, lines, 3)
	assert.Contains(t, lines[1], " error     the process before ended abruptly")
	assert.Contains(t, lines[2], " start     again")
}

// TestKill ends a process that writes as fast as it can, many times, and rotates.
func TestKill(t *testing.T) {
	if dir := os.Getenv("WEIR_AUDIT_KILL"); dir != "" {
		l := Open(Config{Path: dir + "/audit.log", Access: securefile.Private, MaxSize: 50_000, LinesPerSecond: 1 << 30}, func(err error) { fmt.Println(err) })
		for i := 0; ; i++ {
			l.Connections(manyBlocked(i*10, 10))
			for l.Counts().Lines+100 < uint64(i*10) { // it keeps up
				time.Sleep(time.Millisecond)
			}
			fmt.Println(l.Counts().Connections)
		}
	}
	b := prepare(t)
	var atLeast uint64
	for i := range 5 {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "WEIR_AUDIT_KILL="+b.dir())
		var out strings.Builder
		cmd.Stdout = &out
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(200+37*i) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
		said := strings.Fields(out.String()[:strings.LastIndexByte(out.String(), '\n')+1])
		if len(said) > 0 {
			var n uint64
			_, err := fmt.Sscan(said[len(said)-1], &n)
			require.NoError(t, err)
			atLeast += n
		}
	}
	require.Positive(t, atLeast)
	b.open() // mends what the last one left
	b.close()
	sum := b.sum()
	assert.GreaterOrEqual(t, sum, atLeast, "what was counted as written is there")
	assert.LessOrEqual(t, sum, atLeast+5*(100+10+maxWaiting))
	assert.Equal(t, 5, strings.Count(strings.Join(b.lines(), "\n"), "ended abruptly"))
}
