package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/weirnet/weir/bpf"
)

// What the bench looks up in the kernel of the instance under test.

// ingressOf finds the first program at an interface's ingress hook.
func ingressOf(h *host, name string) (p *ebpf.Program) {
	index := h.index(name)
	h.run(func() {
		found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
		must(err, "look for Weir's program")
		if len(found.Programs) == 0 {
			must(errors.New("there is none"), "look for Weir's program")
		}
		p, err = ebpf.NewProgramFromID(found.Programs[0].ID)
		must(err, "open Weir's program")
	})
	return p
}

// mapOf opens one of a program's maps.
func mapOf(p *ebpf.Program, name string) *ebpf.Map {
	info, err := p.Info()
	must(err, "look at Weir's program")
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		must(err, "open a map of Weir's")
		if i, err := m.Info(); err == nil && i.Name == name {
			return m
		}
		m.Close()
	}
	must(fmt.Errorf("the program has none named %s", name), "look for a map of Weir's")
	return nil
}

// forget removes all connections.
func forget(flows *ebpf.Map) {
	var cursor ebpf.MapBatchCursor
	const many = 4096
	var keys []bpf.ConnectionsFlowKey
	for {
		k, v := make([]bpf.ConnectionsFlowKey, many), make([]bpf.ConnectionsFlow, many)
		n, err := flows.BatchLookup(&cursor, k, v, nil)
		keys = append(keys, k[:n]...)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			break
		}
		must(err, "list the connections")
	}
	if len(keys) == 0 {
		return
	}
	_, err := flows.BatchDelete(keys, nil)
	if !errors.Is(err, ebpf.ErrKeyNotExist) { // one that the agent's sweep ended
		must(err, "forget %d connections", len(keys))
	}
}

// residentMB is what a process has in memory, in MB.
func residentMB(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(err, "read the memory of process %d", pid)
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for scanner.Scan() {
		if rest, ok := strings.CutPrefix(scanner.Text(), "VmRSS:"); ok {
			kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			must(err, "read the memory of process %d", pid)
			return kB / 1024
		}
	}
	must(errors.New("no line VmRSS"), "read the memory of process %d", pid)
	return 0
}

// peakMB is the most that it ever had.
func peakMB(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(err, "read the memory of process %d", pid)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	must(err, "read the memory of process %d", pid)
	return kB / 1024
}

// mapsMB is what the kernel charges for the maps that a process has open, those
// within maps included, in MB.
func mapsMB(pid int) (total float64) {
	seen := map[string]bool{}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fdinfo", pid))
	must(err, "list the files of process %d", pid)
	for _, e := range entries {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.TrimSpace(value)
		}
		id := fields["map_id"]
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		bytes, err := strconv.ParseFloat(fields["memlock"], 64)
		must(err, "read the size of map %s", id)
		total += bytes / (1 << 20)
	}
	return total
}

// tablesMB is the same for the tables of policies, which only their outer maps
// have open.
func tablesMB(p *ebpf.Program) (total float64) {
	info, err := p.Info()
	must(err, "look at Weir's program")
	ids, _ := info.MapIDs()
	for _, id := range ids {
		outer, err := ebpf.NewMapFromID(id)
		must(err, "open a map of Weir's")
		if outer.Type() == ebpf.ArrayOfMaps {
			for slot := range outer.MaxEntries() {
				var inner *ebpf.Map
				if outer.Lookup(slot, &inner) == nil {
					i, err := inner.Info()
					must(err, "look at a table")
					bytes, _ := i.Memlock()
					total += float64(bytes) / (1 << 20)
					inner.Close()
				}
			}
		}
		outer.Close()
	}
	return total
}

// cpuTime is what a process has used of processors so far.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(err, "read the time of process %d", pid)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks float64
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.ParseFloat(fields[i], 64)
		must(err, "read the time of process %d", pid)
		ticks += n
	}
	return time.Duration(ticks * float64(time.Second) / 100)
}

// count gives the entries of the table of connections.
func count(flows *ebpf.Map) (n int) {
	each(flows, func(*bpf.ConnectionsFlow) { n++ })
	return n
}

// settled is how many of them both ends take part in.
func settled(flows *ebpf.Map) (n int) {
	each(flows, func(f *bpf.ConnectionsFlow) {
		if bpf.ConnectionsFlowFlags(f.Flags)&bpf.ConnectionsFlowFlagsFLOW_SETTLED != 0 {
			n++
		}
	})
	return n
}

func each(flows *ebpf.Map, f func(*bpf.ConnectionsFlow)) {
	var cursor ebpf.MapBatchCursor
	const many = 8192
	for {
		k, v := make([]bpf.ConnectionsFlowKey, many), make([]bpf.ConnectionsFlow, many)
		found, err := flows.BatchLookup(&cursor, k, v, nil)
		for i := range found {
			f(&v[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return
		}
		must(err, "look at the connections")
	}
}
