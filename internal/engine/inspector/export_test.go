package inspector

// Held is what an inspector holds: connections, queries that wait with what is kept of
// them, and bytes of streams.
func (i *Inspector) Held() (connections, queries, asked, bytes int) {
	if len(i.byID) != len(i.byStream) || i.budget.Connections() != len(i.byID) {
		panic("the tables of connections differ")
	}
	return len(i.byID), i.queries.Len(), len(i.asked), i.budget.Used()
}
