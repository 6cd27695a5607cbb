package audit

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// foldKey is what connections that are counted together have in common.
type foldKey struct {
	// kind is ConnectionStart or ConnectionVerdict, or that of an exchange.
	kind      telemetry.Kind
	tuple     packet.Tuple
	direction packet.Direction
	iface     string
	ipv6      bool
	judgement telemetry.Judgement
}

// fold is how many they are, and from when to when. record is that of the first,
// which is told as it is where it stays the only one.
type fold struct {
	record     telemetry.Connection
	records    int
	count      uint64
	begin, end time.Time
}

// foldLimits is how many counts there may be at each level of detail, and so about
// how many lines of counts each second has: source and destination; destination;
// neither. Beyond the last one all that have the verdict in common share a count.
var foldLimits = [...]int{64, 64, 64}

// folds counts connections together, within bounds and without losing one.
type folds struct {
	levels [len(foldLimits) + 1]map[foldKey]*fold
}

// add adds a record that stands for n connections at the finest level that has it
// already or has room.
func (f *folds) add(r *telemetry.Connection, n uint64) {
	key := foldKey{
		kind: r.Kind, tuple: r.Tuple, direction: r.Direction, iface: r.Interface, judgement: r.Judgement,
		ipv6: r.IPv6 || r.Tuple.Destination.Is6(),
	}
	key.tuple.SourcePort, key.tuple.ICMPID = 0, 0
	for level := range f.levels {
		key.coarsen(level)
		one := f.levels[level][key]
		if one == nil {
			if level < len(foldLimits) && len(f.levels[level]) >= foldLimits[level] {
				continue
			}
			if f.levels[level] == nil {
				f.levels[level] = map[foldKey]*fold{}
			}
			one = &fold{record: *r}
			f.levels[level][key] = one
		}
		one.add(r, n)
		return
	}
}

// coarsen takes away what the connections of a level need not have in common.
func (k *foldKey) coarsen(level int) {
	switch level {
	case 1:
		k.tuple.Source = packet.Tuple{}.Source
	case 2:
		k.tuple = packet.Tuple{Protocol: k.tuple.Protocol, Zone: k.tuple.Zone}
	case 3:
		j := k.judgement
		*k = foldKey{kind: k.kind, judgement: telemetry.Judgement{Verdict: j.Verdict, Action: j.Action, Prevent: j.Prevent}}
	}
}

func (f *fold) add(r *telemetry.Connection, n uint64) {
	// FirstSeen and LastSeen of one connection are not about its judgement.
	begin, end := r.Time, r.Time
	if n > 1 {
		begin, end = r.FirstSeen, r.LastSeen
	}
	if f.records == 0 || begin.Before(f.begin) {
		f.begin = begin
	}
	if f.records == 0 || end.After(f.end) {
		f.end = end
	}
	f.records++
	f.count += n
}

// appendTo appends the counts as lines, oldest first, and begins anew.
func (f *folds) appendTo(lines []line) []line {
	before := len(lines)
	for level := range f.levels {
		for key, one := range f.levels[level] {
			l := line{text: one.text(&key, level), connections: one.count}
			if exchangeWords[key.kind] != "" {
				l.connections, l.exchanges = 0, one.count
			}
			lines = append(lines, l)
		}
		f.levels[level] = nil
	}
	slices.SortFunc(lines[before:], func(a, b line) int { return bytes.Compare(a.text, b.text) })
	return lines
}

func (f *fold) text(key *foldKey, level int) []byte {
	r := f.record
	if f.records > 1 {
		r.Time, r.FirstSeen, r.LastSeen, r.Count = f.end, f.begin, f.end, f.count
		r.Tuple, r.Direction, r.Interface = key.tuple, key.direction, key.iface
		r.Judgement, r.IPv6 = key.judgement, key.ipv6
	}
	switch {
	case level == len(foldLimits) && f.records > 1:
		return restLine(&r)
	case exchangeWords[r.Kind] != "":
		return exchangeLine(&r, "")
	}
	return appendLine(nil, r.Time, r.Line())
}

// restLine is the line of a count that has nothing but the verdict in common.
func restLine(r *telemetry.Connection) []byte {
	word, text := r.Judgement.Verdict.String(), "by many rules"
	if exchange := exchangeWords[r.Kind]; exchange != "" {
		word, text = exchange, word+" "+text
	}
	if r.Judgement.Verdict != telemetry.Blocked {
		text = "would block " + text
	}
	return noteLine(r.Time, word, text+" ×"+strconv.FormatUint(r.Count, 10)+" in "+r.Duration().String())
}
