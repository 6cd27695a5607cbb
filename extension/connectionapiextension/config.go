package connectionapiextension

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/confmap"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/apiclient"
)

// Config is the configuration of the API. Beyond its own settings it has those of
// every HTTP server of the Collector.
type Config struct {
	confighttp.ServerConfig `mapstructure:",squash"`
	// Policy is the id of the connection_policy extension. Without it the only one
	// there is is taken.
	Policy *component.ID `mapstructure:"policy"`
	// Events bounds the stream of events.
	Events EventsConfig `mapstructure:"events"`
}

// EventsConfig bounds the stream of events.
type EventsConfig struct {
	// Buffer is how many events are kept for subscribers that are slow or come back.
	Buffer int `mapstructure:"buffer"`
	// MaxSubscribers is how many there may be.
	MaxSubscribers int `mapstructure:"max_subscribers"`
	// WriteTimeout is how long a subscriber may take nothing at all before it is cut
	// off.
	WriteTimeout time.Duration `mapstructure:"write_timeout"`
}

func createDefaultConfig() component.Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr = confignet.AddrConfig{Endpoint: apiclient.Socket, Transport: confignet.TransportTypeUnix}
	server.MaxRequestBodySize = connectionpolicyextension.MaxDocument
	server.CompressionAlgorithms = []string{""}
	server.ReadHeaderTimeout = 10 * time.Second
	server.ReadTimeout = time.Minute
	server.WriteTimeout = time.Minute
	server.IdleTimeout = time.Minute
	return &Config{
		ServerConfig: server,
		Events:       EventsConfig{Buffer: 32768, MaxSubscribers: 128, WriteTimeout: 30 * time.Second},
	}
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ confmap.Validator   = (*Config)(nil)
)

// Unmarshal implements confmap.Unmarshaler: an endpoint that is no path is one of
// TCP.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if err := conf.Unmarshal(c); err != nil {
		return err
	}
	if !conf.IsSet("transport") && !strings.HasPrefix(c.NetAddr.Endpoint, "/") {
		c.NetAddr.Transport = confignet.TransportTypeTCP
	}
	return nil
}

func (c *Config) isUnix() bool { return c.NetAddr.Transport == confignet.TransportTypeUnix }

// Validate tells all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch c.NetAddr.Transport {
	case confignet.TransportTypeUnix:
		if path := c.NetAddr.Endpoint; !filepath.IsAbs(path) || filepath.Clean(path) != path {
			wrong("endpoint: %q is not accepted: want the absolute path of a socket, such as %s", path, apiclient.Socket)
		}
	case confignet.TransportTypeTCP, confignet.TransportTypeTCP4, confignet.TransportTypeTCP6:
		if !c.Auth.HasValue() {
			wrong("endpoint: %s can be reached by every user of this host, if not from elsewhere: want auth::authenticator, or a unix socket (endpoint: %s)",
				c.NetAddr.Endpoint, apiclient.Socket)
		}
	default:
		wrong("transport: %q is not accepted: want unix, or tcp with auth", c.NetAddr.Transport)
	}
	if c.Events.Buffer < 1 || c.Events.Buffer > 1<<22 {
		wrong("events::buffer: %d is not accepted: want 1 to %d", c.Events.Buffer, 1<<22)
	}
	if c.Events.MaxSubscribers < 0 || c.Events.MaxSubscribers > 10_000 {
		wrong("events::max_subscribers: %d is not accepted: want 0 to 10000", c.Events.MaxSubscribers)
	}
	if c.Events.WriteTimeout < time.Second {
		wrong("events::write_timeout: %v is too short: want at least 1s", c.Events.WriteTimeout)
	}
	return errors.Join(errs...)
}
