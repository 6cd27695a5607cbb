// Command bench measures Weir beside other filters of the kernel, all in one run,
// and writes the figures as JSON, and from that docs/performance.md and its plots.
//
// It is a program and not a test of the go command: it starts other programs of
// this module (the Collector, and itself as the agent under test), is interrupted,
// takes long, and its result is a file. `make bench` and `make soak` run it.
//
// Every sample stands beside one of its baseline, taken in the same round: the
// machine's speed drifts by more than what is measured. What is printed are the
// medians over the rounds.
//
// It works in a network and a mount namespace of its own, in which all others are
// made, without names. They, the programs in the kernel and what is pinned go with
// its process, however that ends; nothing is left to remove.
package main
