package datapath

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// lockName is an abstract socket: it belongs to the network namespace and goes
// with its process, however that ends.
const lockName = "@weir/datapath"

// takeLock makes this the only live instance of the network namespace. The
// error names the process that holds it.
func takeLock() (net.Listener, error) {
	l, err := net.Listen("unix", lockName)
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("take the lock of this network namespace: %w", err)
	}
	if pid, err := lockHolder(); err == nil {
		return nil, fmt.Errorf("another Weir (process %d) watches this network namespace; one live instance is accepted", pid)
	}
	return nil, errors.New("another Weir watches this network namespace; one live instance is accepted")
}

func lockHolder() (int32, error) {
	c, err := net.Dial("unix", lockName)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		peer, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return peer.Pid, nil
}
