package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/sshlog"
)

// TestLoginsInJournal: what the journal tells is of the connection that was open then, from
// the client's address and port.
func TestLoginsInJournal(t *testing.T) {
	const key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	at := time.Now().Truncate(time.Microsecond)
	dir := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
echo '{"__REALTIME_TIMESTAMP":"%d","__CURSOR":"s=1","_UID":"0","_EXE":"/usr/sbin/sshd","MESSAGE":"Accepted publickey for root from 192.0.2.7 port 4242 ssh2: ED25519 %s"}'
echo '{"__REALTIME_TIMESTAMP":"%d","__CURSOR":"s=2","_UID":"0","_EXE":"/usr/sbin/sshd","MESSAGE":"Accepted password for root from fe80::1%%eth0 port 4242 ssh2"}'
exec sleep 60
`, at.UnixMicro(), key, at.UnixMicro())
	defer func(program string) { journalctl = program }(journalctl)
	journalctl = filepath.Join(dir, "journalctl")
	if err := os.WriteFile(journalctl, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	l := &logins{data: &datapath.Datapath{}, log: zaptest.NewLogger(t)}
	if err := l.follow(DefaultSSHServers); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.unfollow(); err != nil || l.follows() {
			t.Errorf("it is still followed: %v", err)
		}
	}()
	from := func(source string, first time.Time) *inspector.Connection {
		a := netip.MustParseAddrPort(source)
		return &inspector.Connection{FirstSeen: first, Tuple: packet.Tuple{
			Source: a.Addr(), SourcePort: a.Port(), Destination: netip.MustParseAddr("192.0.2.1"), DestinationPort: 22, Protocol: packet.TCP,
		}}
	}
	awaited := inspector.Login{State: inspector.LoginAwaited}
	byKey, without := inspector.Login{State: inspector.LoginKey, Key: key}, inspector.Login{State: inspector.LoginNoKey}
	client := from("192.0.2.7:4242", at.Add(-time.Second))
	for until := time.Now().Add(20 * time.Second); l.Login(client) == awaited && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // the second line
	for name, c := range map[string]struct {
		of   *inspector.Connection
		want inspector.Login
	}{
		"the client":           {client, byKey},
		"another port":         {from("192.0.2.7:4243", at.Add(-time.Second)), awaited},
		"another address":      {from("192.0.2.8:4242", at.Add(-time.Second)), awaited},
		"a later connection":   {from("192.0.2.7:4242", at.Add(time.Microsecond)), awaited},
		"an address in a zone": {from("[fe80::1]:4242", at.Add(-time.Second)), without},
	} {
		if got := l.Login(c.of); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	l.Forget(client.Tuple)
	if got := l.Login(client); got != awaited {
		t.Errorf("forgotten: %+v", got)
	}
	for i := range maxSaid + 10 {
		l.take(sshlog.Entry{Login: sshlog.Login{Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String(), Port: 1}, Time: at})
	}
	if len(l.said) > maxSaid {
		t.Errorf("%d logins are kept", len(l.said))
	}
}
