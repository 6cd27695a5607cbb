package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/weirnet/weir/internal/packet"
)

// stranger is a client at the far side that no stack stands behind: its segments
// are made by hand.
type stranger struct {
	*far
	d        *Datapath
	j        *judge
	headers  headers
	tuple    packet.Tuple
	seq, ack uint32
	server   net.Conn // the near end
}

// newStranger connects to a server at the near side.
func newStranger(t *testing.T, policy string, then func(*judge, *Held)) *stranger {
	t.Helper()
	p := newPeer(t)
	s := &stranger{}
	s.d, s.j = holding(t, policy, HoldConfig{}, then)
	s.far = listen(t, p)
	s.connect()
	return s
}

func (s *stranger) connect() {
	s.t.Helper()
	l, err := netlink.LinkByName(near)
	if err != nil {
		s.t.Fatal(err)
	}
	s.headers = headers{hopLimit: 64, to: [6]byte(l.Attrs().HardwareAddr)}
	ip := net.IPv4(10, 98, 0, 9)
	neighbor := &netlink.Neigh{LinkIndex: l.Attrs().Index, IP: ip, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}, State: netlink.NUD_PERMANENT}
	if err := netlink.NeighSet(neighbor); err != nil {
		s.t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "10.98.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { listener.Close() })
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := listener.Accept(); err == nil {
			accepted <- c
		}
	}()
	s.tuple = packet.Tuple{
		Source: address("10.98.0.9"), Destination: address("10.98.0.1"), Protocol: packet.TCP, SourcePort: 40000,
		DestinationPort: uint16(listener.Addr().(*net.TCPAddr).Port),
	}
	s.seq = 1000
	s.segment(packet.SYN, s.seq, 0, "")
	answer := s.waitFor("SYN-ACK", func(p *packet.Packet) bool { return p.TCPFlags == packet.SYN|packet.ACK })
	s.seq, s.ack = 1001, answer.Seq+1
	s.segment(packet.ACK, s.seq, s.ack, "")
	s.server = <-accepted
	s.t.Cleanup(func() { s.server.Close() })
}

// segment sends one.
func (s *stranger) segment(flags byte, seq, ack uint32, payload string) {
	s.t.Helper()
	s.send(s.headers.build(s.tuple, withChecksum(s.tuple, tcpSegment(s.tuple, flags, seq, ack, payload))))
}

func tcpSegment(tp packet.Tuple, flags byte, seq, ack uint32, payload string) []byte {
	b := segment(tp, flags, seq, ack, len(payload))
	binary.BigEndian.PutUint16(b[14:], 64000) // window
	copy(b[20:], payload)
	return b
}

func withChecksum(tp packet.Tuple, l4 []byte) []byte {
	even := append(bytes.Clone(l4), make([]byte, len(l4)%2)...)
	source, destination := tp.Source.AsSlice(), tp.Destination.AsSlice()
	pseudo := uint32(checksum(0, source)) + uint32(checksum(0, destination)) + uint32(tp.Protocol) + uint32(len(l4))
	at := 16
	if tp.Protocol == packet.UDP {
		at = 6
	}
	binary.BigEndian.PutUint16(l4[at:], ^checksum(pseudo, even))
	return l4
}

// waitFor waits for what comes to the far side.
func (f *far) waitFor(what string, match func(*packet.Packet) bool) packet.Packet {
	f.t.Helper()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		list, _ := f.packets(packet.TCP)
		for i := range list {
			if match(&list[i]) {
				return list[i]
			}
		}
	}
	f.t.Fatalf("no %s came", what)
	return packet.Packet{}
}

// gets is what the server has got after a moment.
func (s *stranger) gets(after time.Duration) string {
	s.t.Helper()
	s.server.SetReadDeadline(time.Now().Add(after))
	b := make([]byte, 4096)
	var all []byte
	for {
		n, err := s.server.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			return string(all)
		}
	}
}

const soon = 30 * time.Millisecond

