// Package systemd tells the service manager that the service is ready
// (sd_notify(3)).
package systemd

import (
	"fmt"
	"net"
	"os"
)

// Ready says so to whoever started the process with Type=notify, and does nothing
// otherwise.
func Ready() error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	// A name that begins with @ is abstract; Go writes it likewise.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager that all is ready: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell the service manager that all is ready: %w", err)
	}
	return nil
}
