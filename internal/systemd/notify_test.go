package systemd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReady(t *testing.T) {
	for name, address := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@weir-notify-test-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			t.Setenv("NOTIFY_SOCKET", address)
			if err := Ready(); err != nil {
				t.Fatal(err)
			}
			manager.SetReadDeadline(time.Now().Add(10 * time.Second))
			message := make([]byte, 100)
			n, err := manager.Read(message)
			if err != nil || string(message[:n]) != "READY=1" {
				t.Errorf("got %q, %v", message[:n], err)
			}
		})
	}
	t.Run("nobody asked", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "")
		if err := Ready(); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
		if err := Ready(); err == nil {
			t.Error("no error")
		}
	})
}
