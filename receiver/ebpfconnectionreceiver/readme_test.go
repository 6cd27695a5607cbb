package ebpfconnectionreceiver

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/telemetry"
	"github.com/weirnet/weir/receiver/ebpfconnectionreceiver/internal/metadata"
)

func readme(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(content)
}

func TestReadmeExamplesLoad(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		var file map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(block[1]), &file), block[1])
		conf, err := confmap.NewFromStringMap(file).Sub("receivers::" + metadata.Type.String())
		require.NoError(t, err, block[1])
		_, err = load(conf)
		require.NoError(t, err, block[1])
	}
}

// The table has every key, with its default, and no others.
func TestReadmeTableIsTheConfiguration(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z_:<>]+)` \\| (?:`(.*?)`)? *\\|")
	table := make(map[string]string)
	for _, cells := range row.FindAllStringSubmatch(readme(t), -1) {
		table[cells[1]] = cells[2]
	}
	// A word or the two lists: no key of the structure stands for it.
	assert.Equal(t, "auto", table["interfaces"])
	delete(table, "interfaces")

	want := defaults(t)
	assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(table)))
	for key, value := range want {
		if duration, ok := value.(time.Duration); ok {
			documented, err := time.ParseDuration(table[key])
			require.NoError(t, err, key)
			assert.Equal(t, duration, documented, key)
			continue
		}
		if value == nil {
			value = ""
		}
		assert.Equal(t, fmt.Sprint(value), table[key], key)
	}
}

// defaults flattens the default configuration; of what is switched by name
// there is one key for all names.
func defaults(t *testing.T) map[string]any {
	t.Helper()
	flat := make(map[string]any)
	var flatten func(prefix string, value any)
	flatten = func(prefix string, value any) {
		group, ok := value.(map[string]any)
		if !ok {
			flat[prefix] = value
			return
		}
		for key, inner := range group {
			switch prefix {
			case "":
				flatten(key, inner)
			case "events", "metrics", "resource_attributes":
				flat[prefix+"::<name>::enabled"] = inner.(map[string]any)["enabled"]
			default:
				flatten(prefix+"::"+key, inner)
			}
		}
	}
	flatten("", plain(t, createDefaultConfig().(*Config)))
	for key, value := range flat {
		if fmt.Sprint(value) == "[]" { // a list
			flat[key] = nil
		}
	}
	return flat
}

// The page about what comes out has every event, metric and attribute, and no name
// of Weir's own besides.
func TestOutputPageIsComplete(t *testing.T) {
	content, err := os.ReadFile("../../docs/output.md")
	require.NoError(t, err)
	page := string(content)
	d := readDeclared(t)
	known := map[string]bool{telemetry.MetricDuration: true, telemetry.MetricDNSDuration: true}
	for name, event := range d.Events {
		known[name] = true
		for _, attribute := range event.Attributes {
			known[attribute] = true
		}
	}
	for name, metric := range d.Metrics {
		known[name] = true
		for _, attribute := range metric.Attributes {
			known[attribute] = true
		}
	}
	for name := range known {
		assert.True(t, regexp.MustCompile("[`{ \n]"+regexp.QuoteMeta(name)+"[`={]").MatchString(page), name)
	}
	for _, name := range regexp.MustCompile("`(weir\\.[a-z0-9_.]+[a-z0-9])`").FindAllStringSubmatch(page, -1) {
		assert.True(t, known[name[1]], name[1])
	}
}
