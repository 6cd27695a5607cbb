package dns_test

import (
	"fmt"

	"github.com/weirnet/weir/internal/inspect/dns"
)

// A datagram, as the event of a query tells it.
func Example() {
	data := []byte("\x12\x34\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01" +
		"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x07\x04edge\xc0\x10" +
		"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01")
	var m dns.Message
	if problem := m.Parse(data, len(data), dns.ProtocolOf(53, 40000)); problem != dns.None {
		fmt.Println("malformed:", problem)
	}
	q := m.Questions[0]
	fmt.Println(q.Name, dns.TypeName(q.Type), dns.RCodeName(m.RCode), m.AppendAnswers(nil, 10))
	// Output: www.example.com A NOERROR [edge.example.com 192.0.2.1]
}
