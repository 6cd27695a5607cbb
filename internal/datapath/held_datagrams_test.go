package datapath

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
)

// TestHeldDatagrams: each waits, in both directions. Superpackets wait whole, where the
// device takes them, or else datagram by datagram.
func TestHeldDatagrams(t *testing.T) {
	t.Run("superpackets", func(t *testing.T) { heldDatagrams(t, udpOffload) })
	t.Run("cut before", func(t *testing.T) { heldDatagrams(t, 0) })
}

func heldDatagrams(t *testing.T, offload int) {
	had := udpOffload
	udpOffload = offload
	defer func() { udpOffload = had }()
	p := newPeer(t)
	d, j := holding(t, "mode: prevent\nrules: [{name: dns, action: allow, layer7: {dns: [good.example]}}]", HoldConfig{}, nil)
	cut := d.hold.taps[0].cuts
	if offload != 0 && cut {
		t.Log("this kernel's devices take no superpackets of UDP")
	}
	if offload == 0 && !cut {
		t.Error("the device takes superpackets of UDP")
	}
	var server *net.UDPConn
	var err error
	p.in(func() { server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 98, 0, 2)}) })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000) })
	if err != nil {
		t.Fatal(err)
	}
	all, segment, size := 2, 1000, 2500
	if cut {
		all, segment, size = 4, 0, 1000
	}
	j.sends(client, []byte("question"), 1)
	j.sends(client, bytes.Repeat([]byte("s"), 2500), 2)
	list := j.wait("datagrams", func(l []Held) bool { return len(l) == all })
	if list[1].Segment != segment || len(list[1].Payload) != size || list[0].End != 0 {
		t.Errorf("%+v, %d", list[1].Copy, list[1].Segment)
	}
	if n := away(t, d, &list[0]); n != uint32(all) {
		t.Errorf("%d packets are away, want %d", n, all)
	}
	server.SetReadDeadline(time.Now().Add(soon))
	b := make([]byte, 3000)
	if n, _, err := server.ReadFromUDP(b); err == nil {
		t.Fatalf("%q before the verdict", b[:n])
	}
	j.release()
	var from *net.UDPAddr
	for _, want := range []int{8, 1000, 1000, 500} {
		server.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, a, err := server.ReadFromUDP(b)
		if err != nil || n != want {
			t.Fatal(n, err)
		}
		from = a
	}
	if n := away(t, d, &list[0]); n != 0 {
		t.Errorf("%d packets are away, want none", n)
	}
	server.WriteToUDP([]byte("answer"), from)
	list = j.wait("answer", func(l []Held) bool { return len(l) == all+1 })
	if last := &list[all]; last.End != 1 || string(last.Payload) != "answer" {
		t.Errorf("%+v", last.Copy)
	}
	j.release()
	client.SetReadDeadline(time.Now().Add(3 * time.Second))
	if n, err := client.Read(b); err != nil || n != 6 {
		t.Error(n, err)
	}
}

// sends sends a datagram until so many are held: on a machine that is slow nobody may
// have read for a second.
func (j *judge) sends(c *net.UDPConn, b []byte, held int) {
	for range 5 {
		c.Write(b)
		for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
			j.mu.Lock()
			n := len(j.list)
			j.mu.Unlock()
			if n >= held {
				return
			}
		}
	}
}

// away is how many packets of a connection the kernel takes for being in user space.
func away(t *testing.T, d *Datapath, h *Held) uint32 {
	t.Helper()
	var l bpf.ConnectionsLook
	if err := d.objects.Looks.Lookup(h.Key.key, &l); err != nil {
		t.Fatal(err)
	}
	return l.Away
}
