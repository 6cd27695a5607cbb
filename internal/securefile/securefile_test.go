package securefile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const stranger = 65534

func write(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func give(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("giving files away needs root")
	}
	require.NoError(t, os.Lchown(path, stranger, stranger))
}

func TestOpenChecks(t *testing.T) {
	tests := []struct {
		name string
		// prepare makes files below dir and returns the path to open.
		prepare func(t *testing.T, dir string) string
		access  Access
		// want is part of the error; empty: the file opens.
		want string
	}{
		{"private file", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o600) }, Private, ""},
		{"read only", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o400) }, Private, ""},
		{"readable by all", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o644) }, Private, "chmod 600 "},
		{"readable by the group", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o640) }, Private, "(mode 0640)"},
		{"readable by all is trusted", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o644) }, Trusted, ""},
		{"writable by the group", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o664) }, Trusted, "chmod go-w "},
		{"writable by all, unchecked", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o666) }, Unchecked, ""},
		{"somebody else's", func(t *testing.T, dir string) string {
			give(t, write(t, dir+"/f", 0o600))
			return dir + "/f"
		}, Trusted, "belongs to user 65534"},
		{"somebody else's, unchecked", func(t *testing.T, dir string) string {
			give(t, write(t, dir+"/f", 0o600))
			return dir + "/f"
		}, Unchecked, ""},
		{"folder of somebody else", func(t *testing.T, dir string) string {
			write(t, dir+"/sub/f", 0o600)
			give(t, dir+"/sub")
			return dir + "/sub/f"
		}, Private, "/sub belongs to user 65534"},
		{"folder above that all may write", func(t *testing.T, dir string) string {
			write(t, dir+"/open/sub/f", 0o600)
			require.NoError(t, os.Chmod(dir+"/open", 0o777))
			return dir + "/open/sub/f"
		}, Private, "/open can be written by others than its owner (mode 0777): chmod go-w "},
		{"folder that all may read", func(t *testing.T, dir string) string {
			write(t, dir+"/sub/f", 0o600)
			require.NoError(t, os.Chmod(dir+"/sub", 0o755))
			return dir + "/sub/f"
		}, Private, ""},
		{"sticky folder", func(t *testing.T, dir string) string {
			write(t, dir+"/tmp/f", 0o600)
			require.NoError(t, os.Chmod(dir+"/tmp", 0o777|os.ModeSticky))
			return dir + "/tmp/f"
		}, Private, ""},
		{"hard link in a sticky folder", func(t *testing.T, dir string) string {
			write(t, dir+"/other", 0o600)
			require.NoError(t, os.Mkdir(dir+"/tmp", 0o755))
			require.NoError(t, os.Chmod(dir+"/tmp", 0o777|os.ModeSticky))
			require.NoError(t, os.Link(dir+"/other", dir+"/tmp/f"))
			return dir + "/tmp/f"
		}, Private, "several names"},
		{"somebody else's link in a sticky folder", func(t *testing.T, dir string) string {
			write(t, dir+"/f", 0o600)
			require.NoError(t, os.Mkdir(dir+"/tmp", 0o755))
			require.NoError(t, os.Chmod(dir+"/tmp", 0o777|os.ModeSticky))
			require.NoError(t, os.Symlink(dir+"/f", dir+"/tmp/f"))
			give(t, dir+"/tmp/f")
			return dir + "/tmp/f"
		}, Private, "/tmp/f belongs to user 65534"},
		{"ConfigMap", func(t *testing.T, dir string) string {
			write(t, dir+"/..2026_11_23/f", 0o400)
			require.NoError(t, os.Symlink("..2026_11_23", dir+"/..data"))
			require.NoError(t, os.Symlink("..data/f", dir+"/f"))
			return dir + "/f"
		}, Private, ""},
		{"link into a folder that all may write", func(t *testing.T, dir string) string {
			write(t, dir+"/open/f", 0o600)
			require.NoError(t, os.Chmod(dir+"/open", 0o777))
			require.NoError(t, os.Symlink("open/f", dir+"/f"))
			return dir + "/f"
		}, Private, "/open can be written"},
		{"link out of a folder that all may write", func(t *testing.T, dir string) string {
			write(t, dir+"/f", 0o600)
			require.NoError(t, os.Mkdir(dir+"/open", 0o755))
			require.NoError(t, os.Chmod(dir+"/open", 0o777))
			require.NoError(t, os.Symlink(dir+"/f", dir+"/open/f"))
			return dir + "/open/f"
		}, Private, "/open can be written"},
		{"link upwards", func(t *testing.T, dir string) string {
			write(t, dir+"/f", 0o600)
			require.NoError(t, os.Mkdir(dir+"/sub", 0o755))
			require.NoError(t, os.Symlink("../f", dir+"/sub/f"))
			return dir + "/sub/f"
		}, Private, ""},
		{"links in a circle", func(t *testing.T, dir string) string {
			require.NoError(t, os.Symlink("b", dir+"/a"))
			require.NoError(t, os.Symlink("a", dir+"/b"))
			return dir + "/a"
		}, Private, "too many levels of symbolic links"},
		{"folder", func(_ *testing.T, dir string) string { return dir }, Private, "it is a folder"},
		{"file as a folder", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o600) + "/g" }, Private, "not a directory"},
		{"missing", func(_ *testing.T, dir string) string { return dir + "/f" }, Private, "no such file"},
		{"FIFO", func(t *testing.T, dir string) string {
			require.NoError(t, syscall.Mkfifo(dir+"/f", 0o600))
			return dir + "/f"
		}, Private, "not a regular file"},
		{"FIFO, unchecked", func(t *testing.T, dir string) string {
			require.NoError(t, syscall.Mkfifo(dir+"/f", 0o600))
			return dir + "/f"
		}, Unchecked, "not a regular file"},
		{"device", func(_ *testing.T, _ string) string { return "/dev/null" }, Unchecked, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.prepare(t, t.TempDir())
			done := make(chan struct{})
			go func() {
				defer close(done)
				f, err := Open(path, tt.access)
				if f != nil {
					defer f.Close()
				}
				if tt.want == "" {
					assert.NoError(t, err)
					return
				}
				assert.ErrorContains(t, err, tt.want)
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("Open hangs")
			}
		})
	}
}

