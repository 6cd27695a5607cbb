package audit

import (
	"time"

	"github.com/weirnet/weir/internal/telemetry"
)

// budget is how many lines of their own connections may still have in this second.
type budget struct {
	limit, used int
	second      int64
}

func (b *budget) take(now time.Time) bool {
	if s := now.Unix(); s != b.second {
		b.second, b.used = s, 0
	}
	if b.used >= b.limit {
		return false
	}
	b.used++
	return true
}

// Connections takes records and notes the connections that were blocked, or would
// be if the policy were enforced: each when it is judged, and not again when it
// ends. It keeps nothing of the slice.
func (l *Log) Connections(records []telemetry.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, any := time.Now(), false
	for i := range records {
		r := &records[i]
		if !isDenied(&r.Judgement) || r.Kind != telemetry.ConnectionStart && r.Kind != telemetry.ConnectionVerdict {
			continue
		}
		if l.isClosed(line{connections: max(r.Count, 1)}) {
			continue
		}
		any = true
		if cause := l.crowded(now, r.Count); cause != "" {
			l.fold(r, cause)
			continue
		}
		l.add(appendLine(nil, r.Time, r.Line()), line{connections: max(r.Count, 1)})
	}
	if any {
		l.wakeWriter()
	}
}

// Exchanges takes records and notes the requests, queries and handshakes that were
// blocked, or would be. It keeps nothing of the slice.
func (l *Log) Exchanges(records []telemetry.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, any := time.Now(), false
	for i := range records {
		x := &records[i]
		if !isDenied(&x.Judgement) {
			continue
		}
		if l.isClosed(line{exchanges: 1}) {
			continue
		}
		any = true
		c := connectionOf(x)
		if cause := l.crowded(now, 1); cause != "" {
			l.fold(&c, cause)
			continue
		}
		l.add(exchangeLine(&c, exchangeText(x)), line{exchanges: 1})
	}
	if any {
		l.wakeWriter()
	}
}

// isDenied says whether the judgement is to block, enforced or not.
func isDenied(j *telemetry.Judgement) bool {
	return j.Verdict == telemetry.Blocked || j.Action == telemetry.Block
}

// isClosed counts what comes after the end.
func (l *Log) isClosed(of line) bool {
	if l.closed {
		l.counts.Lost["shutdown"]++
		l.counts.LostConnections += of.connections
		l.counts.LostExchanges += of.exchanges
	}
	return l.closed
}

// crowded says why a record cannot have a line of its own now; empty: it can. Those
// that stand for many do not wait behind those that stand for one.
func (l *Log) crowded(now time.Time, count uint64) string {
	budget := &l.single
	if count > 1 {
		budget = &l.counted
	}
	switch {
	case len(l.waiting)-l.waitingNotes >= maxWaiting:
		return "behind"
	case !budget.take(now):
		return "rate"
	}
	return ""
}

func (l *Log) fold(r *telemetry.Connection, cause string) {
	n := max(r.Count, 1)
	l.counts.Folded[cause] += n
	if exchangeWords[r.Kind] == "" {
		l.tally.told += n
	}
	l.folds.add(r, n)
}

// add appends a line to those that wait.
func (l *Log) add(text []byte, of line) {
	l.tally.told += of.connections
	of.text = text
	if of.connections+of.exchanges == 0 {
		if l.waitingNotes >= maxWaitingNotes {
			l.counts.Lost["behind"]++
			return
		}
		l.waitingNotes++
	}
	l.waiting = append(l.waiting, of)
}

// Note writes a line that is not about a connection. Its word says what it is
// about; the text may have anything in it.
func (l *Log) Note(at time.Time, word, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed(line{}) {
		return
	}
	l.add(noteLine(at, word, text), line{})
	l.wakeWriter()
}

// PolicyChange notes what happened to the policy; difference says what is other
// than before, and may be empty.
func (l *Log) PolicyChange(c telemetry.PolicyChange, difference string) {
	if difference != "" {
		c.Detail += "; " + difference
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed(line{}) {
		return
	}
	l.add(appendLine(nil, c.Time, c.Line()), line{})
	l.wakeWriter()
}
