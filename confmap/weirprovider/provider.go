// Package weirprovider makes a configuration of the Collector of one simple file:
//
//	weir --config weir:/etc/weir/weir.yaml
//
// The file is a policy with the keys logging, otel and event_publisher besides. The
// rules stay in it: the extension connection_policy reads them there, and takes up
// their changes. The Collector is restarted only where what these three keys come to
// has changed.
package weirprovider // import "github.com/weirnet/weir/confmap/weirprovider"

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/confmap"
	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/onefile"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/securefile"
)

const scheme = "weir"

// NewFactory makes the provider of the scheme weir:. What follows it is a path, and
// may be followed by "?allow_insecure_files", which does without the checks of who
// can read or change the file.
func NewFactory() confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(set confmap.ProviderSettings) confmap.Provider {
		return &provider{log: set.Logger, interval: interval}
	})
}

type provider struct {
	log      *zap.Logger
	interval time.Duration
	watching sync.WaitGroup
	stops    []context.CancelFunc
}

func (p *provider) Scheme() string { return scheme }

// Retrieve reads the file. What is wrong with its policy is not told here: the
// extension goes on with the last good one.
func (p *provider) Retrieve(_ context.Context, uri string, changed confmap.WatcherFunc) (*confmap.Retrieved, error) {
	source, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	content, err := source.read()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	config, err := source.configuration(content)
	if err != nil {
		return nil, fmt.Errorf("read the configuration:\n%w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if changed != nil {
		w := watcher{
			log: p.log, source: source, config: config, seen: sha256.Sum256(content), interval: p.interval,
			changed: func() { changed(&confmap.ChangeEvent{}) },
		}
		p.stops = append(p.stops, stop)
		p.watching.Go(func() { w.run(ctx) })
	}
	return confmap.NewRetrieved(config, confmap.WithRetrievedClose(func(context.Context) error {
		stop()
		return nil
	}))
}

// Shutdown ends the looking for changes, and waits until nothing more is told. What
// is told by then, and nobody hears any more, must not keep the Collector from ending.
func (p *provider) Shutdown(ctx context.Context) error {
	for _, stop := range p.stops {
		stop()
	}
	ended := make(chan struct{})
	go func() {
		p.watching.Wait()
		close(ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end the watching of the configuration: nobody takes its last change: %w", ctx.Err())
	}
}

// source is where the file is.
type source struct {
	path     string
	insecure bool
}

func parseURI(uri string) (source, error) {
	const accepted = "; accepted: weir:/etc/weir/weir.yaml, and for trials weir:weir.yaml?allow_insecure_files"
	rest, ok := strings.CutPrefix(uri, scheme+":")
	if !ok {
		return source{}, fmt.Errorf("%q does not begin with weir:%s", uri, accepted)
	}
	path, option, has := strings.Cut(rest, "?")
	if path == "" {
		return source{}, errors.New("weir: names no file" + accepted)
	}
	if has && option != "allow_insecure_files" {
		return source{}, fmt.Errorf("weir: has the option %q%s", option, accepted)
	}
	return source{path: path, insecure: has}, nil
}

func (s source) read() ([]byte, error) {
	access := securefile.Private
	if s.insecure {
		access = securefile.Unchecked
	}
	var content bytes.Buffer
	err := securefile.Copy(&content, s.path, access, policy.MaxPolicySize)
	var refused *securefile.InsecureError
	if errors.As(err, &refused) {
		err = fmt.Errorf("%w, or write weir:%s?allow_insecure_files for a trial", err, s.path)
	}
	return content.Bytes(), err
}

// configuration is what the content comes to.
func (s source) configuration(content []byte) (map[string]any, error) {
	service, err := policy.LoadService(policy.Document{Name: s.path, Content: content})
	if err != nil {
		return nil, err
	}
	if err := checkExporters(s.path, service); err != nil {
		return nil, err
	}
	return onefile.Configuration(service, onefile.Options{File: s.path, AllowInsecureFiles: s.insecure}), nil
}

// equal compares configurations.
func equal(a, b map[string]any) bool { return reflect.DeepEqual(a, b) }
