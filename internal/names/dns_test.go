package names_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
)

// learner is what stands between the packets and the table.
type learner struct {
	queries *dns.Table
	names   *names.Table
	answer  names.Answer
	message dns.Message
	buffer  []byte
	asked   []byte
	hints   []netip.Addr
}

func newLearner() *learner {
	return &learner{queries: dns.NewTable(100, 5*time.Second), names: newTable(names.Limits{})}
}

// packet takes a datagram.
func (l *learner) packet(tuple packet.Tuple, data []byte, now time.Time) names.Outcome {
	m := &l.message
	m.Parse(data, len(data), dns.DNS)
	if !m.IsAnswer() {
		l.queries.Ask(tuple, m, 0, now)
		return names.NotAsked
	}
	query := l.queries.Answer(tuple, m)
	if query == nil || m.Problem != dns.None {
		return names.NotAsked
	}
	l.asked = query.Name().AppendFolded(l.asked[:0])
	asked := names.Key{Tuple: query.Tuple, ID: query.ID, Type: query.Type, Name: l.asked}
	l.buffer = m.Questions[0].Name.AppendFolded(l.buffer[:0])
	answered := names.Key{Tuple: tuple.Reversed(), ID: m.ID, Type: m.Questions[0].Type, Name: l.buffer}
	l.fill(m)
	return l.names.Learn(&asked, &answered, &l.answer, now)
}

// fill turns the records into what the table understands.
func (l *learner) fill(m *dns.Message) {
	l.answer.Reset()
	l.answer.RCode = m.RCode
	at := len(l.buffer)
	for i := range m.Answers {
		r := &m.Answers[i]
		l.buffer = r.Name.AppendFolded(l.buffer[:at])
		owner := l.buffer[at:]
		if addr, ok := r.Addr(); ok {
			l.answer.Address(owner, r.Type, addr, r.TTL)
			continue
		}
		target, ok := r.Target()
		if !ok {
			continue
		}
		end := len(l.buffer)
		l.buffer = target.AppendFolded(l.buffer)
		owner, name := l.buffer[at:end], l.buffer[end:]
		switch r.Type {
		case dns.TypeCNAME:
			l.answer.Alias(owner, name, r.TTL)
		case dns.TypeHTTPS, dns.TypeSVCB:
			l.hints = r.AppendHints(l.hints[:0])
			for _, addr := range l.hints {
				l.answer.Hint(owner, name, r.Type, addr, r.TTL)
			}
		}
	}
}

// build makes a message: of an answer the A records are in the section named.
func build(t testing.TB, id uint16, name string, isAnswer, additional bool, owners ...string) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, Response: isAnswer})
	b.EnableCompression()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.StartQuestions())
	q := dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	must(b.Question(q))
	if additional {
		must(b.StartAdditionals())
	} else {
		must(b.StartAnswers())
	}
	for i, owner := range owners {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET, TTL: 60}
		must(b.AResource(h, dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(i + 1)}}))
	}
	data, err := b.Finish()
	must(err)
	return data
}

// TestPackets: the same attacks as packets, through the parser and the table of
// queries.
func TestPackets(t *testing.T) {
	there := tuple(client, resolver)
	query := build(t, 7, "a.example.", false, false)
	for _, c := range []struct {
		name  string
		tuple packet.Tuple
		data  []byte
		want  string
	}{
		{"answer", there.Reversed(), build(t, 7, "A.example.", true, false, "a.example."), "192.0.2.1 a.example"},
		{"another identifier", there.Reversed(), build(t, 8, "a.example.", true, false, "a.example."), ""},
		{"another question", there.Reversed(), build(t, 7, "b.example.", true, false, "a.example.", "b.example."), ""},
		{"another server", tuple(netip.MustParseAddrPort("192.0.2.66:53"), client), build(t, 7, "a.example.", true, false, "a.example."), ""},
		{"another port", tuple(resolver, netip.MustParseAddrPort("192.0.2.1:40001")), build(t, 7, "a.example.", true, false, "a.example."), ""},
		{"additional addresses", there.Reversed(), build(t, 7, "a.example.", true, true, "a.example."), ""},
		{"addresses of others", there.Reversed(), build(t, 7, "a.example.", true, false, "www.bank.test.", "a.example."), "192.0.2.2 a.example"},
		{"an answer that ends too early", there.Reversed(), build(t, 7, "a.example.", true, false, "a.example.")[:40], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLearner()
			l.packet(there, query, start)
			l.packet(c.tuple, c.data, start)
			if got := contents(l.names); got != c.want {
				t.Errorf("learned %q, want %q", got, c.want)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		l := newLearner()
		l.packet(there, query, start)
		l.packet(there.Reversed(), build(t, 7, "a.example.", true, false), start)
		l.packet(there.Reversed(), build(t, 7, "a.example.", true, false, "a.example."), start)
		if got := contents(l.names); got != "" {
			t.Errorf("learned %q from a second answer", got)
		}
	})
	t.Run("too late", func(t *testing.T) {
		l := newLearner()
		l.packet(there, query, start)
		l.queries.Expire(start.Add(time.Minute))
		l.packet(there.Reversed(), build(t, 7, "a.example.", true, false, "a.example."), start.Add(time.Minute))
		if got := contents(l.names); got != "" {
			t.Errorf("learned %q after the time for an answer", got)
		}
	})
}

// FuzzLearn: whatever the answer, only names of the chain are learned, and nothing
// grows beyond its bound.
func FuzzLearn(f *testing.F) {
	f.Add(build(f, 7, "a.example.", true, false, "a.example.", "b.example."))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := newLearner()
		l.names = newTable(names.Limits{Addresses: 5, Names: 3, Bytes: 2000, Changes: 100})
		var m dns.Message
		m.Parse(data, len(data), dns.DNS)
		there := tuple(client, resolver)
		l.queries.Ask(there, &m, 0, start) // the query that it would be an answer to
		l.packet(there.Reversed(), data, start)
		if l.names.Len() > 5 || l.names.Len() > 1 && l.names.Bytes() > 2000 {
			t.Fatalf("%d addresses, %d bytes", l.names.Len(), l.names.Bytes())
		}
		l.names.Expire(start.Add(names.MaxLife + time.Second))
		if l.names.Len() != 0 || l.names.Bytes() != 0 {
			t.Fatalf("%d addresses, %d bytes are for ever", l.names.Len(), l.names.Bytes())
		}
	})
}

func TestNothingAllocated(t *testing.T) {
	l := newLearner()
	there := tuple(client, resolver)
	query := build(t, 7, "www.example.com.", false, false)
	answer := build(t, 7, "www.example.com.", true, false, "www.example.com.", "www.example.com.")
	addr := netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() {
		l.packet(there, query, start)
		l.packet(there.Reversed(), answer, start)
		if len(l.names.Lookup(addr, start)) != 1 {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func Example() {
	table := names.NewTable(names.Limits{})
	table.SetResolvers([]netip.AddrPort{resolver})
	now := time.Now()

	asked := names.Key{Tuple: tuple(client, resolver), ID: 7, Type: 1, Name: []byte("www.example.com")}
	answered := asked
	var a names.Answer
	a.Alias([]byte("www.example.com"), []byte("edge.example.net"), 300)
	a.Address([]byte("edge.example.net"), 1, netip.MustParseAddr("192.0.2.1"), 60)
	table.Learn(&asked, &answered, &a, now)

	fmt.Println(table.Lookup(netip.MustParseAddr("192.0.2.1"), now))
	// Output: [edge.example.net www.example.com]
}
