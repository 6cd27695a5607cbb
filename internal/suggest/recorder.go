package suggest

// maxOpen is how many connections wait for their name. When one more comes, all of
// them go by their addresses.
const maxOpen = 1 << 20

// Recorder puts the records of a connection together: what it said comes after its
// start. The zero ID is that of no connection.
type Recorder struct {
	To   *Suggestion
	open map[uint64]*opened
}

type opened struct {
	seen Seen
	// named: it said a name. plain: something in it had none, so that names alone
	// would not allow all of it.
	named, plain bool
}

// Connection takes in a record about a connection, of which ends says that it is
// the last.
func (r *Recorder) Connection(id uint64, s Seen, ends bool) {
	if r.open == nil {
		r.open = map[uint64]*opened{}
	}
	o := r.open[id]
	if o == nil {
		if id == 0 {
			r.To.Add(s)
			return
		}
		if len(r.open) == maxOpen {
			r.Flush()
		}
		o = &opened{seen: s}
		r.open[id] = o
	}
	if s.Last.After(o.seen.Last) {
		o.seen.Last = s.Last
	}
	if ends {
		r.close(id, o)
	}
}

// Named takes in what a connection said it is for, as Name; without one, it was a
// request or a handshake that has none.
func (r *Recorder) Named(id uint64, s Seen) {
	o := r.open[id]
	if usableName(s.Name) == "" {
		if o == nil {
			r.Connection(id, s, false)
		} else {
			o.plain = true
		}
		return
	}
	if o != nil {
		if s.First = o.seen.First; o.named {
			s.Count = 0 // it is counted, under another name
		}
		o.named = true
	}
	r.To.Add(s)
}

// Forget leaves a connection out.
func (r *Recorder) Forget(id uint64) { delete(r.open, id) }

func (r *Recorder) close(id uint64, o *opened) {
	delete(r.open, id)
	if o.named && !o.plain {
		return
	}
	if o.named {
		o.seen.Count = 0 // it is counted, under its name
	}
	r.To.Add(o.seen)
}

// Flush takes those in that have not ended.
func (r *Recorder) Flush() {
	for id, o := range r.open {
		r.close(id, o)
	}
}
