package policy

// waiting are rules that stay undecided, and may be passed over, as long as a fact is
// unknown: all that such a rule can do is to add its action to those that are possible.
type waiting struct {
	// application are those that ask for a protocol, or for domains; name those that ask
	// for domains; the others ask for a fact of the only protocol that they name.
	application, name, host, path, serverName, question row
	of                                                  [Block + 1]row // by their action
	scratch                                             row
}

func (w *waiting) init(rules int) {
	for _, r := range []*row{
		&w.application, &w.name, &w.host, &w.path, &w.serverName, &w.question, &w.of[Allow], &w.of[Block], &w.scratch,
	} {
		*r = newRow(rules)
	}
}

func (w *waiting) add(i int, r *Rule) {
	l := r.Layer7
	// A shadow rule is to be seen, whatever it says.
	if l == nil || r.Shadow || l.alternatives() == 0 && l.Domains == nil {
		return
	}
	w.of[r.Action].set(i)
	w.application.set(i)
	if l.Domains != nil {
		w.name.set(i)
	}
	if l.alternatives() != 1 {
		return
	}
	for _, of := range []struct {
		row  row
		asks bool
	}{
		{w.host, l.HTTP != nil && l.HTTP.Hosts != nil},
		{w.path, l.HTTP != nil && l.HTTP.Paths != nil},
		{w.serverName, l.TLS != nil && l.TLS.ServerNames != nil},
		{w.question, l.DNS != nil && l.DNS.Names != nil},
	} {
		if of.asks {
			of.row.set(i)
		}
	}
}

// drop takes out of the rules that are left, from a word on, those that can make no
// difference any more to a walk that has met an undecided rule.
func (w *waiting) drop(left row, from int, at *walk) {
	f := at.facts
	if at.answer.Wanted == 0 {
		return // the next that is undecided says what is wanted
	}
	action := Allow
	if at.undecided == one(Block) {
		if action = Block; mayAllow(&at.policy.OnError, f) {
			return // block rules may give rise to either
		}
	}
	clear(w.scratch)
	switch f.Application.State {
	case Unknown:
		if f.Protocol == protocolTCP || f.Protocol == protocolUDP {
			w.scratch.or(w.application)
		}
	case Known:
		for _, fact := range []struct {
			state State
			row   row
		}{
			{f.HTTP.Host.State, w.host},
			{f.HTTP.Path.State, w.path},
			{f.TLS.ServerName.State, w.serverName},
			{f.DNS.Name.State, w.question},
		} {
			if fact.state == Unknown {
				w.scratch.or(fact.row)
			}
		}
		if name, _, says := f.saidName(); says.can == isTrue && name.State == Unknown {
			w.scratch.or(w.name)
		}
	}
	of := w.of[action]
	for i := from; i < len(left); i++ {
		left[i] &^= w.scratch[i] & of[i]
	}
}

// mayAllow says whether what cannot be had may be answered by allow.
func mayAllow(e *OnError, f *Facts) bool {
	if f.Kept && e.Keep {
		return true
	}
	for cause := Malformed; cause <= NotSeen; cause++ {
		if e.For(cause) != Block {
			return true
		}
	}
	return false
}
