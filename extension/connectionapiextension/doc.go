//go:generate go tool -modfile=../../tools/go.mod mdatagen metadata.yaml

// Package connectionapiextension is the Collector extension that answers for Weir
// over HTTP: what is in force, what happens, and what is to change. It joins the
// policy's extension, which it finds by its component id, and the receiver, which
// finds it among the host's extensions (Attachable).
package connectionapiextension
