package connectionapiextension

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/weirnet/weir/extension/connectionapiextension/internal/metadata"
)

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "api.sock")
	l, err := listenUnix(path)
	require.NoError(t, err)
	for name, mode := range map[string]os.FileMode{path: 0o600 | os.ModeSocket, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode(), name)
	}
	_, err = listenUnix(path)
	require.ErrorContains(t, err, "another process does")
	require.NoError(t, l.Close())
	assert.NoFileExists(t, path)

	// One that a process left which was killed.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	l, err = listenUnix(path)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestRefusedSockets(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    string
	}{
		"folder that others may read": {func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(dir, 0o755)) }, "chmod 700"},
		"folder that others may write to": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chmod(dir, 0o777))
		}, "chmod"},
		"no folder above": {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Dir(dir))) }, "make the folder"},
		"a file": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "api.sock"), nil, 0o600))
		}, "no socket"},
		"a FIFO": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "api.sock"), 0o600))
		}, "no socket"},
		"a link": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Symlink("/run/other.sock", filepath.Join(dir, "api.sock")))
		}, "no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "weir")
			c.prepare(t, dir)
			_, err := listenUnix(filepath.Join(dir, "api.sock"))
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// Another user who gets hold of the socket is refused all the same.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("being another user needs root")
	}
	b := newBench(t)
	for dir := filepath.Dir(b.socket); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	require.NoError(t, os.Chmod(b.socket, 0o666))
	b.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (c net.Conn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The thread is not unlocked, and ends with the goroutine.
			runtime.LockOSThread()
			syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), 65534, ^uintptr(0))
			c, err = net.Dial("unix", b.socket)
		}()
		<-done
		return c, err
	}
	a := b.call("POST", "/v1/policy/confirm", "")
	assert.Equal(t, http.StatusForbidden, a.status)
	refused := b.logs.FilterMessage("A call was refused").All()
	require.Len(t, refused, 1)
	assert.Contains(t, refused[0].ContextMap()["caller"], "user 65534")
	b.call("GET", "/v1/policy%0a2026-05-04T03:02:01Z%20call", "")
	b.call("DELETE", "/v1/rules/temporary/x%0a2026-05-04T03:02:01Z%20call", "")
	assert.Equal(t, []string{
		"user 65534 (process N): POST /v1/policy/confirm refused: only root and the service user may call",
		"user 65534 (process N): DELETE /v1/rules/temporary/x; 2026-05-04T03:02:01Z call refused: only root and the service user may call",
	}, b.audit(2))
}

func TestConfig(t *testing.T) {
	load := func(settings map[string]any) (*Config, error) {
		c := createDefaultConfig().(*Config)
		err := confmap.NewFromStringMap(settings).Unmarshal(c)
		if err == nil {
			err = c.Validate()
		}
		return c, err
	}
	c, err := load(nil)
	require.NoError(t, err)
	assert.Equal(t, "/run/weir/api.sock", c.NetAddr.Endpoint)
	auth := map[string]any{"authenticator": "basicauth"}
	c, err = load(map[string]any{"endpoint": "127.0.0.1:4319", "auth": auth})
	require.NoError(t, err)
	assert.False(t, c.isUnix())
	for name, one := range map[string]struct {
		settings map[string]any
		want     string
	}{
		"TCP without auth":    {map[string]any{"endpoint": "127.0.0.1:4319"}, "auth::authenticator"},
		"TCP, said":           {map[string]any{"endpoint": "/run/x", "transport": "tcp"}, "auth::authenticator"},
		"UDP":                 {map[string]any{"endpoint": "127.0.0.1:4319", "transport": "udp", "auth": auth}, "transport"},
		"relative":            {map[string]any{"endpoint": "api.sock", "transport": "unix"}, "absolute path"},
		"abstract":            {map[string]any{"endpoint": "@weir", "transport": "unix"}, "absolute path"},
		"dots":                {map[string]any{"endpoint": "/run/weir/../x"}, "absolute path"},
		"no buffer":           {map[string]any{"events": map[string]any{"buffer": 0}}, "events::buffer"},
		"too many":            {map[string]any{"events": map[string]any{"max_subscribers": 20_000}}, "max_subscribers"},
		"no time to write":    {map[string]any{"events": map[string]any{"write_timeout": 0}}, "write_timeout"},
		"a key that is wrong": {map[string]any{"enpoint": "/run/x"}, "enpoint"},
	} {
		_, err := load(one.settings)
		assert.ErrorContains(t, err, one.want, name)
	}
}

func TestLifecycle(t *testing.T) {
	require.NoError(t, componenttest.CheckConfigStruct(createDefaultConfig()))
	cfg := createDefaultConfig().(*Config)
	cfg.NetAddr.Endpoint = filepath.Join(t.TempDir(), "run", "api.sock")
	factory := NewFactory()
	for range 2 { // a reload makes a new one
		e, err := factory.Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
		require.NoError(t, err)
		require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
		require.NoError(t, e.Shutdown(t.Context()))
		require.NoError(t, e.Shutdown(t.Context()))
	}
	e, err := factory.Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Shutdown(t.Context()), "without a start")
}
