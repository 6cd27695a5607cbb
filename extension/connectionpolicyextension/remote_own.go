package connectionpolicyextension

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/datapath"
)

// ownSockets are those that the policy is fetched by, and its server's name looked up.
// The kernel is told of each before it sends: otherwise the first fetch of a process is
// blocked wherever the policy that the one before left in force does not allow it.
type ownSockets struct {
	mu     sync.Mutex
	forget []func()
}

func (o *ownSockets) dialer() *net.Dialer {
	plain := net.Dialer{Timeout: 30 * time.Second, Control: o.control}
	d := plain
	d.Resolver = &net.Resolver{PreferGo: true, Dial: plain.DialContext}
	return &d
}

// control tells the kernel of a socket. Where it cannot be told, the policy decides, and
// the fetch says what comes of it.
func (o *ownSockets) control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		cookie, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
		if err != nil {
			return
		}
		forget, err := datapath.PinnedOwnSocket(cookie)
		if err != nil {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.forget = append(o.forget, forget)
	})
}

// close forgets the sockets of a fetch that is through.
func (o *ownSockets) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, forget := range o.forget {
		forget()
	}
	o.forget = nil
}
