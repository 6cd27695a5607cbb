package connectionpolicyextension_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/telemetry"
)

// A receiver finds the extension among those of its host and subscribes.
func ExamplePolicySource() {
	factory := connectionpolicyextension.NewFactory()
	config := factory.CreateDefaultConfig().(*connectionpolicyextension.Config)
	config.Policy = map[string]any{"mode": "detect"}
	config.KeepLastGood = false // writes to /var/lib/weir
	ctx := context.Background()
	settings := extensiontest.NewNopSettings(factory.Type())
	settings.ID = component.NewID(factory.Type())
	ext, err := factory.Create(ctx, settings, config)
	if err != nil {
		panic(err)
	}
	if err := ext.Start(ctx, componenttest.NewNopHost()); err != nil {
		panic(err)
	}
	defer ext.Shutdown(ctx)

	source := ext.(connectionpolicyextension.PolicySource)
	cancel, err := source.Subscribe(
		0, // no earlier process is known
		func(g connectionpolicyextension.Generation) error {
			fmt.Printf("apply generation %d from %s\n", g.Number, g.Source)
			return nil
		},
		func(change telemetry.PolicyChange) {
			fmt.Println("tell:", change.Change, change.Detail)
		})
	if err != nil {
		panic(err)
	}
	cancel()
	// Output:
	// apply generation 1 from extensions::connection_policy::policy
	// tell: loaded 0 rules, mode detect
}