// TestShapes: whatever a client does with its segments, none of their content is given
// to the server before it is released, and user space sees all of it.
func TestShapes(t *testing.T) {
	const ack = packet.ACK
	for name, send := range map[string]func(s *stranger) (held string){
		"out of order": func(s *stranger) string {
			s.segment(ack, s.seq+3, s.ack, "def")
			s.segment(ack, s.seq, s.ack, "abc")
			return "def,abc"
		},
		"again with other content": func(s *stranger) string {
			s.segment(ack, s.seq, s.ack, "abc")
			s.segment(ack, s.seq, s.ack, "xyz")
			return "abc,xyz"
		},
		"overlapping": func(s *stranger) string {
			s.segment(ack, s.seq, s.ack, "abcd")
			s.segment(ack, s.seq+2, s.ack, "xyz")
			return "abcd,xyz"
		},
		"a reset off the sequence in the middle": func(s *stranger) string {
			s.segment(ack, s.seq, s.ack, "abc")
			s.segment(packet.RST, s.seq+500, 0, "")
			s.segment(ack, s.seq+3, s.ack, "def")
			return "abc,def"
		},
		"a SYN off the sequence in the middle": func(s *stranger) string {
			s.segment(ack, s.seq, s.ack, "abc")
			s.segment(packet.SYN, s.seq+5000, 0, "")
			s.segment(ack, s.seq+3, s.ack, "def")
			return "abc,def"
		},
		"a SYN with data in the middle": func(s *stranger) string {
			s.segment(ack, s.seq, s.ack, "abc")
			s.segment(packet.SYN, s.seq+5000, 0, "data")
			return "abc"
		},
		"with FIN": func(s *stranger) string {
			s.segment(ack|packet.FIN, s.seq, s.ack, "abc")
			return "abc"
		},
		"a wrong checksum": func(s *stranger) string {
			wrong := tcpSegment(s.tuple, ack, s.seq, s.ack, "bad")
			wrong[16] = 0x55
			s.send(s.headers.build(s.tuple, wrong))
			s.segment(ack, s.seq, s.ack, "abc")
			return "abc"
		},
		"in IP fragments": func(s *stranger) string {
			l4 := withChecksum(s.tuple, tcpSegment(s.tuple, ack, s.seq, s.ack, "the beginning and the end of it"))
			for _, frame := range s.headers.fragments(s.tuple, l4, 77, 4) {
				s.send(frame)
			}
			return ""
		},
		"without any flag": func(s *stranger) string {
			s.segment(0, s.seq, s.ack, "abc")
			return "abc"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStranger(t, needsFacts, nil)
			want := send(s)
			var parts []string
			if want != "" {
				parts = strings.Split(want, ",")
			}
			list := s.j.wait("packets", func(l []Held) bool { return len(l) >= len(parts) })
			if got := s.gets(soon); got != "" {
				t.Fatalf("the server got %q before the verdict", got)
			}
			var got []string
			for _, h := range list {
				got = append(got, string(h.Payload))
			}
			if strings.Join(got, ",") != want {
				t.Errorf("held: %q, want %q", got, want)
			}
			if name == "in IP fragments" {
				if n := counter(t, s.d, "held_fragment_dropped"); n == 0 {
					t.Error("fragments are not counted")
				}
				return
			}
			if name == "without any flag" {
				return // which the server does not take
			}
			if r := settle(t, s.d, s.j.verdict(&list[0], 1)); r != Settled {
				t.Fatal(r)
			}
			s.j.release()
			if got := s.gets(soon); !strings.HasPrefix(got, "abc") {
				t.Errorf("released, the server got %q", got)
			}
		})
	}
}

// TestResent: what passed by a window is held when it is sent again from before it,
// and what lies in it passes.
func TestResent(t *testing.T) {
	s := newStranger(t, needsFacts, nil)
	if wrong := resent(s); wrong != "" {
		t.Error(wrong)
	}
}

func resent(s *stranger) (wrong string) {
	t := s.t
	s.segment(packet.ACK, s.seq, s.ack, "abc")
	list := s.j.wait("request", func(l []Held) bool { return len(l) == 1 })
	h := &list[0]
	v := s.j.verdict(h, 1)
	v.Done = false
	v.Windows[0] = &Window{From: s.seq + 3, Until: s.seq + 9}
	if r := settle(t, s.d, v); r != Settled {
		t.Fatal(r)
	}
	s.j.release()
	if got := s.gets(soon); got != "abc" {
		wrong += fmt.Sprintf("Released, the server got %q. ", got)
	}
	s.segment(packet.ACK, s.seq+3, s.ack, "defghi") // in the window
	if got := s.gets(soon); got != "defghi" {
		wrong += fmt.Sprintf("Of the window the server got %q. ", got)
	}
	s.segment(packet.ACK, s.seq, s.ack, "xyz")      // before it
	s.segment(packet.ACK, s.seq+8, s.ack, "ijk")    // beyond it
	s.segment(packet.ACK, s.seq-2, s.ack, "..xyzd") // into it
	time.Sleep(soon)
	if got := s.gets(soon); got != "" {
		wrong += fmt.Sprintf("Around the window the server got %q. ", got)
	}
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	if len(s.j.list) != 4 {
		wrong += fmt.Sprintf("%d packets were held, not 4. ", len(s.j.list))
	}
	return wrong
}

