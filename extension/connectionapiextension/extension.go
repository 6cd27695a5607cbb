package connectionapiextension

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/weirnet/weir/extension/connectionapiextension/internal/metadata"
	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/profile"
)

var (
	_ extension.Extension = (*api)(nil)
	_ Attachable          = (*api)(nil)
)

// policyHolder is what the API asks of the extension that holds the policy.
type policyHolder interface {
	Document() (connectionpolicyextension.Document, error)
	Replace(connectionpolicyextension.Replacement) (connectionpolicyextension.Replaced, error)
	Confirm(by string) (uint64, error)
	RollBack(by string) (uint64, error)
	AddTemporary(text []byte, ttl time.Duration, by string) (connectionpolicyextension.TemporaryRule, error)
	RemoveTemporary(name, by string) error
	// Called notes in the audit log who called, and what came of it.
	Called(by, what string)
}

// api answers.
type api struct {
	cfg      *Config
	set      extension.Settings
	now      func() time.Time
	engines  engines
	feed     *feed
	profile  *profile.Profile
	policies policyHolder // nil without one
	// one at a time: policies that come, and passes over the flow table.
	writing, passing chan struct{}

	self     *metadata.TelemetryBuilder
	server   *http.Server
	listener net.Listener
	served   chan struct{}
}

func newAPI(set extension.Settings, cfg *Config) (*api, error) {
	self, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create the metrics of %s: %w", set.ID, err)
	}
	// A call that is refused is no fault of the program, so no stack traces.
	set.Logger = set.Logger.WithOptions(zap.AddStacktrace(zap.PanicLevel))
	p := profile.New()
	return &api{
		cfg: cfg, set: set, now: time.Now, self: self, profile: p,
		feed: newFeed(cfg.Events.Buffer, p), writing: make(chan struct{}, 1), passing: make(chan struct{}, 1),
	}, nil
}

// Start listens.
func (a *api) Start(ctx context.Context, host component.Host) error {
	err := a.start(ctx, host)
	if err != nil {
		// A component that did not start may not be stopped.
		return errors.Join(err, a.Shutdown(ctx))
	}
	return nil
}

func (a *api) start(ctx context.Context, host component.Host) error {
	var err error
	if a.policies, err = findPolicies(host.GetExtensions(), a.cfg.Policy); err != nil {
		return err
	}
	if err := a.observe(); err != nil {
		return err
	}
	a.server, err = a.cfg.ToServer(ctx, host.GetExtensions(), a.set.TelemetrySettings, a.handler())
	if err != nil {
		return fmt.Errorf("make the server: %w", err)
	}
	a.server.ConnContext = withPeer
	a.server.MaxHeaderBytes = 32 << 10
	if a.cfg.isUnix() {
		a.listener, err = listenUnix(a.cfg.NetAddr.Endpoint)
	} else {
		a.listener, err = a.cfg.ToListener(ctx)
	}
	if err != nil {
		return err
	}
	if !a.cfg.isUnix() && !a.cfg.TLS.HasValue() {
		a.set.Logger.Warn("The API is open to the network without TLS: whoever listens sees the policy, and what authenticates its users")
	}
	a.feed.start()
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			a.set.Logger.Error("The API does not answer any more", zap.Error(err))
		}
	}()
	a.set.Logger.Info("The API answers", zap.String("endpoint", a.cfg.NetAddr.Endpoint))
	return nil
}

// Shutdown ends the subscriptions, lets calls come to their end, and stops. Calls that
// do not end, such as of a subscriber that takes nothing, are cut off: that is theirs,
// and no failure, with which a reload would end the process.
func (a *api) Shutdown(ctx context.Context) error {
	a.feed.stop()
	var err error
	switch {
	case a.served != nil:
		ctx, cancel := context.WithTimeout(ctx, shutdownTime)
		defer cancel()
		if cut := a.server.Shutdown(ctx); cut != nil {
			a.set.Logger.Warn("Calls of the API were cut off at the end", zap.Error(cut))
			a.server.Close()
		}
		<-a.served
	case a.listener != nil:
		err = a.listener.Close()
	}
	a.served, a.listener = nil, nil
	a.self.Shutdown()
	return err
}

// shutdownTime is how long calls that are under way may take.
const shutdownTime = 2 * time.Second

// findPolicies finds the extension that holds the policy: the one that is named, or
// the only one there is.
func findPolicies(extensions map[component.ID]component.Component, id *component.ID) (policyHolder, error) {
	holders := map[component.ID]policyHolder{}
	var names []string
	for id, e := range extensions {
		if h, ok := e.(policyHolder); ok {
			holders[id] = h
			names = append(names, id.String())
		}
	}
	slices.Sort(names)
	choices := "there is none"
	if len(names) > 0 {
		choices = "there are " + strings.Join(names, ", ")
	}
	switch {
	case id != nil && holders[*id] == nil:
		return nil, fmt.Errorf("policy: %q is no extension that holds a policy; %s", id, choices)
	case id != nil:
		return holders[*id], nil
	case len(names) > 1:
		return nil, fmt.Errorf("policy: it is not said whose policy is meant; %s", choices)
	}
	for _, h := range holders {
		return h, nil
	}
	return nil, nil
}

func (a *api) observe() error {
	return errors.Join(
		a.self.RegisterWeirAPISubscribersCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(a.feed.subscribers.Load()))
			return nil
		}),
		a.self.RegisterWeirAPIEventsLostCallback(func(_ context.Context, o metric.Int64Observer) error {
			cause := func(name string) metric.MeasurementOption {
				return metric.WithAttributes(attribute.String("cause", name))
			}
			o.Observe(int64(a.feed.missed.Load()), cause("behind"))
			o.Observe(int64(a.feed.overrun.Load()), cause("slow_subscriber"))
			return nil
		}),
	)
}
