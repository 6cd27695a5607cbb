package connectionapiextension

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"

	"go.opentelemetry.io/collector/client"
	"golang.org/x/sys/unix"
)

// peerKey is of the credentials of a unix socket's other end in a context.
type peerKey struct{}

// withPeer notes who is at the other end. They are those of the process that
// connected (unix(7), SO_PEERCRED).
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer)
}

// caller is who makes a call, for people.
func caller(r *http.Request) string {
	if peer, ok := r.Context().Value(peerKey{}).(*unix.Ucred); ok {
		return fmt.Sprintf("user %d (process %d)", peer.Uid, peer.Pid)
	}
	if auth := client.FromContext(r.Context()).Auth; auth != nil {
		for _, name := range []string{"subject", "username"} {
			if s, ok := auth.GetAttribute(name).(string); ok && s != "" {
				return fmt.Sprintf("%.100q at %s", s, r.RemoteAddr)
			}
		}
	}
	return r.RemoteAddr
}

// mayCall says whether the other end of a socket may: it is root or the service
// user. The socket's mode says the same; but a socket can be handed on. Where there
// is an authenticator, that decides.
func (a *api) mayCall(r *http.Request) bool {
	if !a.cfg.isUnix() || a.cfg.Auth.HasValue() {
		return true
	}
	peer, ok := r.Context().Value(peerKey{}).(*unix.Ucred)
	return ok && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
}
