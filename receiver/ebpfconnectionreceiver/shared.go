package ebpfconnectionreceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/receiver"
)

// receivers has the live receiver of each configuration: the Collector makes
// one receiver per signal, the kernel is to be watched once.
var receivers = sharedReceivers{live: make(map[*Config]*sharedReceiver)}

type sharedReceivers struct {
	mu   sync.Mutex
	live map[*Config]*sharedReceiver
}

// of gives the receiver of that configuration, a new one if there is none.
func (s *sharedReceivers) of(config *Config, settings receiver.Settings) *sharedReceiver {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.live[config]
	if shared == nil {
		shared = &sharedReceiver{receiver: newReceiver(config, settings), forget: func() { s.forget(config) }}
		s.live[config] = shared
	}
	return shared
}

func (s *sharedReceivers) forget(config *Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, config)
}

// sharedReceiver starts and stops a receiver once, whatever the number of
// signals it serves. Like all components it is started and stopped by one
// goroutine.
type sharedReceiver struct {
	receiver *connectionReceiver
	// forget removes the receiver from those that are live: after Shutdown the
	// same configuration makes a new one.
	forget func()

	host     *sharedHost // nil before the first Start
	startErr error
	stopped  bool
}

// Start starts the receiver the first time, and gives the same answer ever
// after.
func (s *sharedReceiver) Start(ctx context.Context, host component.Host) error {
	if s.host != nil {
		s.host.join(host)
		return s.startErr
	}
	s.host = &sharedHost{Host: host}
	s.host.join(host)
	s.host.Report(componentstatus.NewEvent(componentstatus.StatusStarting))
	s.startErr = s.receiver.Start(ctx, s.host)
	if s.startErr != nil {
		s.host.Report(componentstatus.NewPermanentErrorEvent(s.startErr))
	}
	return s.startErr
}

// Shutdown stops the receiver the first time.
func (s *sharedReceiver) Shutdown(ctx context.Context) error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	defer s.forget()
	if s.host == nil {
		return s.receiver.Shutdown(ctx)
	}
	s.host.Report(componentstatus.NewEvent(componentstatus.StatusStopping))
	err := s.receiver.Shutdown(ctx)
	if err != nil {
		s.host.Report(componentstatus.NewPermanentErrorEvent(err))
		return err
	}
	s.host.Report(componentstatus.NewEvent(componentstatus.StatusStopped))
	return nil
}

// sharedHost is the host as the receiver sees it: what it reports of its state
// goes to the hosts of all signals.
type sharedHost struct {
	component.Host

	mu        sync.Mutex
	reporters []componentstatus.Reporter
	// past are the events that a host that joins later must see to be in the
	// same state: the first, from which the states begin, and the last.
	past []*componentstatus.Event
}

var _ componentstatus.Reporter = (*sharedHost)(nil)

func (h *sharedHost) join(host component.Host) {
	reporter, ok := host.(componentstatus.Reporter)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, event := range h.past {
		reporter.Report(event)
	}
	h.reporters = append(h.reporters, reporter)
}

// Report passes an event on to all hosts.
func (h *sharedHost) Report(event *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.past) == 2 {
		h.past = h.past[:1]
	}
	h.past = append(h.past, event)
	for _, reporter := range h.reporters {
		reporter.Report(event)
	}
}
