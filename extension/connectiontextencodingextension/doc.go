//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package connectiontextencodingextension is a Collector encoding that writes
// the body of each log record as one line.
package connectiontextencodingextension
