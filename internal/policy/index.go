package policy

import "math/bits"

// Index answers as a policy does, with a look at those rules only that may be true of
// the facts: what a rule asks for by name, path, port or address is looked up. The
// policy's own Walk is what it must agree with. It is not for concurrent use.
type Index struct {
	policy       *Policy
	sources      addressKeys
	destinations addressKeys
	transports   keyed[portKey]
	names        nameKeys // of destination_names
	domains      nameKeys
	hosts        nameKeys
	serverNames  nameKeys
	questions    nameKeys
	paths        pathKeys
	directions   [3]row
	// applications are the rules that ask for protocols, by the bit of each, and last
	// those that ask for none.
	applications [9]row
	waiting      waiting
	candidates   row // of the walk at hand
	left         row // of those, which are still to be tried
	scratch      row
}

// row is a set of rules, by their places in Policy.Rules.
type row []uint64

func newRow(rules int) row { return make(row, (rules+63)/64) }

func (r row) set(i int) { r[i/64] |= 1 << (i % 64) }

func (r row) and(o row) {
	for i := range r {
		r[i] &= o[i]
	}
}

func (r row) or(o row) {
	for i := range r {
		r[i] |= o[i]
	}
}

// worthwhile is the number of rules from which on an index is quicker than a walk.
const worthwhile = 16

// NewIndex makes an index of a policy.
func NewIndex(p *Policy) *Index {
	if len(p.Rules) < worthwhile {
		return &Index{policy: p}
	}
	return newIndex(p)
}

func newIndex(p *Policy) *Index {
	n := len(p.Rules)
	x := &Index{policy: p, candidates: newRow(n), left: newRow(n), scratch: newRow(n)}
	for i := range x.directions {
		x.directions[i] = newRow(n)
	}
	for i := range x.applications {
		x.applications[i] = newRow(n)
	}
	x.waiting.init(n)
	criteria := []interface {
		init(rules int)
		finish()
	}{&x.sources, &x.destinations, &x.transports, &x.names, &x.domains, &x.hosts, &x.serverNames, &x.questions, &x.paths}
	for _, k := range criteria {
		k.init(n)
	}
	for i := range p.Rules {
		x.add(i, &p.Rules[i])
	}
	for _, k := range criteria {
		k.finish()
	}
	return x
}

func (x *Index) add(i int, r *Rule) {
	if r.Never {
		return // it is in no direction
	}
	for d := range x.directions {
		if r.Direction&(1<<d) != 0 {
			x.directions[d].set(i)
		}
	}
	x.sources.addSet(i, &r.Source)
	x.destinations.addSet(i, &r.Destination)
	x.transports.add(i, portKeys(r.Transports))
	x.names.addSet(i, r.DestinationNames)
	x.addLayer7(i, r.Layer7)
	x.waiting.add(i, r)
}

// addLayer7 takes names and paths of rules that cannot be true without them: those of
// one of several alternatives tell nothing.
func (x *Index) addLayer7(i int, l *Layer7) {
	var only Layer7
	if l.alternatives() == 1 {
		only = *l
	}
	var domains, hosts, serverNames, questions *NameSet
	var paths *PathSet
	if only.HTTP != nil {
		hosts, paths = only.HTTP.Hosts, only.HTTP.Paths
	}
	if only.TLS != nil {
		serverNames = only.TLS.ServerNames
	}
	if only.DNS != nil {
		questions = only.DNS.Names
	}
	if l != nil {
		domains = l.Domains
	}
	x.domains.addSet(i, domains)
	x.hosts.addSet(i, hosts)
	x.serverNames.addSet(i, serverNames)
	x.questions.addSet(i, questions)
	x.paths.addSet(i, paths)
	apps := l.applications()
	for bit := range len(x.applications) - 1 {
		if apps&(1<<bit) != 0 {
			x.applications[bit].set(i)
		}
	}
	if apps == 0 {
		x.applications[len(x.applications)-1].set(i)
	}
}

// alternatives is how many protocols are named, one of which it must be.
func (l *Layer7) alternatives() (n int) {
	if l == nil {
		return 0
	}
	for _, named := range []bool{l.HTTP != nil, l.TLS != nil, l.DNS != nil, l.SSH != nil} {
		if named {
			n++
		}
	}
	return n
}

// applications are the protocols of the alternatives.
func (l *Layer7) applications() (apps Application) {
	if l == nil {
		return 0
	}
	if l.HTTP != nil {
		apps |= AppHTTP
	}
	if l.TLS != nil {
		apps |= AppTLS | AppQUIC
	}
	if l.DNS != nil {
		apps |= AppDNS
	}
	if l.SSH != nil {
		apps |= AppSSH
	}
	return apps
}

// Walk judges the facts as Policy.Walk does.
func (x *Index) Walk(f *Facts) Decision {
	p := x.policy
	if x.candidates == nil || p.Empty() {
		return p.Walk(f)
	}
	x.narrow(f)
	return p.walkTwice(f, x)
}

// narrow finds the rules that may be true.
func (x *Index) narrow(f *Facts) {
	clear(x.candidates)
	for d := range x.directions {
		if f.Direction&(1<<d) != 0 {
			x.candidates.or(x.directions[d])
		}
	}
	x.transports.narrow(x, func() {
		x.transports.mark(x.scratch, portKey{f.Protocol, f.DestinationPort, false})
		x.transports.mark(x.scratch, portKey{protocol: f.Protocol, any: true})
	})
	x.sources.narrowTo(x, f.Source)
	x.destinations.narrowTo(x, f.Destination)
	x.names.narrowTo(x, f.Names...)
	if s := f.Application.State; s == Known || s == Absent {
		x.narrowApplication(f.Application.Value)
	}
	switch name, _, says := f.saidName(); {
	case says.can == isFalse:
		x.domains.narrowTo(x, f.Names...)
	case says.can == isTrue && name.State == Known:
		x.domains.narrowTo(x, name.Value)
	}
	if f.HTTP.Host.State == Known {
		x.hosts.narrowTo(x, f.HTTP.Host.Value)
	}
	if f.HTTP.Path.State == Known {
		x.paths.narrowTo(x, f.HTTP.Path.Value)
	}
	if f.TLS.ServerName.State == Known {
		x.serverNames.narrowTo(x, f.TLS.ServerName.Value)
	}
	if f.DNS.Name.State == Known {
		x.questions.narrowTo(x, f.DNS.Name.Value)
	}
}

func (x *Index) narrowApplication(a Application) {
	copy(x.scratch, x.applications[len(x.applications)-1])
	for ; a != 0; a &= a - 1 {
		x.scratch.or(x.applications[bits.TrailingZeros8(uint8(a))])
	}
	x.candidates.and(x.scratch)
}

// run tries what was found, and says whether the walk ends there. first is the index of
// the policy's first rule.
func (x *Index) run(w *walk, first int) (ended bool) {
	x.left = append(x.left[:0], x.candidates...)
	for at := range x.left {
		for x.left[at] != 0 {
			bit := bits.TrailingZeros64(x.left[at])
			x.left[at] &^= 1 << bit
			before := w.undecided
			i := at*64 + bit
			if w.step(&x.policy.Rules[i], first+i) {
				return true
			}
			if w.undecided != before {
				x.waiting.drop(x.left, at, w)
			}
		}
	}
	return false
}
