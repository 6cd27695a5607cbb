package engine

import (
	"bytes"
	"encoding/binary"
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// samplePath is the capture that examples/replay.yaml replays: a few connections
// of an imaginary laptop, made here.
const samplePath = "../../testdata/captures/sample.pcap"

var update = flag.Bool("update", false, "write "+samplePath)

// TestSample keeps the file what this code makes.
func TestSample(t *testing.T) {
	want := sample().bytes()
	if *update {
		if err := os.WriteFile(samplePath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the file is not what its code makes; go test ./internal/engine -run TestSample -update writes it")
	}
}

var (
	laptop   = netip.MustParseAddr("192.0.2.20")
	router   = netip.MustParseAddr("192.0.2.1")
	web      = netip.MustParseAddr("198.51.100.7")
	backup   = netip.MustParseAddr("203.0.113.50")
	scanner  = netip.MustParseAddr("203.0.113.99")
	laptop6  = netip.MustParseAddr("2001:db8::20")
	web6     = netip.MustParseAddr("2001:db8:1::7")
	sampleAt = time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC)
)

// recording is a capture in the making: frames, and the clock.
type recording struct {
	file bytes.Buffer
	now  time.Time
}

func newRecording(at time.Time) *recording {
	r := &recording{now: at}
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d) // nanoseconds
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, 262144)
	r.file.Write(binary.LittleEndian.AppendUint32(head, uint32(packet.LinkEthernet)))
	return r
}

func (r *recording) bytes() []byte { return r.file.Bytes() }

func (r *recording) wait(d time.Duration) { r.now = r.now.Add(d) }

// ip records an IP packet, and lets a millisecond pass.
func (r *recording) ip(from, to netip.Addr, protocol uint8, payload []byte) {
	kind, ip := packet.EtherTypeIPv4, make([]byte, 20)
	if from.Is6() {
		kind, ip = packet.EtherTypeIPv6, make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, protocol, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
		copy(ip[8:], from.AsSlice())
		copy(ip[24:], to.AsSlice())
	} else {
		ip[0], ip[8], ip[9] = 0x45, 64, protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(payload)))
		copy(ip[12:], from.AsSlice())
		copy(ip[16:], to.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
	}
	setChecksum(from, to, protocol, payload)
	r.frame(kind, append(ip, payload...))
}

// frame records one with an IP packet.
func (r *recording) frame(kind uint16, ip []byte) {
	frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	frame = binary.BigEndian.AppendUint16(frame, kind)
	frame = append(frame, ip...)
	head := binary.LittleEndian.AppendUint32(nil, uint32(r.now.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(r.now.Nanosecond()))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(frame)))
	r.file.Write(binary.LittleEndian.AppendUint32(head, uint32(len(frame))))
	r.file.Write(frame)
	r.wait(time.Millisecond)
}

func setChecksum(from, to netip.Addr, protocol uint8, payload []byte) {
	at := map[uint8]int{packet.TCP: 16, packet.UDP: 6, packet.ICMP: 2}[protocol]
	var pseudo uint32
	if protocol != packet.ICMP {
		both := append(from.AsSlice(), to.AsSlice()...)
		for i := 0; i < len(both); i += 2 {
			pseudo += uint32(binary.BigEndian.Uint16(both[i:]))
		}
		pseudo += uint32(protocol) + uint32(len(payload))
	}
	binary.BigEndian.PutUint16(payload[at:], checksum(pseudo, payload))
}

func checksum(total uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		total += uint32(b[i]) << 8
		if i+1 < len(b) {
			total += uint32(b[i+1])
		}
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

func (r *recording) udp(from, to netip.AddrPort, payload string) {
	h := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(h, from.Port())
	binary.BigEndian.PutUint16(h[2:], to.Port())
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	r.ip(from.Addr(), to.Addr(), packet.UDP, append(h, payload...))
}

func (r *recording) tcp(from, to netip.AddrPort, flags uint8, seq, ack uint32, payload string) {
	h := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(h, from.Port())
	binary.BigEndian.PutUint16(h[2:], to.Port())
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13] = 0x50, flags
	binary.BigEndian.PutUint16(h[14:], 64000)
	r.ip(from.Addr(), to.Addr(), packet.TCP, append(h, payload...))
}

func (r *recording) ping(from, to netip.Addr, kind byte, sequence byte) {
	r.ip(from, to, packet.ICMP, append([]byte{kind, 0, 0, 0, 0, 7, 0, sequence}, make([]byte, 56)...))
}

// exchange is a TCP connection with one question and one answer, left open.
func (r *recording) exchange(client, server netip.AddrPort, question, answer string) (mine, theirs uint32) {
	const a, b = 1000, 9000
	mine, theirs = a+1+uint32(len(question)), b+1+uint32(len(answer))
	r.tcp(client, server, packet.SYN, a, 0, "")
	r.tcp(server, client, packet.SYN|packet.ACK, b, a+1, "")
	r.tcp(client, server, packet.ACK, a+1, b+1, "")
	r.tcp(client, server, packet.ACK|packet.PSH, a+1, b+1, question)
	r.wait(20 * time.Millisecond)
	r.tcp(server, client, packet.ACK|packet.PSH, b+1, mine, answer)
	r.tcp(client, server, packet.ACK, mine, theirs, "")
	return mine, theirs
}

func (r *recording) close(client, server netip.AddrPort, mine, theirs uint32) {
	r.tcp(client, server, packet.FIN|packet.ACK, mine, theirs, "")
	r.tcp(server, client, packet.FIN|packet.ACK, theirs, mine+1, "")
	r.tcp(client, server, packet.ACK, mine+1, theirs+1, "")
}

// dnsQuestion asks for the A records of www.example.com.
const dnsQuestion = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01"

func sample() *recording {
	r := newRecording(sampleAt)
	port := netip.AddrPortFrom
	r.udp(port(laptop, 53211), port(router, 53), dnsQuestion)
	r.wait(8 * time.Millisecond)
	r.udp(port(router, 53), port(laptop, 53211), "\x12\x34\x81\x80\x00\x01\x00\x01"+dnsQuestion[8:]+
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc6\x33\x64\x07")

	client, server := port(laptop, 41822), port(web, 80)
	mine, theirs := r.exchange(client, server, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
	r.close(client, server, mine, theirs)

	client, server = port(laptop6, 50504), port(web6, 80)
	mine, theirs = r.exchange(client, server, "HEAD / HTTP/1.1\r\nHost: www.example.com\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n")
	r.close(client, server, mine, theirs)

	r.wait(time.Second)
	for sequence := range byte(3) {
		r.ping(laptop, web, 8, sequence)
		r.wait(12 * time.Millisecond)
		r.ping(web, laptop, 0, sequence)
		r.wait(time.Second)
	}

	for _, closed := range []uint16{22, 23, 3389} { // somebody tries the doors
		from, to := port(scanner, 61000+closed%10), port(laptop, closed)
		r.tcp(from, to, packet.SYN, 77, 0, "")
		r.tcp(to, from, packet.RST|packet.ACK, 0, 78, "")
	}

	// A backup that is reset, and a server that goes on.
	client, server = port(laptop, 41900), port(backup, 873)
	mine, _ = r.exchange(client, server, "@RSYNCD: 31.0\n", "@RSYNCD: 31.0\n")
	r.wait(90 * time.Second)
	r.tcp(client, server, packet.RST, mine, 0, "")
	r.exchange(port(laptop, 42000), port(web, 443), "\x16\x03\x01\x00\x00", "\x15\x03\x01\x00\x02\x02\x28")
	return r
}
