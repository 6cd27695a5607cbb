package classifier

// member is a set of values that some entries name: of addresses, or of ports.
type member struct {
	bits  []uint32 // of the entries in the rows
	items []Item   // of those in lists
	id    identity // of the bits
	list  identity // of the items

	include, exclude int // ranges that have the current value
	active           int // its place in sweep.active, from 1; 0: it has not the current value
}

func (m *member) addBit(s *rowStore, bit uint32) {
	m.bits = append(m.bits, bit)
	m.id.toggle(s.bits[bit])
}

func (m *member) addItems(items []Item) {
	m.items = append(m.items, items...)
	m.list.toggle(newIdentity())
}

// sweep goes over the values from the lowest to the highest and knows which
// members have the current one.
type sweep struct {
	rows   *rowStore
	always *member // of the entries that name no value
	active []*member
	row    identity
	list   identity
}

func newSweep(rows *rowStore, always *member) *sweep {
	return &sweep{rows: rows, always: always, row: always.id}
}

// change notes that a range of m begins or ends.
func (s *sweep) change(m *member, include, exclude int) {
	m.include += include
	m.exclude += exclude
	has := m.include > 0 && m.exclude == 0
	if has == (m.active > 0) {
		return
	}
	s.row.toggle(m.id)
	s.list.toggle(m.list)
	if has {
		s.active = append(s.active, m)
		m.active = len(s.active)
		return
	}
	last := len(s.active) - 1
	s.active[m.active-1] = s.active[last]
	s.active[m.active-1].active = m.active
	s.active = s.active[:last]
	m.active = 0
}

// currentRow is the row of the current value.
func (s *sweep) currentRow() (uint32, error) {
	return s.rows.add(s.row, func(row []uint64) {
		for _, bit := range s.always.bits {
			setBit(row, bit)
		}
		for _, m := range s.active {
			for _, bit := range m.bits {
				setBit(row, bit)
			}
		}
	})
}
