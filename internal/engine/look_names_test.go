package engine

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// resolve answers every question with 127.0.0.1.
func resolve(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
			if answer, err := m.Pack(); err == nil {
				c.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestLookNames: a connection to an address that a resolver has named is decided by
// that, though nothing is said in it; also after a restart.
func TestLookNames(t *testing.T) {
	dig, err := exec.LookPath("dig") // this process's own connections are never looked into
	if err != nil {
		t.Skip("dig is not installed")
	}
	resolver := resolve(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	text := fmt.Sprintf("mode: detect\ndefault_action: block\n%srules: [{name: named, action: allow, layer3: {destination_names: [www.example.com]}, layer4: {tcp: %d}}]", noLoopback, port)
	named := func(c *Config) {
		c.Inspect.Resolvers = []netip.AddrPort{resolver}
		c.Inspect.NamesFile = filepath.Join(filepath.Dir(t.TempDir()), "state", "names")
	}
	opened := 0
	connected := func(c *collector, want string) {
		t.Helper()
		client := exec.Command("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d; read", port))
		stdin, err := client.StdinPipe()
		if err == nil {
			err = client.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		opened++
		eventually(t, "a verdict", func() bool { return len(c.of(telemetry.ConnectionVerdict, port)) == opened })
		if got := c.of(telemetry.ConnectionVerdict, port)[opened-1].Judgement; got.Rule != want || got.Action == telemetry.NoAction {
			t.Errorf("by rule %q, %v, want %q", got.Rule, got.Action, want)
		}
		stdin.Close()
		client.Wait()
	}
	_, c := start(t, text, named)
	connected(c, "")
	out, err := exec.Command(dig, "@127.0.0.1", "-p", fmt.Sprint(resolver.Port()), "+short", "+tries=1", "www.example.com", "A").CombinedOutput()
	if err != nil || string(out) != "127.0.0.1\n" {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the resolver's connection", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range c.records {
			if r := &c.records[i]; r.Tuple.Protocol == packet.UDP && r.Tuple.DestinationPort == resolver.Port() {
				return true
			}
		}
		return false
	})
	connected(c, "named")
	c.shutDown()
	opened = 0
	_, c = start(t, text, named)
	connected(c, "named")
}
