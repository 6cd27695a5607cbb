package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processors are those this program may use: as it was started, which the process
// in the namespaces is told.
func processors() (cpus []int) {
	for _, text := range strings.Split(os.Getenv(marker), ",") {
		if n, err := strconv.Atoi(text); err == nil {
			cpus = append(cpus, n)
		}
	}
	if len(cpus) > 0 {
		return cpus
	}
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return []int{0}
	}
	for n := range runtime.NumCPU() + 1024 {
		if set.IsSet(n) {
			cpus = append(cpus, n)
		}
	}
	return cpus
}

// trafficCPU is where all traffic is sent and received: the last one, since most of
// the host's own work is done on the first.
func trafficCPU() int {
	cpus := processors()
	return cpus[len(cpus)-1]
}

// agentCPUs are the others.
func agentCPUs() []int {
	cpus := processors()
	return cpus[:max(1, len(cpus)-1)]
}

func cpuSet(cpus ...int) *unix.CPUSet {
	var s unix.CPUSet
	for _, n := range cpus {
		s.Set(n)
	}
	return &s
}

func joinInts(numbers []int) string {
	var text []string
	for _, n := range numbers {
		text = append(text, strconv.Itoa(n))
	}
	return strings.Join(text, ",")
}