// TestReset: both ends are told at once when a connection is blocked.
func TestReset(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, inbound := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s inbound %v", network, inbound), func(t *testing.T) {
				p := newPeer(t)
				d, j := holding(t, needsFacts, HoldConfig{}, func(j *judge, h *Held) {
					if r, err := j.d.Settle([]Settlement{j.verdict(h, 2)}); err != nil || r[0] != Settled {
						j.t.Error(r, err)
					}
					if err := j.d.Reset(h.Packet(), h.Seq); err != nil {
						j.t.Error(err)
					}
				})
				client, accepted := dialled(t, p, network, inbound)
				server := <-accepted
				defer server.Close()
				client.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
				for end, c := range map[string]net.Conn{"client": client, "server": server} {
					c.SetReadDeadline(time.Now().Add(3 * time.Second))
					if n, err := c.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("the %s gets %d bytes, %v", end, n, err)
					}
				}
				var key FlowKey
				if d.objects.Looks.NextKey(nil, &key.key) == nil {
					t.Error("something is left in the table")
				}
				events := eventsOf(t, d, j.wait("", func(l []Held) bool { return len(l) > 0 })[0].ID)
				if last := events[len(events)-1]; last.Kind != 4 || last.End != 4 || last.Verdict != 3 {
					t.Errorf("%+v", last)
				}
			})
		}
	}
}

// TestAgentDown: when nobody reads any more, on_error says what becomes of packets
// that would wait; decided connections do not notice.
func TestAgentDown(t *testing.T) {
	for answer, passes := range map[string]bool{"allow": true, "block": false} {
		t.Run(answer, func(t *testing.T) {
			p := newPeer(t)
			d, j := holding(t, strings.Replace(needsFacts, "rules:", "on_error: {agent_down: "+answer+"}\nrules:", 1), HoldConfig{}, nil)
			decided, accepted := dialled(t, p, "tcp4", false)
			other := <-accepted
			defer other.Close()
			decided.Write([]byte("a"))
			list := j.wait("byte", func(l []Held) bool { return len(l) == 1 })
			settle(t, d, j.verdict(&list[0], 1))
			j.release()
			j.stop()
			time.Sleep(1100 * time.Millisecond) // so long packets wait for another reader
			client, accepted := dialled(t, p, "tcp4", false)
			server := <-accepted
			defer server.Close()
			client.Write([]byte("request"))
			server.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := server.Read(make([]byte, 100))
			if passes && n != 7 || !passes && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes came, %v", n, err)
			}
			if counter(t, d, "agent_down_passed") == 0 == passes || counter(t, d, "agent_down_dropped") > 0 == passes {
				t.Error("it is not counted as it should be")
			}
			decided.Write([]byte("b"))
			other.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.ReadFull(other, make([]byte, 2)); err != nil {
				t.Errorf("a connection that was decided: %v", err)
			}
			j.start()
			time.Sleep(200 * time.Millisecond) // until the kernel knows
			client.Write([]byte("more"))
			j.wait("request after the agent is back", func(l []Held) bool { return len(l) > 1 })
		})
	}
}

// TestStale: what is sent on for another epoch, or for a connection that is blocked,
// goes nowhere.
func TestStale(t *testing.T) {
	s := newStranger(t, needsFacts, nil)
	s.segment(packet.ACK, s.seq, s.ack, "abc")
	list := s.j.wait("request", func(l []Held) bool { return len(l) == 1 })
	if wrong := stale(s); wrong != "" {
		t.Error(wrong)
	}
	if r := settle(t, s.d, s.j.verdict(&list[0], 2)); r != Settled {
		t.Fatal(r)
	}
	s.j.release()
	if got := s.gets(soon); got != "" || counter(t, s.d, "held_blocked") != 1 {
		t.Errorf("of a connection that is blocked the server got %q", got)
	}
}

