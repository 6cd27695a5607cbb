package inspector

import (
	"net/netip"
	"time"

	"github.com/weirnet/weir/internal/inspect/dns"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
)

// learner turns answers of DNS into what the table of names takes. Its storage is
// used again.
type learner struct {
	answer          names.Answer
	asked, answered []byte
	owner, target   []byte
	hints           []netip.Addr
}

// learn notes an answer, whose packet has the tuple, to a query that was seen.
func (l *learner) learn(table *names.Table, tuple packet.Tuple, query *dns.Exchange, m *dns.Message, now time.Time) {
	l.asked = query.Name().AppendFolded(l.asked[:0])
	q := &m.Questions[0]
	l.answered = q.Name.AppendFolded(l.answered[:0])
	asked := names.Key{Tuple: query.Tuple, ID: query.ID, Type: query.Type, Name: l.asked}
	answered := names.Key{Tuple: tuple.Reversed(), ID: m.ID, Type: q.Type, Name: l.answered}
	l.answer.Reset()
	l.answer.RCode = m.RCode
	for i := range m.Answers {
		l.record(&m.Answers[i])
	}
	table.Learn(&asked, &answered, &l.answer, now)
}

func (l *learner) record(r *dns.Record) {
	if addr, ok := r.Addr(); ok {
		l.owner = r.Name.AppendFolded(l.owner[:0])
		l.answer.Address(l.owner, r.Type, addr, r.TTL)
		return
	}
	switch r.Type {
	case dns.TypeCNAME, dns.TypeHTTPS, dns.TypeSVCB:
	default:
		return
	}
	target, ok := r.Target()
	if !ok {
		return
	}
	l.owner, l.target = r.Name.AppendFolded(l.owner[:0]), target.AppendFolded(l.target[:0])
	if r.Type == dns.TypeCNAME {
		l.answer.Alias(l.owner, l.target, r.TTL)
		return
	}
	l.hints = r.AppendHints(l.hints[:0])
	for _, addr := range l.hints {
		l.answer.Hint(l.owner, l.target, r.Type, addr, r.TTL)
	}
}
