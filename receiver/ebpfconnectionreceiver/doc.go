//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package ebpfconnectionreceiver is the receiver ebpf_connection: it starts the
// engine that watches the connections of this host in the kernel, hands it the
// policy, and emits what it tells as logs, metrics and traces.
package ebpfconnectionreceiver
