package connectiontextencodingextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/weirnet/weir/extension/connectiontextencodingextension/internal/metadata"
)

// Config is the configuration of the encoding. It has no settings.
type Config struct {
	// prevent unkeyed literal initialization
	_ struct{}
}

// NewFactory returns the factory of the encoding connection_text.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func createDefaultConfig() component.Config {
	return &Config{}
}

func create(context.Context, extension.Settings, component.Config) (extension.Extension, error) {
	return textEncoding{}, nil
}
