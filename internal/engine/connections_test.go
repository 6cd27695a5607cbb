package engine

import (
	"fmt"
	"net"
	"testing"

	"github.com/weirnet/weir/internal/telemetry"
)

func TestConnections(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	e, _ := start(t, fmt.Sprintf("%srules: [{name: ours, action: allow, layer4: {tcp: %d}}]\n", noLoopback, port))
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	find := func() (found []telemetry.Connection) {
		err := e.Connections(func(c *telemetry.Connection) bool {
			if c.Tuple.DestinationPort == port {
				found = append(found, *c)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	found := find()
	if len(found) != 1 || found[0].Judgement.Rule != "ours" || found[0].Judgement.Generation != 1 || found[0].Source.Packets == 0 || found[0].Kind != telemetry.ConnectionUpdate {
		t.Fatalf("found %+v", found)
	}
	c.Close()
	if s, err := l.Accept(); err == nil {
		s.Close()
	}
	eventually(t, "its end", func() bool { return len(find()) == 0 })
}
