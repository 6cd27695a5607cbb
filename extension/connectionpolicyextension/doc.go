//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package connectionpolicyextension is the Collector extension that holds the
// policy: it reads and checks it, takes up changes and hands each version to
// those that enforce it (PolicySource).
package connectionpolicyextension
