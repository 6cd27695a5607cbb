package connectionpolicyextension

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/extension/connectionpolicyextension/internal/metadata"
	"github.com/weirnet/weir/internal/policy"
)

func TestValidate(t *testing.T) {
	inline := map[string]any{"mode": "detect"}
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"file", Config{File: "p.yaml"}, ""},
		{"inline", Config{Policy: inline}, ""},
		{"inline and empty", Config{Policy: map[string]any{}}, ""},
		{"no reload", Config{File: "p.yaml", ReloadInterval: 0}, ""},
		{"confirmed", Config{File: "p.yaml", ReloadInterval: time.Second, ConfirmWithin: time.Minute}, ""},
		{"both", Config{File: "p.yaml", Policy: inline}, "of file, policy and url more than one is set"},
		{"negative reload", Config{File: "p.yaml", ReloadInterval: -1}, "reload_interval is -1ns: it must not be negative"},
		{"negative patience", Config{File: "p.yaml", ConfirmWithin: -1}, "confirm_within is -1ns: it must not be negative"},
		{"nothing to confirm", Config{File: "p.yaml", ConfirmWithin: time.Minute}, "without reloading there is no change to confirm"},
		{"inline without a confirm file", Config{Policy: inline, ReloadInterval: 1, ConfirmWithin: 1}, "confirm_within needs confirm_file here"},
		{"confirm file is the policy", Config{File: "p.yaml", ConfirmFile: "./p.yaml"}, "writing the policy would confirm it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.config.Validate()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// decode makes a Config of a component's section as the Collector does.
func decode(t *testing.T, section map[string]any) *Config {
	t.Helper()
	cfg := createDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(section).Unmarshal(cfg))
	require.NoError(t, cfg.(*Config).Validate())
	return cfg.(*Config)
}

func TestAPolicyMustBeGiven(t *testing.T) {
	for name, conf := range map[string]*confmap.Conf{
		"empty":          confmap.New(),
		"other settings": confmap.NewFromStringMap(map[string]any{"reload_interval": "5s"}),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := NewFactory().CreateDefaultConfig()
			require.ErrorIs(t, conf.Unmarshal(cfg), errNoPolicy)
			require.ErrorIs(t, conf.Unmarshal(&cfg), errNoPolicy, "as the Collector calls it")
		})
	}
	// A component without any settings is not unmarshaled but created.
	_, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), createDefaultConfig())
	require.ErrorIs(t, err, errNoPolicy)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every example is either Collector configuration or a policy.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := yamlBlock.FindAllSubmatch(readme, -1)
	require.NotEmpty(t, blocks)
	configs := 0
	for _, block := range blocks {
		var example map[string]any
		require.NoError(t, yaml.Unmarshal(block[1], &example), "%s", block[1])
		extensions, ok := example["extensions"].(map[string]any)
		if !ok {
			if _, ok = example["volumes"]; ok {
				continue
			}
			_, _, err := policy.Load(policy.Document{Name: "README.md", Content: block[1]})
			require.NoError(t, err)
			continue
		}
		for _, section := range extensions {
			configs++
			cfg := decode(t, section.(map[string]any))
			if cfg.Policy != nil {
				r, err := newReader(cfg, "connection_policy", time.Now)
				require.NoError(t, err)
				c := r.load()
				require.NoError(t, c.err)
				assert.Empty(t, c.warnings)
			}
		}
	}
	assert.Positive(t, configs)
}
