package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/sshlog"
)

// DefaultSSHServers are where distributions have OpenSSH's executables. From 9.8 on the
// listener hands connections over to sshd-session, and from 10.0 on that has sshd-auth
// speak with clients that have not logged in.
var DefaultSSHServers = []string{
	"/usr/sbin/sshd",
	"/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth", // Debian, Ubuntu
	"/usr/libexec/openssh/sshd-session", "/usr/libexec/openssh/sshd-auth", // Fedora, RHEL
	"/usr/lib/ssh/sshd-session", "/usr/lib/ssh/sshd-auth", // Arch
	"/usr/libexec/ssh/sshd-session", "/usr/libexec/ssh/sshd-auth", // SUSE
}

// sshServers are the files that are sshd.
type sshServers struct {
	mu sync.Mutex
	// listened: the policy asks for what they say. missing: there is none, and the log
	// says so.
	listened, missing bool
}

// LoginSource says by what way Weir hears what sshd says of logins.
type LoginSource uint8

// The sources.
const (
	// LoginsAuto: the kernel's program, or where there can be none, in detect mode, the
	// journal.
	LoginsAuto LoginSource = iota
	// LoginsKernel: a program in the kernel, which hears it before there is a session.
	LoginsKernel
	// LoginsJournal: the systemd journal, which tells some milliseconds later.
	LoginsJournal
)

// setSSHLogins is replaced by tests, for a kernel that cannot.
var setSSHLogins = (*datapath.Datapath).SetSSHLogins

// beginLogins has sshd listened to where a policy that comes into force asks who logs in.
func (e *Engine) beginLogins(p *policy.Policy) error {
	rules := rulesWhere(p, asksForKey)
	if len(rules) == 0 {
		return nil
	}
	source, prevents := e.config.Inspect.Logins, p.Mode == policy.Prevent
	var err error
	if source != LoginsJournal {
		if err = setSSHLogins(e.data, true); err == nil {
			e.listenToSSHServers(true)
			e.findSSHServers()
			return nil
		}
		if prevents {
			return fmt.Errorf("the policy asks with which key SSH clients log in (ssh.public_keys of rule %s), which cannot be found out here before they have a session: %w; accepted is detect mode, or inspect::ssh::source: journald, by which sessions are cut after they began", strings.Join(rules, ", "), err)
		}
	}
	if source != LoginsKernel {
		err = errors.Join(err, e.looks.logins.follow(e.config.FollowJournal, e.sshServers()))
	}
	switch {
	case e.looks.logins.follows():
		if prevents {
			e.log.Warn("By the journal Weir hears of SSH logins when they have a session: one that is blocked is cut some milliseconds after it began.",
				zap.Strings("rules", rules))
		}
	case prevents:
		return fmt.Errorf("the policy asks with which key SSH clients log in (ssh.public_keys of rule %s), which cannot be found out here: %w", strings.Join(rules, ", "), err)
	default:
		e.log.Warn("Some rules ask for the key that an SSH client logs in with, which cannot be found out here; it counts as not seen.",
			zap.Strings("rules", rules), zap.Error(err))
	}
	return nil
}

func asksForKey(r *policy.Rule) bool {
	return r.Layer7 != nil && r.Layer7.SSH != nil && len(r.Layer7.SSH.PublicKeys) > 0
}

// endLogins ends that where the policy in force does not ask.
func (e *Engine) endLogins(p *policy.Policy) error {
	if len(rulesWhere(p, asksForKey)) > 0 {
		return nil
	}
	e.listenToSSHServers(false)
	return errors.Join(e.data.SetSSHLogins(false), e.looks.logins.unfollow())
}

// FollowJournal has the systemd journal followed from now on: take is called with each
// login that one of the servers tells of, one at a time, and must not block. stop ends it.
type FollowJournal func(servers []string, take func(sshlog.Entry), log *zap.Logger) (stop func() error, err error)

// follow has the journal followed, if it is not. It takes a second.
func (l *logins) follow(begin FollowJournal, servers []string) error {
	if l.follows() {
		return nil
	}
	if begin == nil {
		return errors.New("nobody follows the journal")
	}
	l.mu.Lock()
	l.said = map[netip.AddrPort]sshlog.Entry{}
	l.mu.Unlock()
	stop, err := begin(servers, l.take, l.log)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unfollowJournal = stop
	return err
}

func (l *logins) follows() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unfollowJournal != nil
}

func (l *logins) unfollow() error {
	l.mu.Lock()
	stop := l.unfollowJournal
	l.unfollowJournal = nil
	l.mu.Unlock()
	if stop == nil {
		return nil
	}
	return stop()
}

func (e *Engine) listenToSSHServers(on bool) {
	e.sshd.mu.Lock()
	defer e.sshd.mu.Unlock()
	e.sshd.listened, e.sshd.missing = on, false
}

// findSSHServers tells the kernel which files are sshd. They change when it is upgraded.
func (e *Engine) findSSHServers() {
	e.sshd.mu.Lock()
	defer e.sshd.mu.Unlock()
	if !e.sshd.listened {
		return
	}
	files := e.sshServers()
	found, err := e.data.SetSSHServers(files)
	missing := err != nil || found == 0
	if missing && !e.sshd.missing {
		e.log.Warn("Rules ask with which key SSH clients log in, and no sshd is found that could tell; the key counts as not seen.",
			zap.Strings("servers", files), zap.Error(err))
	}
	e.sshd.missing = missing
}

func (e *Engine) sshServers() []string {
	if files := e.config.Inspect.SSHServers; len(files) > 0 {
		return files
	}
	return DefaultSSHServers
}
