package datapath

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errMissed says that the kernel had more news than the socket could hold.
var errMissed = errors.New("news were lost")

// newsBuffer holds some ten thousand messages, in bytes: enough for what comes
// while interfaces are attached to.
const newsBuffer = 8 << 20

// news is what the kernel tells of interfaces and routes as they change.
type news struct {
	file   *os.File
	buffer []byte
	closed atomic.Bool
}

// openNews subscribes to the news of interfaces, and of routes on request: a
// router that learns the Internet's routes is told of each.
func openNews(ofRoutes bool) (*news, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("follow interfaces: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	groups := uint32(unix.RTMGRP_LINK)
	if ofRoutes {
		groups |= unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	}
	// Past the administrator's limit, which is meant for users.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, newsBuffer)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		return nil, errors.Join(needsPrivilege("follow interfaces", err), file.Close())
	}
	return &news{file: file, buffer: make([]byte, 64<<10)}, nil
}

// read waits for news until that time; there may be none. The messages are valid
// until the next call. errMissed is not the end; os.ErrClosed is.
func (n *news) read(until time.Time) ([]syscall.NetlinkMessage, error) {
	messages, err := n.receive(until)
	if n.closed.Load() {
		return nil, os.ErrClosed
	}
	return messages, err
}

func (n *news) receive(until time.Time) ([]syscall.NetlinkMessage, error) {
	if err := n.file.SetReadDeadline(until); err != nil {
		return nil, err
	}
	conn, err := n.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var size int
	var from unix.Sockaddr
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		size, from, failed = unix.Recvfrom(int(fd), n.buffer, 0)
		return !errors.Is(failed, unix.EAGAIN)
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, err
	case errors.Is(failed, unix.ENOBUFS):
		return nil, errMissed
	case errors.Is(failed, unix.EINTR):
		return nil, nil
	case failed != nil:
		return nil, failed
	}
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, nil // another process, not the kernel
	}
	return syscall.ParseNetlinkMessage(n.buffer[:size])
}

func (n *news) close() error {
	n.closed.Store(true)
	return n.file.Close()
}
