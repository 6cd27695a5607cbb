package connectionpolicyextension

import "time"

// maxSettle is how long a changed file has to stay the same before it is taken
// up. A file that is rewritten in place can be valid halfway through, with the
// last rules missing, so one look is not enough.
const maxSettle = 500 * time.Millisecond

// watcher finds out when the content of the policy or its lists has changed. It
// compares content: an editor that renames, a ConfigMap that switches links and
// a write in place look the same to it.
type watcher struct {
	reader   *reader
	interval time.Duration
	// handled is what was seen of the content that was last taken up or refused.
	handled fingerprint
	// pending was read but may be half of what is being written.
	pending *candidate
	// next is when to look again.
	next time.Time
}

// poll looks if it is time to and returns what has changed and is complete.
func (w *watcher) poll(now time.Time) *candidate {
	if now.Before(w.next) {
		return nil
	}
	w.next = now.Add(w.interval)
	if w.pending != nil && w.reader.unchanged(w.pending.seen) {
		c := w.pending
		w.pending, w.handled = nil, c.seen
		return c
	}
	w.pending = nil
	if w.reader.unchanged(w.handled) {
		return nil
	}
	if c := w.reader.load(); !c.seen.equal(w.handled) {
		w.pending = c
		w.next = now.Add(min(w.interval, maxSettle))
	}
	return nil
}
