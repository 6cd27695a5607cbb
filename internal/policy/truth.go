package policy

import "math/bits"

// truth is the set of outcomes that a criterion, or a rule, can still have. A
// criterion over known facts has one outcome; one over an unknown fact has all
// three, since the fact may turn out either way or never come.
type truth struct {
	can outcomes
	// causes are those that a lost outcome can have; none without isLost.
	causes causes
	// wants are the unknown facts that decide between the outcomes.
	wants FactSet
}

// outcomes are as bits.
type outcomes uint8

const (
	isTrue  outcomes = 1 << iota
	isFalse          // a known fact differs, or it is absent
	isLost           // unobtainable
)

// causes are a set of Cause as bits.
type causes uint8

const anyCause causes = 1<<Malformed | 1<<Limit | 1<<Overload | 1<<AgentDown | 1<<NotSeen

// only is the one cause of the set, 0 if there are several.
func (c causes) only() Cause {
	if c == 0 || c&(c-1) != 0 {
		return 0
	}
	return Cause(bits.TrailingZeros8(uint8(c)))
}

var (
	yes = truth{can: isTrue}
	no  = truth{can: isFalse}
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// open is a criterion over an unknown fact.
func open(want FactSet) truth {
	return truth{can: isTrue | isFalse | isLost, causes: anyCause, wants: want}
}

// lost is a criterion over an unobtainable fact.
func lost(cause Cause) truth { return truth{can: isLost, causes: 1 << cause} }

// and is true if both are, false if either is, and otherwise lost.
func (t truth) and(o truth) truth { return t.combine(o, isFalse, isTrue) }

// or is true if either is, false if both are, and otherwise lost.
func (t truth) or(o truth) truth { return t.combine(o, isTrue, isFalse) }

// combine joins two criteria, of which the strong outcome of either settles
// both, and the weak one needs both.
func (t truth) combine(o truth, strong, weak outcomes) truth {
	if t.can == strong || o.can == strong {
		return truth{can: strong}
	}
	r := truth{wants: t.wants | o.wants}
	r.can = (t.can|o.can)&strong | t.can&o.can&weak
	if o.can&weak != 0 {
		r.causes |= t.causes
	}
	if t.can&weak != 0 {
		r.causes |= o.causes
	}
	if t.causes != 0 && o.causes != 0 {
		r.causes |= lowest(t.causes, o.causes)
	}
	if r.causes != 0 {
		r.can |= isLost
	}
	return r
}

// lowest are the causes that can be the lower of one from each set: those up to
// the highest of the other set.
func lowest(a, b causes) causes {
	upTo := func(c causes) causes { return 1<<bits.Len8(uint8(c)) - 1 }
	return a&upTo(b) | b&upTo(a)
}

// ask makes a criterion of a fact: test answers for a known value.
func ask[T any](f Fact[T], want FactSet, test func(T) bool) truth {
	switch f.State {
	case Known:
		return truthOf(test(f.Value))
	case Absent:
		return no
	case Unobtainable:
		return lost(f.Cause)
	}
	return open(want)
}

// askOf is ask for a fact of a protocol: where it cannot be known any more whether
// the connection speaks it, its facts will not come either.
func askOf[T any](speaks truth, f Fact[T], want FactSet, test func(T) bool) truth {
	if f.State == Unknown && speaks.can == isLost {
		return speaks
	}
	return ask(f, want, test)
}
