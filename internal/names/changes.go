package names

// Generation is the number of changes ever made.
func (t *Table) Generation() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.generation
}

// Changes appends what has changed since a generation, in order; applied to what
// Each told then it makes what Each tells now. False: too much has changed since
// for all of it to be remembered, and whoever asks has to begin anew with Each.
func (t *Table) Changes(since uint64, to []Change) (changes []Change, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since > t.generation || t.generation-since > uint64(len(t.changes)) {
		return to, false
	}
	for ; since < t.generation; since++ {
		to = append(to, t.changes[since%uint64(t.limits.Changes)])
	}
	return to, true
}

func (t *Table) changed(c Change) {
	if len(t.changes) < t.limits.Changes {
		t.changes = append(t.changes, c)
	} else {
		t.changes[t.generation%uint64(t.limits.Changes)] = c
	}
	t.generation++
}
