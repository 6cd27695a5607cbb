package ebpfconnectionreceiver

import (
	"os"
	"strings"

	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver"
	conventions "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

// machineIDFiles are where the id of the host is: systemd's place, and D-Bus's
// on hosts without systemd (machine-id(5)).
var machineIDFiles = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}

// newOrigin finds out who speaks. What cannot be found out is left out: a host
// without a name is still worth watching.
func newOrigin(config metadata.ResourceAttributesConfig, settings receiver.Settings) telemetry.Origin {
	name, err := os.Hostname()
	if err != nil {
		settings.Logger.Warn("the host has no name; host.name is left out", zap.Error(err))
	}
	id := machineID(machineIDFiles)
	resource := metadata.NewResourceBuilder(config)
	if name != "" {
		resource.SetHostName(name)
	}
	if id != "" {
		resource.SetHostID(id)
	}
	host := id
	if host == "" {
		host = name
	}
	return telemetry.Origin{
		Resource:  resource.Emit(),
		ScopeName: metadata.ScopeName, ScopeVersion: settings.BuildInfo.Version,
		SchemaURL: conventions.SchemaURL,
		Host:      host,
	}
}

// machineID is the id in the first of the files that has one, or empty. Before
// the first boot is complete the file may say "uninitialized" (machine-id(5)).
func machineID(files []string) string {
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if id := strings.TrimSpace(string(content)); id != "" && id != "uninitialized" {
			return id
		}
	}
	return ""
}

// forEvents and forMetrics are the filters of the two signals on a resource
// attribute.
func forEvents(c metadata.ResourceAttributeConfig) (include, exclude []filter.Config) {
	return c.EventsInclude, c.EventsExclude
}

func forMetrics(c metadata.ResourceAttributeConfig) (include, exclude []filter.Config) {
	return c.MetricsInclude, c.MetricsExclude
}

// passes says whether the filters let through what comes from resource. That is
// this host, always, so it is asked once and not for each record.
func passes(
	config metadata.ResourceAttributesConfig, resource pcommon.Resource,
	filters func(metadata.ResourceAttributeConfig) (include, exclude []filter.Config),
) bool {
	for name, attribute := range map[string]metadata.ResourceAttributeConfig{
		string(conventions.HostIDKey): config.HostID, string(conventions.HostNameKey): config.HostName,
	} {
		value, ok := resource.Attributes().Get(name)
		if !ok {
			continue
		}
		include, exclude := filters(attribute)
		if include != nil && !filter.CreateFilter(include).Matches(value.AsString()) {
			return false
		}
		if exclude != nil && filter.CreateFilter(exclude).Matches(value.AsString()) {
			return false
		}
	}
	return true
}
