package dns_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/policy"
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

func TestParse(t *testing.T) {
	var m dns.Message // one for all: nothing may stay behind
	for _, c := range messages() {
		t.Run(c.name, func(t *testing.T) {
			m.Parse(c.data, len(c.data), c.protocol)
			checkMessage(t, c.data, &m)
			if c.protocol != dns.MDNS {
				checkOracle(t, c.data, &m)
			}
			question := ""
			if len(m.Questions) > 0 {
				q := m.Questions[0]
				question = q.Name.String() + " " + dns.TypeName(q.Type)
				if q.WantsUnicast {
					question += " unicast"
				}
			}
			if m.Problem != c.problem || question != c.question {
				t.Errorf("problem %q, question %q; want %q, %q", m.Problem, question, c.problem, c.question)
			}
			if got := m.AppendAnswers(nil, 100); fmt.Sprint(got) != fmt.Sprint(c.answers) {
				t.Errorf("answers\n%q; want\n%q", got, c.answers)
			}
			if got := factsText(m.Facts(0)); got != c.facts {
				t.Errorf("facts %q, want %q", got, c.facts)
			}
			if m.Problem == dns.None && m.Trailing != 0 && !m.Truncated() {
				t.Errorf("%d trailing bytes", m.Trailing)
			}
		})
	}
}

func factsText(f policy.DNSFacts) string {
	switch f.Name.State {
	case policy.Known:
		return f.Name.Value + " " + dns.TypeName(f.Type.Value)
	case policy.Absent:
		return "absent"
	case policy.Unobtainable:
		return f.Name.Cause.String()
	}
	return "unknown"
}

func TestExtended(t *testing.T) {
	for _, c := range messages() {
		if c.name != "extended code and error" {
			continue
		}
		var m dns.Message
		m.Parse(c.data, len(c.data), dns.DNS)
		e := m.EDNS
		if m.RCode != 0x13 {
			t.Errorf("code %d", m.RCode)
		}
		if !e.Present || e.UDPSize != 1232 || !e.DNSSEC || !e.HasError || e.Error != 22 || string(e.ErrorText) != "down" {
			t.Errorf("%+v", e)
		}
	}
}

// TestCut: of a message whose end was not handed over the facts that were are
// known, the others are beyond the limit.
func TestCut(t *testing.T) {
	for _, c := range messages() {
		var whole, m dns.Message
		whole.Parse(c.data, len(c.data), c.protocol)
		for n := range c.data {
			m.Parse(c.data[:n], len(c.data), c.protocol)
			got, want := factsText(m.Facts(0)), factsText(whole.Facts(0))
			if got != want && got != "limit" {
				t.Errorf("%s, %d bytes: %q, in all %q", c.name, n, got, want)
			}
			if m.Problem == dns.Short {
				t.Errorf("%s, %d bytes: short", c.name, n)
			}
		}
	}
}

// TestPointerChains: work and depth are bounded, whatever points where.
func TestPointerChains(t *testing.T) {
	chain := func(n int) []byte {
		data := join(head(answer, 1, 1), wire("a"), []byte{0, 1, 0, 1})
		pointers := []byte{}
		at := len(data) + 12
		last := 12
		for range n {
			pointers = append(pointers, 0xc0|byte(last>>8), byte(last))
			last = at
			at += 2
		}
		record := append([]byte{0, 0, 16, 0, 1, 0, 0, 0, 0}, byte(len(pointers)>>8), byte(len(pointers)))
		data = append(append(data, record...), pointers...)
		data[7] = 2
		return append(append(data, 0xc0|byte(last>>8), byte(last)), 0, 1, 0, 1, 0, 0, 0, 0, 0, 0)
	}
	var m dns.Message
	// The root's name before the record makes it one byte shorter than rr's.
	for n, want := range map[int]dns.Problem{1: dns.None, 100: dns.None, 200: dns.ManyPtrs, 8000: dns.ManyPtrs} {
		data := chain(n)
		// at counts from after the record's head of 11 bytes, not 12
		for i := len(data) - 12 - 2*n + 2; i < len(data)-10; i += 2 {
			at := int(data[i]&0x3f)<<8 | int(data[i+1])
			at--
			data[i], data[i+1] = 0xc0|byte(at>>8), byte(at)
		}
		if m.Parse(data, len(data), dns.DNS); m.Problem != want {
			t.Errorf("%d pointers: %q, want %q", n, m.Problem, want)
		}
	}
}

