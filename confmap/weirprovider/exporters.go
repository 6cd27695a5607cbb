package weirprovider

import (
	"runtime/debug"
	"strings"

	"github.com/weirnet/weir/internal/policy"
)

const kafkaModule = "exporter/kafkaexporter"

// links says whether this program has a module in it whose path ends so. Where it
// does not know, it does.
var links = func(module string) bool {
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) == 0 {
		return true
	}
	for _, d := range info.Deps {
		if strings.HasSuffix(d.Path, module) {
			return true
		}
	}
	return false
}

// checkExporters finds what the distribution does not have, to name the key and the
// remedy instead of a component.
func checkExporters(file string, s *policy.Service) error {
	if s.Publisher != nil && s.Publisher.Kafka != nil && !links(kafkaModule) {
		return policy.Errors{{
			File: file, Line: s.Publisher.Kafka.Line, Key: "event_publisher.kafka",
			Found: "this distribution has no exporter for Kafka",
			Hint:  "bin/weir-wide has it (make build-wide), or add " + kafkaModule + " to your manifest",
		}}
	}
	return nil
}
