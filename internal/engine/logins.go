package engine

import (
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/sshlog"
)

// logins tells the inspector what sshd has said of logins: to the kernel's program, or in
// the journal.
type logins struct {
	data *datapath.Datapath
	log  *zap.Logger

	mu sync.Mutex
	// unfollowJournal ends that the journal tells; nil: the kernel's program does, or
	// nobody.
	unfollowJournal func() error
	// said is what the journal told, by the client's end, until it was asked for.
	said map[netip.AddrPort]sshlog.Entry
}

var _ inspector.Logins = (*logins)(nil)

// maxSaid is how many logins wait for somebody who asks. They are all forgotten, and
// count as not seen, where there are more.
const maxSaid = 4096

// Login is what sshd has said of a connection's login.
func (l *logins) Login(of *inspector.Connection) inspector.Login {
	if login, ok := l.inJournal(of); ok {
		return login
	}
	login, err := l.data.SSHLogin(of.Tuple)
	if err != nil {
		l.log.Error("What sshd says of logins cannot be read.", zap.Error(err))
		return inspector.Login{State: inspector.LoginUnseen}
	}
	switch login.State {
	case datapath.SSHServed:
		return inspector.Login{State: inspector.LoginAwaited}
	case datapath.SSHKey:
		return inspector.Login{State: inspector.LoginKey, Key: login.Fingerprint}
	case datapath.SSHNoKey:
		return inspector.Login{State: inspector.LoginNoKey}
	case datapath.SSHUnseen:
		return inspector.Login{State: inspector.LoginUnseen}
	}
	return inspector.Login{}
}

// inJournal is what the journal has told; false: it is not followed.
func (l *logins) inJournal(of *inspector.Connection) (inspector.Login, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unfollowJournal == nil {
		return inspector.Login{}, false
	}
	e, ok := l.said[netip.AddrPortFrom(of.Tuple.Source, of.Tuple.SourcePort)]
	switch {
	case !ok || e.Time.Before(of.FirstSeen): // that was another connection from there
		return inspector.Login{State: inspector.LoginAwaited}, true
	case e.Key == "":
		return inspector.Login{State: inspector.LoginNoKey}, true
	}
	return inspector.Login{State: inspector.LoginKey, Key: e.Key}, true
}

// take takes a login that the journal tells of.
func (l *logins) take(e sshlog.Entry) {
	address, err := netip.ParseAddr(e.Address)
	if err != nil {
		return // sshd did not know it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.said) >= maxSaid {
		clear(l.said)
	}
	l.said[netip.AddrPortFrom(address.Unmap().WithZone(""), e.Port)] = e
}

// Add tells the kernel of verdicts.
func (l *logins) Add(v inspector.LoginVerdicts) uint32 {
	number, err := l.data.AddSSHVerdicts(datapath.SSHVerdicts(v))
	if err != nil {
		l.log.Error("Logins by SSH that are blocked are cut, but sshd begins a session before.", zap.Error(err))
	}
	return number
}

// Judge says which verdicts are a connection's.
func (l *logins) Judge(t packet.Tuple, verdicts uint32) {
	if err := l.data.JudgeSSHLogin(t, verdicts); err != nil {
		l.log.Error("A login by SSH that is blocked is cut, but sshd begins a session before.", zap.Error(err))
	}
}

// clear forgets the verdicts that were added.
func (l *logins) clear() {
	if err := l.data.ClearSSHVerdicts(); err != nil {
		l.log.Error("The kernel has verdicts on SSH logins that are not in force any more.", zap.Error(err))
	}
}

// Forget says that nobody asks for a connection's login any more.
func (l *logins) Forget(t packet.Tuple) {
	l.mu.Lock()
	delete(l.said, netip.AddrPortFrom(t.Source, t.SourcePort))
	l.mu.Unlock()
	if err := l.data.ForgetSSHLogin(t); err != nil {
		l.log.Error("What sshd has said of a login cannot be forgotten.", zap.Error(err))
	}
}
