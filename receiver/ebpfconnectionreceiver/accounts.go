package ebpfconnectionreceiver

import (
	"time"

	"go.uber.org/zap"
)

// accountInterval is how often the event sink is told what the kernel has counted.
const accountInterval = 2 * time.Second

// accounts tells the event sink how many connections the kernel has blocked, so that
// it can see whether it was told of all of them.
type accounts struct {
	receiver *connectionReceiver
	quit     chan struct{}
	done     chan struct{}
	failing  bool
}

// openAccounts tells it a first time, before there are records. A replay has no
// counters that outlive it.
func (r *connectionReceiver) openAccounts() {
	if r.events == nil && len(r.apis) == 0 || r.captureEnd != nil {
		return
	}
	r.accounts = &accounts{receiver: r, quit: make(chan struct{}), done: make(chan struct{})}
	r.accounts.tell()
	go r.accounts.run()
}

func (a *accounts) run() {
	defer close(a.done)
	ticker := time.NewTicker(accountInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			a.tell()
		case <-a.quit:
			return
		}
	}
}

func (a *accounts) tell() {
	since, n, err := a.receiver.engine.Blocked()
	if err == nil {
		a.receiver.tellCount(since, n)
	} else if !a.failing {
		a.receiver.settings.Logger.Warn("the kernel's count of blocked connections cannot be read", zap.Error(err))
	}
	a.failing = err != nil
}

func (r *connectionReceiver) tellCount(since time.Time, n uint64) {
	if r.events != nil {
		r.events.Counted(since, n)
	}
	for _, api := range r.apis {
		api.Counted(since, n)
	}
}

func (a *accounts) close() {
	close(a.quit)
	<-a.done
}
