package datapath

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/packet"
)

// testCase is a sequence of packets that no generator makes, or that kernel and
// reference once differed on.
type testCase struct {
	name   string
	policy policyText
	steps  []step
	want   []uint32 // answers to the packets
}

var (
	allowsOwn = policyText{
		settings: []string{"mode: prevent", "reject: never"},
		rules:    []string{"{name: own, action: allow, direction: outbound, layer4: udp}"},
	}
	allowsAll = policyText{settings: []string{"mode: prevent", "default_action: allow", "reject: never"}}
)

// TestCases runs each through both, and checks the kernel's answers.
func TestCases(t *testing.T) {
	w := newTwins(t, open(t))
	w.setAgent(t, false)
	for _, test := range w.cases() {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			p, err := inspect(test.policy)
			if err != nil {
				t.Fatal(err)
			}
			w.policies, w.inForce, w.known = []*inspected{p}, -1, nil
			steps := append([]step{{kind: aSwap}}, test.steps...)
			if difference := w.try(t, steps); difference != "" {
				t.Fatalf("%s\n%s", difference, w.describe(steps))
			}
			if !slices.Equal(w.given, test.want) {
				t.Errorf("answers %d, want %d\n%s", w.given, test.want, w.describe(steps))
			}
		})
	}
}

func (w *twins) cases() []testCase {
	conversation := func(protocol uint8, v6 bool) packet.Tuple {
		tp := packet.Tuple{Source: local4, Destination: peers4[0], SourcePort: 40000, DestinationPort: 53, Protocol: protocol}
		if v6 {
			tp.Source, tp.Destination = local6, peers6[0]
		}
		return tp
	}
	h := headers{hopLimit: 64}
	out := func(frame []byte) step { return step{kind: aPacket, at: sent(outside), frame: frame} }
	come := func(frame []byte) step {
		copy(frame, w.mac[outside][:])
		return step{kind: aPacket, at: in(outside), frame: frame}
	}
	sweep := func(bits int) step { return step{kind: aSweep, sweep: bits} }
	asked := func(v6 bool) step { tp := conversation(packet.UDP, v6); return out(h.build(tp, udpDatagram(tp, 8))) }
	// padded puts n bytes of destination options before what an IPv6 packet carries.
	padded := func(tp packet.Tuple, payload []byte, n int) []byte {
		options := append([]byte{tp.Protocol, byte(n/8 - 1)}, make([]byte, n-2)...)
		tp.Protocol = 60
		return h.build(tp, append(options, payload...))
	}
	// failed is an error from elsewhere about what asked.
	failed := func(v6 bool, protocol, kind byte, own, quoted int) []byte {
		tp := conversation(packet.UDP, v6)
		back := packet.Tuple{Source: peers4[1], Destination: tp.Source, Protocol: protocol}
		l4 := udpDatagram(tp, 0)
		if v6 {
			back.Source = peers6[1]
		}
		quote := h.build(tp, l4)[14:]
		if quoted > 0 {
			quote = padded(tp, l4, quoted)[14:]
		}
		message := icmpMessage(kind, 0, 0, quote)
		if own > 0 {
			return padded(back, message, own)
		}
		return h.build(back, message)
	}
	lengthOf0 := append([]byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xa8, 0, 5, 0, 0}, make([]byte, 46)...)
	tcp := conversation(packet.TCP, false)
	tcp.DestinationPort = 443
	back := tcp.Reversed()
	mine := func(flags byte, seq, ack uint32, payload int) step {
		return out(h.build(tcp, segment(tcp, flags, seq, ack, payload)))
	}
	theirs := func(flags byte, seq, ack uint32, payload int) step {
		return come(h.build(back, segment(back, flags, seq, ack, payload)))
	}
	pieces := h.fragments(tcp, segment(tcp, packet.ACK, 100, 500, 40), 7, 4)
	const syn, ack, rst, fin = packet.SYN, packet.ACK, packet.RST, packet.FIN
	return []testCase{
		{"an error of each family", allowsOwn, []step{
			asked(false), asked(true), come(failed(false, packet.ICMP, 3, 0, 0)), come(failed(true, packet.ICMPv6, 1, 0, 0)),
		}, []uint32{pass, pass, pass, pass}},
		{"an ICMPv6 error in IPv4 is none", allowsOwn, []step{
			asked(false), come(failed(false, packet.ICMPv6, 1, 0, 0)), come(failed(false, packet.ICMPv6, 3, 0, 0)),
		}, []uint32{pass, drop, drop}},
		{"an ICMP error in IPv6 is none", allowsOwn, []step{
			asked(true), come(failed(true, packet.ICMP, 3, 0, 0)), come(failed(true, packet.ICMP, 1, 0, 0)),
		}, []uint32{pass, drop, drop}},
		{"an error that quotes a packet with options", allowsOwn, []step{
			asked(true), come(failed(true, packet.ICMPv6, 1, 0, 1024-40)), come(failed(true, packet.ICMPv6, 1, 1024-40, 0)),
		}, []uint32{pass, pass, pass}},
		{"an error is not looked at beyond the longest there is", allowsOwn, []step{
			asked(true), come(failed(true, packet.ICMPv6, 1, 512, 512+160)), come(failed(true, packet.ICMPv6, 1, 512, 512+168)),
			come(failed(true, packet.ICMPv6, 1, 800, 800)),
		}, []uint32{pass, pass, drop, drop}},
		{"a length of 0 behind a tag is no IP", allowsAll, []step{come(lengthOf0)}, []uint32{pass}},
		{"the second of two answers is taken", allowsAll, []step{
			mine(syn, 100, 0, 0), theirs(syn|ack, 500, 101, 0), theirs(syn|ack, 1_000_000_000, 101, 0),
			mine(ack, 101, 1_000_000_001, 10), theirs(rst|ack, 1_000_000_001, 111, 0), theirs(ack, 501, 111, 10), sweep(0),
		}, []uint32{pass, pass, pass, pass, pass, pass}},
		{"a FIN of the first answer", allowsAll, []step{
			mine(syn, 100, 0, 8), theirs(syn|ack, 500, 109, 0), theirs(fin|ack, 501, 109, 0), theirs(syn|ack, 9000, 109, 0),
			mine(ack, 109, 9001, 0), mine(fin|ack, 109, 9001, 0), theirs(ack, 9001, 110, 0), sweep(0),
		}, []uint32{pass, pass, pass, pass, pass, pass, pass}},
		// Whether both ends take part is told by segments, not by what is left of one.
		{"the rest of a segment settles nothing", allowsAll, []step{
			out(pieces[0]), theirs(ack, 500, 101, 0), out(pieces[1]), sweep(1 << 1), sweep(1 << 0),
		}, []uint32{pass, pass, pass}},
	}
}
