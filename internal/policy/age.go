package policy

import "time"

// NextAge is the age after which the walk on these facts may come to another
// answer by nothing but time: the least that a rule asks for which stands before
// the one that decides, and which lacks nothing else. 0: there is none.
func (p *Policy) NextAge(f *Facts) (next time.Duration) {
	for i, on := range p.Safeguards.on() {
		if on && safeguardRules[i].match(f).can == isTrue {
			return 0
		}
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		for _, t := range r.Transports {
			if t.Over >= max(f.Age, 1) && (next == 0 || t.Over < next) && r.matchAt(f, t) {
				next = t.Over
			}
		}
		if !r.Shadow && r.match(f).can == isTrue {
			break
		}
	}
	return next
}

// matchAt says whether one transport of the rule matches once the connection is
// old enough.
func (r *Rule) matchAt(f *Facts, t Transport) bool {
	of, older := *r, *f
	of.Transports, older.Age = []Transport{t}, t.Over+1
	return !r.Never && of.matchPacket(&older)
}
