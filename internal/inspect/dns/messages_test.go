package dns_test

import (
	"bytes"
	"strings"

	"github.com/weirnet/weir/internal/inspect/dns"
)

// head is a header of id 0x1234 with the flags and counts given.
func head(flags uint16, counts ...uint8) []byte {
	b := []byte{0x12, 0x34, byte(flags >> 8), byte(flags)}
	for i := range 4 {
		n := uint8(0)
		if i < len(counts) {
			n = counts[i]
		}
		b = append(b, 0, n)
	}
	return b
}

// wire is a name without compression, from labels.
func wire(labels ...string) (b []byte) {
	for _, l := range labels {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// rr is a record of class IN and a TTL of 300 s; its name is a pointer to the
// question.
func rr(kind uint16, data ...byte) []byte {
	b := []byte{0xc0, 12, byte(kind >> 8), byte(kind), 0, 1, 0, 0, 1, 44}
	return append(append(b, byte(len(data)>>8), byte(len(data))), data...)
}

type message struct {
	name     string
	data     []byte
	protocol dns.Protocol
	problem  dns.Problem
	question string // the first, with its type
	answers  []string
	facts    string // name and type, or why not
}

const (
	query  = 0x0100
	answer = 0x8180
)

func messages() []message {
	a := []byte{0, 1, 0, 1}
	example := wire("www", "Example", "com")
	q := join(example, a)
	long := strings.Repeat("x", 63)
	opt := []byte{0, 0, 41, 4, 208, 1, 0, 0x80, 0, 0, 0}
	return []message{
		{
			name: "query", data: join(head(query, 1), q),
			question: "www.Example.com A", facts: "www.Example.com A",
		},
		{
			name:     "answers of all kinds",
			question: "www.Example.com A", facts: "www.Example.com A",
			data: join(head(answer, 1, 15), q,
				rr(1, 192, 0, 2, 1), rr(28, append(make([]byte, 15), 1)...), rr(5, join([]byte{1, 'w', 0xc0, 16})...),
				rr(12, 0xc0, 12), rr(15, 0, 10, 0xc0, 16), rr(2, 0),
				rr(6, join([]byte{0xc0, 12, 4, 'r', '.', 'o', 't', 0xc0, 16}, make([]byte, 15), []byte{1, 0, 0, 1, 0})...),
				rr(16, join([]byte{3}, []byte(`a "`), []byte{2, 0xff, '\\'})...), rr(33, 0, 1, 0, 2, 31, 144, 0xc0, 12),
				rr(65, 0, 1, 0, 0, 1, 0, 3, 2, 'h', '2', 0, 3, 0, 2, 1, 187, 0, 4, 0, 8, 192, 0, 2, 1, 192, 0, 2, 2),
				rr(64, 0, 0, 0xc0, 16), rr(99, 1, 'x'), rr(1, 192, 0, 2), rr(4711, 1, 2, 3), rr(16)),
			answers: []string{
				"192.0.2.1", "::1", "w.Example.com", "www.Example.com", "10 Example.com", ".",
				`www.Example.com r\.ot.Example.com 0 0 0 1 256`, `a \" \255\\`, "1 2 8080 www.Example.com",
				"1 . alpn=h2 port=443 ipv4hint=192.0.2.1,192.0.2.2", "0 Example.com", "x", `\# 3 c00002`, `\# 3 010203`, "",
			},
		},
		{
			name: "odd bytes in labels", data: join(head(query, 1), wire("a.b", "c d", "\x00\xff", `\"`), a),
			question: `a\.b.c\032d.\000\255.\\\" A`, facts: `a\.b.c\032d.\000\255.\\\" A`,
		},
		{name: "root", data: join(head(query, 1), wire(), []byte{0, 2, 0, 1}), question: ". NS", facts: ". NS"},
		{name: "nothing", problem: dns.Short, facts: "malformed"},
		{name: "half a header", data: head(query, 1)[:11], problem: dns.Short, facts: "malformed"},
		{name: "no question where one is promised", data: head(query, 1), problem: dns.Short, facts: "malformed"},
		{name: "no question", data: head(query), facts: "absent"},
		{name: "half a name", data: join(head(query, 1), example[:6]), problem: dns.Short, facts: "malformed"},
		{name: "half a type", data: join(head(query, 1), q[:len(q)-3]), problem: dns.Short, facts: "malformed"},
		{name: "half a pointer", data: join(head(query, 1), []byte{0xc0}), problem: dns.Short, facts: "malformed"},
		{name: "pointer to itself", data: join(head(query, 1), []byte{0xc0, 12}, a), problem: dns.BadPtr, facts: "malformed"},
		{name: "pointer to its own labels", data: join(head(query, 1), []byte{1, 'a', 0xc0, 12}, a), problem: dns.BadPtr, facts: "malformed"},
		{name: "pointer forward", data: join(head(query, 2), []byte{0xc0, 18}, a, q), problem: dns.BadPtr, facts: "malformed"},
		{name: "pointer into the header", data: join(head(query, 1), []byte{0xc0, 4}, a), problem: dns.BadPtr, facts: "malformed"},
		{name: "label of two bits 01", data: join(head(query, 1), []byte{0x41, 0}, a), problem: dns.BadLabel, facts: "malformed"},
		{name: "label of two bits 10", data: join(head(query, 1), []byte{0x81, 0}, a), problem: dns.BadLabel, facts: "malformed"},
		{
			name: "name of 255 bytes", data: join(head(query, 1), wire(long, long, long, long[:61]), a),
			question: strings.Join([]string{long, long, long, long[:61]}, ".") + " A",
			facts:    strings.Join([]string{long, long, long, long[:61]}, ".") + " A",
		},
		{name: "name of 256 bytes", data: join(head(query, 1), wire(long, long, long, long[:62]), a), problem: dns.LongName, facts: "malformed"},
		{
			name: "two questions", data: join(head(query, 2), q, []byte{0xc0, 12}, []byte{0, 28, 0, 1}),
			question: "www.Example.com A", facts: "malformed",
		},
		{
			name: "two questions of mDNS", data: join(head(0, 2), wire("a", "local"), []byte{0, 12, 0x80, 1}, []byte{0xc0, 12, 0, 28, 0, 1}),
			protocol: dns.MDNS, question: "a.local PTR unicast", facts: "a.local PTR",
		},
		{
			name: "two questions of LLMNR", data: join(head(0, 2), wire("a"), a, wire("b"), a),
			protocol: dns.LLMNR, question: "a A", facts: "malformed",
		},
		{
			name: "truncated inside a record", data: join(head(answer|0x200, 1, 2), q, rr(1, 192, 0, 2, 1), rr(1, 192)[:9]),
			question: "www.Example.com A", answers: []string{"192.0.2.1"}, facts: "www.Example.com A",
		},
		{
			name: "ends inside a record", data: join(head(answer, 1, 2), q, rr(1, 192, 0, 2, 1), rr(1, 192)[:9]), problem: dns.Short,
			question: "www.Example.com A", answers: []string{"192.0.2.1"}, facts: "www.Example.com A",
		},
		{
			name: "data of which one byte is missing", data: join(head(answer, 1, 1), q, rr(1, 192, 0, 2, 1)[:15]), problem: dns.Short,
			question: "www.Example.com A", facts: "www.Example.com A",
		},
		{
			name: "names that end behind their data", question: "www.Example.com A", facts: "www.Example.com A",
			data:    join(head(answer, 1, 4), q, rr(65, 0, 1, 5), []byte{0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0}, rr(2, 3), []byte{0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0}),
			answers: []string{`\# 3 000105`, "", `\# 1 03`, ""},
		},
		{
			name: "parameters that fall, repeat, or are cut", question: "www.Example.com A", facts: "www.Example.com A",
			data: join(head(answer, 1, 3), q, rr(65, 0, 1, 0, 0, 4, 0, 4, 192, 0, 2, 1, 0, 3, 0, 2, 1, 187),
				rr(65, 0, 1, 0, 0, 3, 0, 2, 1, 187, 0, 3, 0, 2, 1, 187), rr(65, 0, 1, 0, 0, 4, 0, 3, 192, 0, 2)),
			answers: []string{`\# 17 00010000040004c00002010003000201bb`, `\# 15 0001000003000201bb0003000201bb`, `\# 10 00010000040003c00002`},
		},
		{
			name: "bytes behind the name in the data", data: join(head(answer, 1, 1), q, rr(5, 1, 'a', 0, 0)),
			question: "www.Example.com A", facts: "www.Example.com A", answers: []string{`\# 4 01610000`},
		},
		{
			name: "bad authority", data: join(head(answer, 1, 1, 1), q, rr(1, 192, 0, 2, 1), []byte{0x40}), problem: dns.BadLabel,
			question: "www.Example.com A", answers: []string{"192.0.2.1"}, facts: "www.Example.com A",
		},
		{
			name: "extended code and error", data: join(head(answer|3, 1, 0, 0, 1), q, opt[:len(opt)-1], []byte{10}, []byte{0, 15, 0, 6, 0, 22, 'd', 'o', 'w', 'n'}),
			question: "www.Example.com A", facts: "www.Example.com A",
		},
		{
			name: "two OPT records", data: join(head(query, 1, 0, 0, 2), q, opt, opt), problem: dns.BadOPT,
			question: "www.Example.com A", facts: "www.Example.com A",
		},
		{
			name: "OPT that is not the root's", data: join(head(query, 1, 0, 0, 1), q, rr(41)), problem: dns.BadOPT,
			question: "www.Example.com A", facts: "www.Example.com A",
		},
		{
			name: "update", data: join(head(dns.OpUpdate<<11, 1, 0, 1), wire("example", "com"), []byte{0, 6, 0, 1}, rr(1, 192, 0, 2, 1)),
			question: "example.com SOA", facts: "example.com SOA",
		},
		{
			name: "notification", data: join(head(dns.OpNotify<<11|0x400, 1), wire("example", "com"), []byte{0, 6, 0, 1}),
			question: "example.com SOA", facts: "example.com SOA",
		},
	}
}
