package engine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestHostResolvers(t *testing.T) {
	dir := t.TempDir()
	h := &hostResolvers{configured: filepath.Join(dir, "resolv.conf"), uplinks: filepath.Join(dir, "uplinks")}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(changed, own bool, want ...string) {
		t.Helper()
		got, hasChanged, err := h.read()
		if err != nil {
			t.Fatal(err)
		}
		var resolvers []netip.AddrPort
		for _, w := range want {
			resolvers = append(resolvers, netip.MustParseAddrPort(w))
		}
		if !slices.Equal(got, resolvers) || hasChanged != changed || areOwn(got) != own {
			t.Errorf("got %v, changed %v, own %v", got, hasChanged, areOwn(got))
		}
	}
	if _, _, err := h.read(); err == nil {
		t.Error("there is no file, and no error")
	}
	write(h.configured, "# a comment\nsearch example.com\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 # the other\nnameserver dns.example\nnameserver\nnameserver fe80::1%eth0")
	expect(true, false, "192.0.2.53:53", "[2001:db8::53]:53", "[fe80::1%eth0]:53")
	expect(false, false, "192.0.2.53:53", "[2001:db8::53]:53", "[fe80::1%eth0]:53")
	// systemd-resolved has put itself into it, and has no servers yet.
	write(h.configured, "nameserver 127.0.0.53\noptions edns0 trust-ad\n")
	expect(true, true, "127.0.0.53:53")
	write(h.uplinks, "nameserver 198.51.100.53\n")
	expect(true, false, "127.0.0.53:53", "198.51.100.53:53")
	// Another resolver on the host: whom it asks is not known.
	write(h.configured, "nameserver 127.0.0.1\n")
	expect(true, true, "127.0.0.1:53")
	write(h.configured, "")
	expect(true, true)
}
