package ebpfconnectionreceiver

import (
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"

	"github.com/weirnet/weir/extension/connectionpolicyextension"
	"github.com/weirnet/weir/internal/engine"
)

// followPolicy puts the policy of the configured extension in force, and each
// new one until unfollow is called. Without one it is detect without rules.
func (r *connectionReceiver) followPolicy(host component.Host) error {
	if r.config.Policy == nil {
		if err := r.engine.Apply(0, nil, nil); err != nil {
			return fmt.Errorf("start without rules: %w", err)
		}
		return nil
	}
	source, err := findPolicy(host.GetExtensions(), *r.config.Policy)
	if err != nil {
		return err
	}
	// Before a policy can be in force.
	r.events, _ = source.(connectionpolicyextension.EventSink)
	applied := r.engine
	r.unfollow, err = source.Subscribe(applied.LastGeneration(), func(generation connectionpolicyextension.Generation) error {
		var back *engine.Return
		if generation.Return != nil {
			back = &engine.Return{Generation: generation.Return.To, Within: generation.Return.Within}
		}
		return applied.Apply(generation.Number, generation.Policy, back)
	}, r.policyChanged)
	if err != nil {
		return fmt.Errorf("apply the policy of %q: %w", r.config.Policy, err)
	}
	return nil
}

func findPolicy(extensions map[component.ID]component.Component, id component.ID) (connectionpolicyextension.PolicySource, error) {
	extension, ok := extensions[id]
	if !ok {
		return nil, fmt.Errorf("policy: there is no extension %q; %s", id, policyChoices(extensions))
	}
	source, ok := extension.(connectionpolicyextension.PolicySource)
	if !ok {
		return nil, fmt.Errorf("policy: the extension %q holds no policy; %s", id, policyChoices(extensions))
	}
	return source, nil
}

// policyChoices says which extensions would do.
func policyChoices(extensions map[component.ID]component.Component) string {
	var names []string
	for id, extension := range extensions {
		if _, ok := extension.(connectionpolicyextension.PolicySource); ok {
			names = append(names, id.String())
		}
	}
	if len(names) == 0 {
		return "configure a connection_policy extension and list it under service::extensions"
	}
	slices.Sort(names)
	return "extensions that hold one: " + strings.Join(names, ", ")
}
