package engine

import (
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// believe says whose DNS answers are believed from now on: those that were
// configured, or the host's.
func (l *looks) believe(configured []netip.AddrPort) {
	if len(configured) > 0 {
		l.hosts = nil
		l.names.SetResolvers(configured)
		return
	}
	l.hosts = newHostResolvers()
	l.followHost()
}

// followHost takes up which servers the host asks now.
func (l *looks) followHost() {
	resolvers, changed, err := l.hosts.read()
	switch {
	case err != nil && !l.unreadable:
		l.log.Warn("It is not known which DNS servers the host asks; no answers are believed that rules about names would need. names::resolvers of the receiver names them.", zap.Error(err))
	case err == nil && changed:
		l.names.SetResolvers(resolvers)
		l.mu.Lock()
		l.ownResolvers = areOwn(resolvers)
		if l.learns && l.ownResolvers {
			l.warnOfOwn()
		}
		l.mu.Unlock()
	}
	l.unreadable = err != nil
}

// warnOfOwn says that nothing can be learned.
func (l *looks) warnOfOwn() {
	l.log.Warn("The host's DNS resolver is on the host itself, where its answers are not seen. Rules about names need names::resolvers of the receiver: the servers that it asks.")
}

// keepNames does, once a second, what is due for the names: it follows the host's
// resolvers, and saves.
func (l *looks) keepNames(now time.Time) {
	if l.hosts != nil {
		l.followHost()
	}
	if l.file.due(now) {
		l.saveNames(now)
	}
}

func (l *looks) saveNames(now time.Time) {
	l.file.write(l.file.content(l.names, now))
}
