package packet_test

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"github.com/weirnet/weir/internal/packet"
)

// built is a frame that gopacket put together, and what it says.
type built struct {
	data    []byte
	tuple   packet.Tuple
	isReply bool
	payload string
}

// TestRandomTuples: a frame built by another's encoder gives its tuple back,
// with right checksums, and wrong ones where a bit of the payload is changed.
func TestRandomTuples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawFrame(t)
		f := packet.Frame{Data: b.data, Link: packet.LinkEthernet}
		var p packet.Packet
		if outcome := p.Decode(&f); outcome != packet.Decoded {
			t.Fatalf("%v, %v: %x", outcome, p.Reason, b.data)
		}
		if p.Tuple != b.tuple || p.IsReply != b.isReply {
			t.Fatalf("tuple %+v, reply %t; want %+v, %t", p.Tuple, p.IsReply, b.tuple, b.isReply)
		}
		if got := string(p.CapturedPayload(b.data)); got != b.payload {
			t.Fatalf("payload %q, want %q", got, b.payload)
		}
		checked := p.HasPorts() || p.IsICMP()
		if got := p.TransportChecksum(b.data); checked != (got == packet.Right) {
			t.Fatalf("checksum %v of %x", got, b.data)
		}
		if checked && len(b.payload) > 0 {
			b.data[p.Payload] ^= 1
			if got := p.TransportChecksum(b.data); got != packet.Wrong {
				t.Fatalf("wrong checksum is %v", got)
			}
		}
	})
}

func drawAddress(t *rapid.T, version int, label string) netip.Addr {
	if version == 4 {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)))
	}
	b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
	b[0] |= 0x20 // not IPv4-mapped
	return netip.AddrFrom16(b)
}

func drawFrame(t *rapid.T) (b built) {
	version := rapid.SampledFrom([]int{4, 6}).Draw(t, "version")
	icmp := packet.ICMP
	if version == 6 {
		icmp = packet.ICMPv6
	}
	b.tuple.Source = drawAddress(t, version, "source")
	b.tuple.Destination = drawAddress(t, version, "destination")
	b.tuple.Protocol = rapid.SampledFrom([]uint8{packet.TCP, packet.UDP, icmp, 47, 132}).Draw(t, "protocol")
	b.payload = string(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "payload"))

	var all []gopacket.SerializableLayer
	kind := layers.EthernetTypeIPv4
	if version == 6 {
		kind = layers.EthernetTypeIPv6
	}
	tags := rapid.SliceOfN(rapid.Uint16Range(1, 4094), 0, packet.MaxTags).Draw(t, "tags")
	for i := len(tags) - 1; i >= 0; i-- {
		all = append([]gopacket.SerializableLayer{&layers.Dot1Q{VLANIdentifier: tags[i], Type: kind}}, all...)
		kind = layers.EthernetTypeDot1Q
	}
	switch len(tags) {
	case 1:
		b.tuple.Zone.Outer = tags[0]
	case 2:
		b.tuple.Zone = packet.Zone{Outer: tags[0], Inner: tags[1]}
	}
	mac := []byte{2, 0, 0, 0, 0, 1}
	all = append([]gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: kind}}, all...)
	ip := drawNetwork(t, &b, version, &all)
	drawTransport(t, &b, ip, &all)
	all = append(all, gopacket.Payload(b.payload))

	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatalf("serialize %v: %v", all, err)
	}
	b.data = buffer.Bytes()
	return b
}

func drawNetwork(t *rapid.T, b *built, version int, all *[]gopacket.SerializableLayer) gopacket.NetworkLayer {
	source, destination := b.tuple.Source.AsSlice(), b.tuple.Destination.AsSlice()
	protocol := layers.IPProtocol(b.tuple.Protocol)
	if version == 4 {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: source, DstIP: destination}
		for range rapid.IntRange(0, 10).Draw(t, "options") {
			ip.Options = append(ip.Options, layers.IPv4Option{OptionType: 7, OptionLength: 4, OptionData: []byte{4, 0}})
		}
		*all = append(*all, ip)
		return ip
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, SrcIP: source, DstIP: destination}
	next := &ip.NextHeader
	*all = append(*all, ip)
	for range rapid.IntRange(0, packet.MaxExtensions).Draw(t, "extensions") {
		*next = layers.IPProtocolIPv6Destination
		extension := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{{OptionType: 0x1e, OptionData: make([]byte, 4+8*rapid.IntRange(0, 5).Draw(t, "option"))}}}
		*all = append(*all, extension)
		next = &extension.NextHeader
	}
	*next = protocol
	return ip
}

func drawTransport(t *rapid.T, b *built, ip gopacket.NetworkLayer, all *[]gopacket.SerializableLayer) {
	drawPorts := func() (uint16, uint16) {
		return rapid.Uint16().Draw(t, "source port"), rapid.Uint16().Draw(t, "destination port")
	}
	tuple := &b.tuple
	switch tuple.Protocol {
	case packet.TCP:
		tuple.SourcePort, tuple.DestinationPort = drawPorts()
		tcp := &layers.TCP{SrcPort: layers.TCPPort(tuple.SourcePort), DstPort: layers.TCPPort(tuple.DestinationPort), ACK: true, Seq: rapid.Uint32().Draw(t, "seq")}
		for range rapid.IntRange(0, 4).Draw(t, "tcp options") {
			tcp.Options = append(tcp.Options, layers.TCPOption{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)})
		}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		*all = append(*all, tcp)
	case packet.UDP:
		tuple.SourcePort, tuple.DestinationPort = drawPorts()
		udp := &layers.UDP{SrcPort: layers.UDPPort(tuple.SourcePort), DstPort: layers.UDPPort(tuple.DestinationPort)}
		_ = udp.SetNetworkLayerForChecksum(ip)
		*all = append(*all, udp)
	case packet.ICMP:
		b.isReply = rapid.Bool().Draw(t, "reply")
		tuple.ICMPType, tuple.ICMPID = 8, rapid.Uint16().Draw(t, "id")
		kind := uint8(8)
		if b.isReply {
			kind = 0
		}
		*all = append(*all, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: tuple.ICMPID})
	case packet.ICMPv6:
		b.isReply = rapid.Bool().Draw(t, "reply")
		tuple.ICMPType, tuple.ICMPID = 128, rapid.Uint16().Draw(t, "id")
		kind := uint8(128)
		if b.isReply {
			kind = 129
		}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
		_ = icmp.SetNetworkLayerForChecksum(ip)
		*all = append(*all, icmp, &layers.ICMPv6Echo{Identifier: tuple.ICMPID})
	}
}

// TestPartialChecksum: what a network card is left to complete, and no checksum.
func TestPartialChecksum(t *testing.T) {
	data := ipv4(packet.UDP, udp("hello"))
	p := decoded(t, packet.Frame{Data: data, Link: packet.LinkRaw})
	if got := p.TransportChecksum(data); got != packet.Unchecked {
		t.Errorf("no checksum is %v", got)
	}
	// The sum of the pseudo-header, not complemented (RFC 768).
	total := uint32(0xc000 + 0x0201 + 0xc633 + 0x6402 + 17 + 13)
	total = total>>16 + total&0xffff
	data[26], data[27] = byte(total>>8), byte(total)
	if got := p.TransportChecksum(data); got != packet.Partial {
		t.Errorf("partial checksum is %v", got)
	}
	if got := p.TransportChecksum(data[:len(data)-1]); got != packet.Unchecked {
		t.Errorf("cut packet's is %v", got)
	}
}
