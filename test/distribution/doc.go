// Package distribution tests what is assembled from the components: the
// manifests, the built bin/weir with the examples, and a foreign Collector.
package distribution
