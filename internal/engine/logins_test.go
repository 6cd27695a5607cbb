package engine

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"
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
	var tell func(sshlog.Entry)
	follow := func(_ []string, take func(sshlog.Entry), _ *zap.Logger) (func() error, error) {
		tell = take
		return func() error { return nil }, nil
	}
	l := &logins{data: &datapath.Datapath{}, log: zaptest.NewLogger(t)}
	if err := l.follow(follow, DefaultSSHServers); err != nil {
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
	if got := l.Login(client); got != awaited {
		t.Errorf("before anybody logged in: %+v", got)
	}
	tell(sshlog.Entry{Login: sshlog.Login{Address: "192.0.2.7", Port: 4242, Key: key}, Time: at})
	tell(sshlog.Entry{Login: sshlog.Login{Address: "fe80::1%eth0", Port: 4242}, Time: at})
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
