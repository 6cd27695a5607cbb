package policy

import (
	_ "embed" // the schema
	"slices"
)

//go:embed policy.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of policies, for editors. It knows
// less than Load, which also checks what lies beyond the shape of a text: groups
// that are named, ranges, addresses, regular expressions.
func Schema() []byte { return slices.Clone(schema) }
