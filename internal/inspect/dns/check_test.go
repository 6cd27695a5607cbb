package dns_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weirnet/weir/internal/inspect/dns"
)

// checkMessage holds what is true of every message, however wrong.
func checkMessage(t testing.TB, data []byte, m *dns.Message) {
	t.Helper()
	if len(m.Questions) > dns.MaxQuestions || len(m.Answers) > dns.MaxAnswers {
		t.Fatalf("%d questions, %d answers", len(m.Questions), len(m.Answers))
	}
	for _, q := range m.Questions {
		if n := len(q.Name.String()); n > 4*255 {
			t.Fatalf("a name of %d characters", n)
		}
		if !q.Name.Equal(q.Name) {
			t.Fatalf("%v is not itself", q.Name)
		}
	}
	for i := range m.Answers {
		r := &m.Answers[i]
		if n := len(r.AppendText(nil)); n > 4*dns.MaxText {
			t.Fatalf("an answer of %d characters: %d bytes of type %d", n, len(r.Data()), r.Type)
		}
		r.AppendHints(nil)
		r.Target()
		r.Addr()
	}
	if m.Problem == dns.None && m.Trailing < 0 {
		t.Fatalf("%d bytes behind the message", m.Trailing)
	}
	m.Facts(0)
}

// checkOracle compares with the parser of golang.org/x/net. It takes pointers
// forward and into the header, and opens records that we do not; what it refuses we
// may take, since it opens all of a message. Where both read a message they have to
// agree.
func checkOracle(t testing.TB, data []byte, m *dns.Message) {
	t.Helper()
	var p dnsmessage.Parser
	header, err := p.Start(data)
	if err != nil {
		if m.Problem == dns.None {
			t.Fatalf("no problem, but %v", err)
		}
		return
	}
	if header.ID != m.ID || uint8(header.OpCode) != m.Opcode || header.Response != m.IsAnswer() ||
		header.Truncated != m.Truncated() || header.Authoritative != m.Authoritative() ||
		header.RecursionDesired != m.RecursionDesired() || header.RecursionAvailable != m.RecursionAvailable() ||
		header.AuthenticData != m.Authentic() || header.CheckingDisabled != m.CheckingDisabled() ||
		uint16(header.RCode) != m.RCode&0xf {
		t.Fatalf("%+v is not %+v", header, m)
	}
	for i := range m.Questions {
		q, err := p.Question()
		if err != nil && strings.Contains(err.Error(), "invalid dns name") {
			return // it takes no dots inside labels
		}
		if err != nil {
			t.Fatalf("question %d: %v", i, err)
		}
		if plain(q.Name) != readable(m.Questions[i].Name.String()) || uint16(q.Type) != m.Questions[i].Type || uint16(q.Class) != m.Questions[i].Class {
			t.Fatalf("question %d is %+v, not %v", i, q, m.Questions[i].Name)
		}
	}
	if m.Problem != dns.None && len(m.Answers) == 0 || m.Counts[0] != len(m.Questions) {
		return
	}
	if err := p.SkipAllQuestions(); err != nil {
		t.Fatal(err)
	}
	for i := range m.Answers {
		h, err := p.AnswerHeader()
		if err != nil && strings.Contains(err.Error(), "invalid dns name") {
			return
		}
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		r := &m.Answers[i]
		if plain(h.Name) != readable(r.Name.String()) || uint16(h.Type) != r.Type || uint16(h.Class) != r.Class ||
			int(h.Length) != len(r.Data()) || h.TTL != r.TTL && r.TTL != 0 {
			t.Fatalf("answer %d is %+v, not %v", i, h, r)
		}
		checkData(t, &p, h, r)
	}
}

// checkData compares the data of one answer, and passes it.
func checkData(t testing.TB, p *dnsmessage.Parser, h dnsmessage.ResourceHeader, r *dns.Record) {
	t.Helper()
	ours := string(r.AppendText(nil))
	var theirs string
	var err error
	switch h.Type {
	case dnsmessage.TypeCNAME:
		var b dnsmessage.CNAMEResource
		b, err = p.CNAMEResource()
		theirs = plain(b.CNAME)
	case dnsmessage.TypeMX:
		var b dnsmessage.MXResource
		b, err = p.MXResource()
		theirs = fmt.Sprint(b.Pref, " ", plain(b.MX))
	case dnsmessage.TypeSRV:
		var b dnsmessage.SRVResource
		b, err = p.SRVResource()
		theirs = fmt.Sprint(b.Priority, " ", b.Weight, " ", b.Port, " ", plain(b.Target))
	case dnsmessage.TypeSOA:
		var b dnsmessage.SOAResource
		b, err = p.SOAResource()
		theirs = fmt.Sprint(plain(b.NS), " ", plain(b.MBox), " ", b.Serial, " ", b.Refresh, " ", b.Retry, " ", b.Expire, " ", b.MinTTL)
	default:
		err = fmt.Errorf("not compared")
	}
	if err != nil {
		if err := p.SkipAnswer(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !strings.HasPrefix(ours, `\# `) && readable(ours) != theirs {
		t.Fatalf("%v is %q, not %q", h.Type, theirs, ours)
	}
}

// plain is the oracle's name in our way: it does not escape, and ends with a dot.
func plain(n dnsmessage.Name) string {
	if s := n.String(); s != "." {
		return strings.TrimSuffix(s, ".")
	}
	return "."
}

// readable undoes our escapes.
func readable(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			b = append(b, s[i])
		case i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '2':
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}

// stream is a message with its length before it.
func stream(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}