func TestOpenErrorsCanBeTold(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir+"/missing", Private)
	require.ErrorIs(t, err, fs.ErrNotExist)

	_, err = Open(write(t, dir+"/f", 0o644), Private)
	var insecure *InsecureError
	require.ErrorAs(t, err, &insecure)
	assert.Equal(t, dir+"/f", insecure.Path)
}

func TestOpenRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "f", 0o600)
	info, err := Stat("f", Private)
	require.NoError(t, err)
	assert.EqualValues(t, len("content"), info.Size())
}

func TestCopy(t *testing.T) {
	path := write(t, t.TempDir()+"/f", 0o600)
	var got bytes.Buffer
	require.NoError(t, Copy(&got, path, Private, int64(len("content"))))
	assert.Equal(t, "content", got.String())

	got.Reset()
	require.ErrorContains(t, Copy(&got, path, Private, 3), "larger than")
	assert.LessOrEqual(t, got.Len(), 3)
}

func TestCopyOfSomethingHuge(t *testing.T) {
	path := write(t, t.TempDir()+"/f", 0o600)
	require.NoError(t, os.Truncate(path, 1<<40))
	var got bytes.Buffer
	start := time.Now()
	require.ErrorContains(t, Copy(&got, path, Private, 16<<20), "is larger than 16 MiB")
	assert.Zero(t, got.Len())
	assert.Less(t, time.Since(start), 30*time.Second, "a TiB was read")
}

// Files of procfs say that they have no size, as a growing file may.
func TestCopyIsBoundedWithoutASize(t *testing.T) {
	var got bytes.Buffer
	err := Copy(&got, "/proc/self/status", Unchecked, 10)
	require.ErrorContains(t, err, "larger than")
	assert.Equal(t, 10, got.Len())
}

func TestNothingStaysOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/sub/f", 0o644)
	require.NoError(t, os.Symlink("sub/f", dir+"/link"))
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := open()
	for range 50 {
		for _, path := range []string{"/sub/f", "/link", "/missing", "/sub"} {
			for _, access := range []Access{Private, Trusted} {
				f, err := Open(dir+path, access)
				if err == nil {
					require.NoError(t, f.Close())
				}
			}
		}
	}
	assert.Equal(t, before, open())
}

func TestInsecureErrorIsOneSentence(t *testing.T) {
	err := &InsecureError{Path: "/etc/f", Problem: "is open", Remedy: "close it"}
	assert.Equal(t, "/etc/f is open: close it", err.Error())
}

func TestOpenFolder(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string) string
		access  Access
		want    string
	}{
		{"private", func(t *testing.T, dir string) string { return mkdir(t, dir+"/d", 0o700) }, Private, ""},
		{"that others may read, private", func(t *testing.T, dir string) string { return mkdir(t, dir+"/d", 0o750) }, Private, "chmod 700 "},
		{"that others may read, trusted", func(t *testing.T, dir string) string { return mkdir(t, dir+"/d", 0o755) }, Trusted, ""},
		{"that others may write, trusted", func(t *testing.T, dir string) string { return mkdir(t, dir+"/d", 0o775) }, Trusted, "chmod go-w "},
		{"shared, trusted", func(t *testing.T, dir string) string { return mkdir(t, dir+"/d", 0o777|os.ModeSticky) }, Trusted, "can be written by others"},
		{"shared, unchecked", func(t *testing.T, dir string) string { return mkdir(t, dir+"/d", 0o777|os.ModeSticky) }, Unchecked, ""},
		{"below one that others may write", func(t *testing.T, dir string) string {
			mkdir(t, dir+"/d", 0o777)
			return mkdir(t, dir+"/d/e", 0o700)
		}, Private, "chmod go-w "},
		{"behind a link", func(t *testing.T, dir string) string {
			mkdir(t, dir+"/d", 0o700)
			require.NoError(t, os.Symlink("d", dir+"/link"))
			return dir + "/link"
		}, Private, ""},
		{"of somebody else", func(t *testing.T, dir string) string {
			give(t, mkdir(t, dir+"/d", 0o700))
			return dir + "/d"
		}, Private, "belongs to user"},
		{"a file", func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o600) }, Private, "not a directory"},
		{"missing", func(_ *testing.T, dir string) string { return dir + "/missing" }, Private, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := OpenFolder(tt.prepare(t, t.TempDir()), tt.access)
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			_, err = f.Readdirnames(-1)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
		})
	}
}

func mkdir(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	require.NoError(t, os.Mkdir(path, 0o700))
	require.NoError(t, os.Chmod(path, mode))
	return path
}
