// Package e2e tests Weir end to end: the built bin/weir, configured by a file, in
// network namespaces of the test's own, with real traffic. What it did is judged
// twice: by what the peers could do, and by the records it wrote.
//
// The tests need root, Linux 5.17 or newer and the binary: WEIR_BIN
// names it, else it is bin/weir, which `make build` makes.
package e2e
