package dns_test

import (
	"fmt"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/policy"
)

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

// TestPointerChains: a record's name may follow many pointers, not as many as there
// are bytes. They lie in the data of the record before.
func TestPointerChains(t *testing.T) {
	for n, want := range map[int]dns.Problem{0: dns.None, 100: dns.None, 126: dns.None, 127: dns.ManyPtrs, 8000: dns.ManyPtrs} {
		data := join(head(answer, 1, 2), wire("a"), []byte{0, 1, 0, 1})
		at := len(data) + len(rr(16))
		last, pointers := headerEnd, []byte{}
		for i := range n {
			pointers = append(pointers, 0xc0|byte(last>>8), byte(last))
			last = at + 2*i
		}
		record := rr(1, 192, 0, 2, 1)
		record[0], record[1] = 0xc0|byte(last>>8), byte(last)
		data = join(data, rr(16, pointers...), record)
		var m dns.Message
		if m.Parse(data, len(data), dns.DNS); m.Problem != want || want == dns.None && m.Answers[1].Name.String() != "a" {
			t.Errorf("%d pointers: %q, want %q", n, m.Problem, want)
		}
	}
}

const headerEnd = 12

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

func TestHints(t *testing.T) {
	v4, v6 := []byte{0, 4, 0, 4, 192, 0, 2, 1}, append([]byte{0, 6, 0, 16}, make([]byte, 16)...)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"both families", join([]byte{0, 1, 0}, v4, v6), "[192.0.2.1 ::]"},
		{"none", []byte{0, 1, 0}, "[]"},
		{"an alias", join([]byte{0, 0, 1, 'a', 0}, v4), "[]"},
		{"keys that fall", join([]byte{0, 1, 0}, v6, v4), "[]"},
		{"half an address", []byte{0, 1, 0, 0, 4, 0, 3, 192, 0, 2}, "[]"},
		{"one address and a half", []byte{0, 1, 0, 0, 4, 0, 6, 192, 0, 2, 1, 192, 0}, "[]"},
		{"a parameter that is cut", join([]byte{0, 1, 0}, v4, []byte{0, 5, 0, 1}), "[]"},
		{"no target", []byte{0, 1}, "[]"},
	} {
		data := join(head(answer, 1, 1), wire("a"), []byte{0, 65, 0, 1}, rr(65, c.data...))
		var m dns.Message
		m.Parse(data, len(data), dns.DNS)
		if got := fmt.Sprint(m.Answers[0].AppendHints(nil)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
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
