package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what the figures were taken on.
type machine struct {
	Processor  string            `json:"processor"`
	Processors int               `json:"processors"`
	MemoryGB   float64           `json:"memory_gb"`
	Kernel     string            `json:"kernel"`
	Virtual    bool              `json:"virtual"`
	Go         string            `json:"go"`
	Peers      map[string]string `json:"peers"`
	LoadBefore string            `json:"load_before"`
}

func describeMachine() machine {
	m := machine{Processors: len(processors()), Go: runtime.Version(), Peers: peerVersions(), LoadBefore: load()}
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name":
			m.Processor = strings.TrimSpace(value)
		case "flags":
			m.Virtual = slices.Contains(strings.Fields(value), "hypervisor")
		}
	}
	text, _ = os.ReadFile("/proc/meminfo")
	var kB float64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %f", &kB); err == nil {
		m.MemoryGB = kB / (1 << 20)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// load is that of the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

func (m machine) String() string {
	virtual := ""
	if m.Virtual {
		virtual = ", virtual"
	}
	var peers []string
	for name, version := range m.Peers {
		peers = append(peers, name+" "+version)
	}
	slices.Sort(peers)
	return fmt.Sprintf("%s, %d processors%s, %.0f GB, Linux %s, %s; %s", m.Processor, m.Processors, virtual, m.MemoryGB,
		m.Kernel, m.Go, strings.Join(peers, ", "))
}
