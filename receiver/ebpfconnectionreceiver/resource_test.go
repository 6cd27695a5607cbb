package ebpfconnectionreceiver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/filter"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

func TestMachineID(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	absent, empty := filepath.Join(folder, "absent"), file("empty", "\n")
	unset, set := file("unset", "uninitialized\n"), file("set", "0123456789abcdef0123456789abcdef\n")

	assert.Empty(t, machineID([]string{absent, empty, unset}))
	assert.Equal(t, "0123456789abcdef0123456789abcdef", machineID([]string{absent, empty, unset, set}))
}

func TestResourceAttributesSwitchedOff(t *testing.T) {
	config := metadata.DefaultResourceAttributesConfig()
	config.HostName.Enabled, config.HostID.Enabled = false, false
	origin := newOrigin(config, receivertest.NewNopSettings(metadata.Type))
	assert.Zero(t, origin.Resource.Attributes().Len())
	assert.NotEmpty(t, origin.Host, "span ids need it all the same")
}

func TestResourceFilters(t *testing.T) {
	resource := pcommon.NewResource()
	resource.Attributes().PutStr("host.name", "gate")
	for name, test := range map[string]struct {
		attribute       metadata.ResourceAttributeConfig
		events, metrics bool
	}{
		"none":             {events: true, metrics: true},
		"events include":   {attribute: metadata.ResourceAttributeConfig{EventsInclude: []filter.Config{{Strict: "other"}}}, metrics: true},
		"events exclude":   {attribute: metadata.ResourceAttributeConfig{EventsExclude: []filter.Config{{Regex: "ga.*"}}}, metrics: true},
		"metrics include":  {attribute: metadata.ResourceAttributeConfig{MetricsInclude: []filter.Config{{Strict: "other"}}}, events: true},
		"metrics exclude":  {attribute: metadata.ResourceAttributeConfig{MetricsExclude: []filter.Config{{Strict: "gate"}}}, events: true},
		"included for all": {attribute: metadata.ResourceAttributeConfig{EventsInclude: []filter.Config{{Strict: "gate"}}}, events: true, metrics: true},
	} {
		config := metadata.ResourceAttributesConfig{HostName: test.attribute}
		assert.Equal(t, test.events, passes(config, resource, forEvents), name)
		assert.Equal(t, test.metrics, passes(config, resource, forMetrics), name)
	}
}
