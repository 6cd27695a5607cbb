package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// Release sends the packet on from where it was taken out, as it is. The kernel
// drops it, and counts that, where its connection is blocked by then, or is another
// one. A packet is released, dropped or reset once.
func (d *Datapath) Release(p *HeldPacket) error { return d.writeHeld(p.data) }

// Drop gives the packet up. The caller counts it by its cause.
func (d *Datapath) Drop(p *HeldPacket) error {
	setHandle(p.data, uint32(bpf.HoldHandleFlagsHANDLE_DROPPED))
	return d.writeHeld(p.data) // so that nobody waits for it
}

// Reset gives the packet up and ends its connection, which is to be blocked by then:
// each end gets an RST as if from the other. The receiver believes it only at the
// number that it expects next (RFC 5961 section 3.2). Packets of other protocols than
// TCP are dropped.
func (d *Datapath) Reset(p *HeldPacket, expected uint32) error {
	if p.protocol != packet.TCP {
		return d.Drop(p)
	}
	toReceiver := p.rst(p.tuple, expected, p.ack, packet.RST|p.flags&packet.ACK)
	toSender := p.rst(p.tuple.Reversed(), p.ack, 0, packet.RST)
	if p.flags&packet.ACK == 0 {
		toSender = p.rst(p.tuple.Reversed(), 0, p.after, packet.RST|packet.ACK)
	}
	setHandle(toSender, uint32(bpf.HoldHandleFlagsHANDLE_TURNED))
	return errors.Join(d.writeHeld(toSender), d.writeHeld(toReceiver))
}

// IsOpening says whether it asks for a connection: a SYN that answers none.
func (p *HeldPacket) IsOpening() bool {
	return p.protocol == packet.TCP && p.flags&(packet.SYN|packet.ACK) == packet.SYN
}

// Refuse gives the packet up, which is one that IsOpening, and tells its sender.
func (d *Datapath) Refuse(p *HeldPacket) error {
	answer := p.rst(p.tuple.Reversed(), 0, p.after, packet.RST|packet.ACK)
	setHandle(answer, uint32(bpf.HoldHandleFlagsHANDLE_TURNED))
	return errors.Join(d.writeHeld(answer), d.Drop(p))
}

// ReleaseBeginning sends on the first bytes of what a TCP segment carries, fewer than
// all. The packet itself is to be released, dropped or reset all the same.
func (d *Datapath) ReleaseBeginning(p *HeldPacket, n int) error {
	b := p.beginning(n)
	setHandle(b, uint32(bpf.HoldHandleFlagsHANDLE_PART))
	return d.writeHeld(b)
}

// beginning is a packet with the first n bytes of the payload, and without a FIN,
// which comes after all.
func (p *HeldPacket) beginning(n int) []byte {
	b := bytes.Clone(p.data[:p.payload+n])
	ip := b[vnetHeader+p.network:]
	if p.ipVersion == 4 {
		header := int(ip[0]&15) * 4
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^checksum(0, ip[:header]))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
	}
	segment := b[p.transport:]
	segment[13] &^= packet.FIN | packet.PSH
	pseudo := uint32(checksum(0, p.tuple.Source.AsSlice())) + uint32(checksum(0, p.tuple.Destination.AsSlice())) +
		uint32(packet.TCP) + uint32(len(segment))
	field := segment[16:18]
	if size := int(binary.NativeEndian.Uint16(b[4:])); size > 0 && n > size {
		// It is cut into segments later, which get their checksums then.
		binary.BigEndian.PutUint16(field, checksum(pseudo, nil))
		return b
	}
	clear(b[:vnetHeader])
	field[0], field[1] = 0, 0
	even := segment
	if len(even)%2 == 1 {
		even = append(bytes.Clone(even), 0)
	}
	binary.BigEndian.PutUint16(field, ^checksum(pseudo, even))
	return b
}

func setHandle(data []byte, flags uint32) {
	binary.LittleEndian.PutUint32(data[vnetHeader+8:], handleWhere(data)|flags)
}

func (d *Datapath) writeHeld(data []byte) error {
	d.holding.RLock()
	defer d.holding.RUnlock()
	if d.hold == nil {
		return errors.New("send a packet on that was held: SetHold took the device away")
	}
	tap := d.hold.taps[QueueOf(handleID(data), len(d.hold.taps))]
	for {
		_, err := unix.Write(tap.fd, data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write a packet to %s: %w", tap.name, err)
		}
		return nil
	}
}

// rst is a segment without payload that goes the packet's way.
func (p *HeldPacket) rst(t packet.Tuple, seq, ack uint32, flags uint8) []byte {
	const ttl, tcpHeader = 64, 20
	b := make([]byte, vnetHeader, vnetHeader+p.network+40+tcpHeader)
	b = append(b, p.data[vnetHeader:][:p.network]...)
	source, destination := t.Source.AsSlice(), t.Destination.AsSlice()
	at := len(b)
	if p.ipVersion == 4 {
		b = append(b, 0x45, 0, 0, 20+tcpHeader, 0, 0, 0x40, 0, ttl, packet.TCP, 0, 0)
		b = append(append(b, source...), destination...)
		binary.BigEndian.PutUint16(b[at+10:], ^checksum(0, b[at:]))
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, tcpHeader, packet.TCP, ttl)
		b = append(append(b, source...), destination...)
	}
	at = len(b)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, t.SourcePort), t.DestinationPort)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, seq), ack)
	b = append(b, tcpHeader/4<<4, flags, 0, 0, 0, 0, 0, 0)
	pseudo := uint32(checksum(0, source)) + uint32(checksum(0, destination)) + uint32(packet.TCP) + tcpHeader
	binary.BigEndian.PutUint16(b[at+16:], ^checksum(pseudo, b[at:]))
	return b
}

// checksum is the one's complement sum of RFC 1071, of an even number of bytes.
func checksum(total uint32, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		total += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return uint16(total)
}
