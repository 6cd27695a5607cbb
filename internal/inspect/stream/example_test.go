package stream_test

import (
	"fmt"
	"net/netip"

	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/packet"
)

func Example() {
	budget := stream.NewBudget(stream.DefaultLimits)
	var c stream.Conversation
	c.Open(budget, netip.MustParseAddr("192.0.2.1"))
	defer c.Release()

	const client = 0
	for _, segment := range []struct {
		seq     uint32
		flags   uint8
		payload string
	}{
		{1000, packet.SYN, ""},
		{1005, packet.ACK, "/ HTTP/1.1"},
		{1001, packet.ACK, "GET "},
		{1005, packet.ACK, "/evil"},
	} {
		result := c.Segment(client, segment.seq, 0, segment.flags, []byte(segment.payload))
		if result.Events&stream.Conflict != 0 {
			fmt.Printf("%d bytes differ from %d on\n", result.Differing, result.At)
		}
		s := c.Stream(client)
		for data := s.Next(); data != nil; data = s.Next() {
			fmt.Printf("%d: %q\n", s.Offset(), data)
			s.Consume(len(data))
		}
		s.Hold()
	}
	// Output:
	// 0: "GET "
	// 4: "/ HTTP/1.1"
	// 4 bytes differ from 5 on
}
