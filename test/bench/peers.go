package main

import (
	"bytes"
	"os/exec"
	"regexp"

	"github.com/weirnet/weir/internal/engine"
)

// The programs of others that Weir is measured beside, and their Debian packages.
var peerPrograms = []struct{ program, title, install string }{
	{"nft", "nftables", "apt-get install nftables"},
	{"iptables-restore", "iptables", "apt-get install iptables"},
	{"ipset", "ipset", "apt-get install ipset"},
	{"xdp-filter", "xdp-filter", "apt-get install xdp-tools"},
	{"haproxy", "HAProxy", "apt-get install haproxy"},
}

// findPeers looks for them, and names what is not measured.
func (b *bench) findPeers() (out []missing) {
	b.peers = map[string]bool{}
	for _, p := range peerPrograms {
		if _, err := exec.LookPath(p.program); err != nil {
			out = append(out, missing{p.title, "its program is not here: " + p.install})
			continue
		}
		b.peers[p.program] = true
	}
	out = append(out,
		missing{"bpfilter", "no package of it; nftables with linear rules stands in its place"})
	if b.sets == "" {
		out = append(out, missing{"ClassBench rule sets", "-sets or WEIR_CLASSBENCH names no folder"})
	}
	return out
}

var versionNumber = regexp.MustCompile(`v[0-9.]+`)

// peerVersions are what the machine's description tells.
func peerVersions() map[string]string {
	versions := map[string]string{}
	for program, arguments := range map[string][]string{"nft": {"--version"}, "iptables": {"--version"}, "ipset": {"--version"}} {
		if out, err := exec.Command(program, arguments...).Output(); err == nil {
			first, _, _ := bytes.Cut(out, []byte("\n"))
			versions[program] = string(versionNumber.Find(first))
		}
	}
	if out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "xdp-tools").Output(); err == nil {
		versions["xdp-tools"] = string(out)
	}
	if out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "haproxy").Output(); err == nil {
		versions["haproxy"] = string(out)
	}
	return versions
}

// The subjects.
const (
	noFilter     = "no filter"
	emptyTCX     = "empty program"
	weirSubject  = "Weir"
	nftLinear    = "nftables, linear"
	nftSet       = "nftables, set"
	nftConntrack = "nftables, conntrack"
	iptLinear    = "iptables, linear"
	ipset        = "ipset"
	xdpFilter    = "xdp-filter"
	weirXDP      = weirSubject + " (XDP), blocked"
)

// weir makes a lane with an agent that watches the given interfaces.
func (s *lanes) weir(name string, size int, fresh bool, policy []byte, interfaces ...string) *lane {
	return s.weirBy(engine.XDPOff, name, size, fresh, policy, interfaces...)
}

// weirBy makes one that drops early.
func (s *lanes) weirBy(xdp engine.XDP, name string, size int, fresh bool, policy []byte, interfaces ...string) *lane {
	l := s.add(name, size, fresh)
	l.agent, _ = startAgent(l.host, agentCPUs(), Opening{Interfaces: interfaces, MaxEntries: 1 << 20, Policy: policy, XDP: xdp})
	return l
}

// anew makes all of a lane's connections new ones: what a burst has opened is
// forgotten after it.
func (l *lane) anew() {
	p := ingressOf(l.host, inName)
	flows := mapOf(p, "flows")
	p.Close()
	l.after = func() { forget(flows) }
}

// series gives the lane's samples.
func (l *lane) series(kind string, size int, baseline string) series {
	return series{Subject: l.name, Kind: kind, Size: size, Baseline: baseline, Samples: l.samples}
}
