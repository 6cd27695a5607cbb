package dns

import "github.com/weirnet/weir/internal/policy"

// Judged is the number of questions that are judged one by one: as many as there
// are of mDNS, else one, since servers refuse several (RFC 9619). A message
// without a question has one judgement, too.
func (m *Message) Judged() int {
	if m.Protocol == MDNS {
		return max(1, m.Counts[0])
	}
	return 1
}

// Facts are those of question i, for rules. A message whose questions cannot be
// read, or has several where servers take one, is malformed: who knows which of
// them a tolerant server answers. What is wrong behind the questions does not
// matter here.
func (m *Message) Facts(i int) policy.DNSFacts {
	cause := m.cause()
	switch {
	case m.hasHead && m.Counts[0] == 0:
		// A cookie is all that it is about (RFC 7873 section 5.4), or a session (RFC
		// 8490).
		return policy.DNSFacts{Name: policy.Missing[string](), Type: policy.Missing[uint16]()}
	case m.hasHead && m.Counts[0] > 1 && m.Protocol != MDNS:
		cause = policy.Malformed
	case m.hasHead && i < len(m.Questions):
		q := &m.Questions[i]
		return policy.DNSFacts{Name: policy.Is(q.Name.String()), Type: policy.Is(q.Type)}
	case m.hasHead && i < m.asked:
		cause = policy.Limit
	}
	return policy.DNSFacts{Name: policy.Lost[string](cause), Type: policy.Lost[uint16](cause)}
}

// cause is why something cannot be had of a message.
func (m *Message) cause() policy.Cause {
	switch m.Problem {
	case Cut:
		return policy.Limit
	case Unseen:
		return policy.NotSeen
	}
	return policy.Malformed
}