// stale releases a packet of another epoch.
func stale(s *stranger) (wrong string) {
	other := *s.j.kept[0]
	other.data = bytes.Clone(other.data)
	other.data[vnetHeader]++
	if err := s.d.Release(&other); err != nil {
		s.t.Fatal(err)
	}
	if got := s.gets(soon); got != "" {
		wrong += fmt.Sprintf("Of another epoch the server got %q. ", got)
	}
	if counter(s.t, s.d, "held_stale") != 1 {
		wrong += "It is not counted. "
	}
	return wrong
}

// TestMidStream: what began unseen is answered by on_error.
func TestMidStream(t *testing.T) {
	for _, c := range []struct{ onError, rule, gets string }{
		{"{not_seen: block}", "{name: w, action: block, layer7: {http: [bad.example]}}", ""},
		{"{not_seen: allow}", "{name: w, action: block, layer7: {http: [bad.example]}}", "abc"},
		{"{not_seen: block}", "{name: w, action: allow, layer7: {http: [good.example]}}", ""},
		{"{not_seen: allow}", "{name: w, action: allow, layer7: {http: [good.example]}}", ""}, // passed over
		{"{not_seen: keep}", "{name: w, action: allow, layer7: {http: [good.example]}}", "abc"},
	} {
		t.Run(c.onError+c.rule, func(t *testing.T) {
			rest := "default_action: allow\n"
			if strings.Contains(c.rule, "good") {
				rest = ""
			}
			s := newStranger(t, "mode: prevent\nreject: never\n"+rest+"on_error: "+c.onError+"\nrules: ["+c.rule+"]", nil)
			forget(t, s.d)
			s.segment(packet.ACK, s.seq, s.ack, "abc")
			if got := s.gets(soon); got != c.gets {
				t.Errorf("the server got %q, not %q", got, c.gets)
			}
			if (counter(t, s.d, "unheld") == 0) != strings.Contains(c.onError, "keep") {
				t.Error("it is not counted")
			}
		})
	}
}

// TestHeldOnOpening: where facts of the opening itself are asked for, the SYN waits.
func TestHeldOnOpening(t *testing.T) {
	p := newPeer(t)
	_, j := holding(t, needsFacts, HoldConfig{OnOpening: true}, func(j *judge, h *Held) {
		if r, err := j.d.Settle([]Settlement{j.verdict(h, 1)}); err != nil || r[0] != Settled {
			j.t.Error(r, err)
		}
		if err := j.d.Release(h.Packet()); err != nil {
			j.t.Error(err)
		}
	})
	client, accepted := dialled(t, p, "tcp4", false)
	server := <-accepted
	defer server.Close()
	list := j.wait("SYN", func(l []Held) bool { return len(l) > 0 })
	if h := &list[0]; h.Flags != packet.SYN || !h.HasInitial[0] || h.Initial[0] != h.Seq || len(h.Payload) != 0 {
		t.Errorf("%+v", h.Copy)
	}
	say(t, client, server, 1000)
	say(t, server, client, 1000)
}

// TestHoldMutants: the faults of the programs that hold packets are noticed.
func TestHoldMutants(t *testing.T) {
	shipped := loadHold
	defer func() { loadHold = shipped }()
	loadHold = func() (*ebpf.CollectionSpec, error) {
		return ebpf.LoadCollectionSpec("testdata/hold_mutants_bpfel.o")
	}
	for _, m := range []struct {
		number int
		name   string
		stale  bool
	}{
		{0, "no fault", false},
		{28, "windows are not respected", false},
		{29, "what is sent on may be another connection's", true},
		{30, "what is sent again is not held", false},
		{31, "what is held may be said at any time", false},
		{38, "answers pass by an earlier policy", false},
	} {
		t.Run(m.name, func(t *testing.T) {
			if m.number == 38 {
				a := newAnswering(t, "tcp4", false)
				setMutantOf(t, a.d.hold.programs.Hold, m.number)
				if answersWait(a) == "" {
					t.Error("it is not noticed")
				}
				return
			}
			s := newStranger(t, needsFacts, nil)
			setMutantOf(t, s.d.hold.programs.Hold, m.number)
			var wrong string
			if m.number == 31 {
				wrong = outOfPlace(s)
			} else if m.stale {
				s.segment(packet.ACK, s.seq, s.ack, "abc")
				s.j.wait("request", func(l []Held) bool { return len(l) == 1 })
				wrong = stale(s)
			} else {
				wrong = resent(s)
			}
			t.Logf("%s", wrong)
			if (wrong == "") != (m.number == 0) {
				t.Errorf("noticed: %q", wrong)
			}
		})
	}
}
