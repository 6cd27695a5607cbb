package packet_test

import (
	"fmt"
	"time"

	"github.com/weirnet/weir/internal/packet"
)

// Decode and Follow are called for each packet in turn, with one Packet.
func Example() {
	frames := [][]byte{
		ethernet(0x0800, fragment4(1, 0, true, udp("first of"))),
		ethernet(0x0800, fragment4(1, 16, false, []byte("two"))),
		ethernet(0x0800, fragment4(2, 16, false, []byte("alone"))),
		ethernet(0x0806, make([]byte, 28)),
	}
	fragments := packet.NewFragments(4096)
	now := time.Unix(1767323045, 0)
	var p packet.Packet
	for _, data := range frames {
		f := packet.Frame{Data: data, Link: packet.LinkEthernet}
		outcome := fragments.Follow(&p, p.Decode(&f), 0, now)
		fmt.Printf("%v %v:%d → %v:%d, %d bytes\n", outcome, p.Source, p.SourcePort, p.Destination, p.DestinationPort, p.Bytes)
	}
	// Output:
	// decoded 192.0.2.1:40000 → 198.51.100.2:443, 36 bytes
	// decoded 192.0.2.1:40000 → 198.51.100.2:443, 23 bytes
	// later_fragment 192.0.2.1:0 → 198.51.100.2:0, 25 bytes
	// not_ip invalid IP:0 → invalid IP:0, 0 bytes
}
