package e2e

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// answerNames answers every question for an IPv4 address, by UDP and TCP, and notes the
// name.
func (h *host) answerNames(t *testing.T, at netip.AddrPort, note func(string)) {
	t.Helper()
	answer := func(query []byte) []byte {
		var m dnsmessage.Message
		if m.Unpack(query) != nil || len(m.Questions) != 1 {
			return nil
		}
		note(m.Questions[0].Name.String())
		m.Response, m.Additionals = true, nil
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
		packed, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return packed
	}
	var datagrams *net.UDPConn
	var err error
	h.run(func() { datagrams, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
	go func() {
		for b := make([]byte, 1500); ; {
			n, from, err := datagrams.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			datagrams.WriteToUDPAddrPort(answer(b[:n]), from)
		}
	}()
	streams := h.listenTCP(t, at)
	go func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					var size uint16
					if binary.Read(c, binary.BigEndian, &size) != nil {
						return
					}
					query := make([]byte, size)
					if _, err := io.ReadFull(c, query); err != nil {
						return
					}
					a := answer(query)
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
				}
			}()
		}
	}()
}