func TestNames(t *testing.T) {
	parse := func(labels ...string) dns.Name {
		var m dns.Message
		data := join(head(query, 1), wire(labels...), []byte{0, 1, 0, 1})
		m.Parse(data, len(data), dns.DNS)
		return m.Questions[0].Name
	}
	a := parse("WWW", "Example", "com")
	for _, c := range []struct {
		name  dns.Name
		equal bool
	}{
		{parse("www", "eXAMPLE", "com"), true},
		{parse("www", "example"), false},
		{parse("www", "example", "com", "x"), false},
		{parse("www.example", "com"), false},
		{parse("www", "examp\x4ce", "com"), true},
		{parse("www", "exampl[", "com"), false},
		{parse(), false},
	} {
		if a.Equal(c.name) != c.equal || c.name.Equal(a) != c.equal {
			t.Errorf("%v and %v: not %v", a, c.name, c.equal)
		}
	}
	if got := string(a.AppendFolded(nil)); got != "www.example.com" {
		t.Errorf("folded: %q", got)
	}
	if !parse().IsRoot() || a.IsRoot() {
		t.Error("the root is not told")
	}
	// [ and { differ by the bit that tells the case of letters.
	if parse("[").Equal(parse("{")) || parse("\xc1").Equal(parse("\xe1")) {
		t.Error("only ASCII letters have a case")
	}
}

func TestMany(t *testing.T) {
	data := join(head(answer, 1), wire("a"), []byte{0, 1, 0, 1})
	data[6], data[7] = 0x10, 0
	for range 4096 {
		data = append(data, rr(1, 192, 0, 2, 1)...)
	}
	var m dns.Message
	if m.Parse(data, len(data), dns.DNS); m.Problem != dns.None || len(m.Answers) != dns.MaxAnswers || m.Omitted != 4096-dns.MaxAnswers {
		t.Errorf("%q, %d answers, %d omitted", m.Problem, len(m.Answers), m.Omitted)
	}
}

func TestBuiltByOther(t *testing.T) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 7, Response: true, RecursionAvailable: true})
	b.EnableCompression()
	name := dnsmessage.MustNewName("a.example.org.")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.StartQuestions())
	must(b.Question(dnsmessage.Question{Name: name, Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}))
	must(b.StartAnswers())
	h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1 << 31}
	must(b.CNAMEResource(h, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("b.example.org.")}))
	h.Name = dnsmessage.MustNewName("b.example.org.")
	must(b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8}}))
	data, err := b.Finish()
	must(err)
	var m dns.Message
	m.Parse(data, len(data), dns.DNS)
	checkOracle(t, data, &m)
	if got := m.AppendAnswers(nil, 9); fmt.Sprint(got) != "[b.example.org 2001:db8::]" || m.Answers[0].TTL != 0 {
		t.Errorf("%q, TTL %d", got, m.Answers[0].TTL)
	}
}

func TestNothingAllocated(t *testing.T) {
	var m dns.Message
	all := messages()
	buffer := make([]byte, 0, 4096)
	read := func() {
		for _, c := range all {
			m.Parse(c.data, len(c.data), c.protocol)
			for i := range m.Answers {
				buffer = m.Answers[i].AppendText(buffer[:0])
				buffer = m.Answers[i].Name.AppendFolded(buffer[:0])
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
