package engine

import (
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/policy"
)

// What the kernel may copy of an end before it is told to go on: bytes of TCP, and
// datagrams of UDP. It is told when half of that is left. A connection that makes 4,000
// requests of 1 kB a second uses up half of a megabyte in the tenth of a second that an
// agent on a busy machine may take to answer; sixteen such ends fill the ring buffer
// when it does not answer at all.
const (
	copyBytes     = 1 << 20
	copyDatagrams = 1 << 10
)

// answerCredit is how many bytes of answers pass from one request to the next that is
// judged. The copies of more would take the room of what waits.
const answerCredit = 128 << 10

func (k *lookedAt) most() int {
	if k.tcp {
		return copyBytes
	}
	return copyDatagrams
}

func (k *lookedAt) needsCredit(end int) bool {
	return k.wants[end].Wants && k.credit[end] < k.most()/2
}

// settle takes over what the inspector has found of a connection.
func (l *look) settle(s *inspector.Settlement) {
	k := l.seen[s.ID]
	if k == nil {
		return // it is over
	}
	k.wants, k.answersPass, k.tables = s.Windows, s.AnswersPass, s.Tables
	if k.hold != nil && !k.hold.blocked && s.Action == policy.Block && (k.hold.ending || l.inspector.AnswersDue(s.ID)) {
		if !k.hold.ending {
			k.hold.ending, k.hold.endingSince = true, time.Now()
		}
		k.hold.last = *s
		return
	}
	l.enter(k, s)
}

// enter has what was found of a connection written.
func (l *look) enter(k *lookedAt, s *inspector.Settlement) {
	to := l.settlement(k)
	to.Application = applicationNumber(s.Application)
	to.Done = !s.Windows[0].Wants && !s.Windows[1].Wants
	if s.Action == 0 {
		return
	}
	to.Judged, to.Tables, to.Rule, to.Reject = true, s.Tables, s.Rule, l.version.rejectOf(s.Rule)
	to.Action, to.Reason = uint8(s.Action), uint8(s.Reason)
	to.ShadowRule, to.ShadowAction = s.Matched, uint8(s.ShadowAction)
	to.JudgeAt = s.JudgeAt
}

// settlement is the one of k that waits to be written.
func (l *look) settlement(k *lookedAt) *datapath.Settlement {
	l.list(k)
	return &l.settlements[k.at]
}

func (l *look) list(k *lookedAt) {
	if k.listed {
		return
	}
	k.listed, k.at = true, len(l.of)
	l.of = append(l.of, k)
	l.settlements = append(l.settlements, datapath.Settlement{Key: k.key, ID: k.id})
}

// write writes the settlements that wait into the kernel's entries.
func (l *look) write() {
	if len(l.of) == 0 {
		return
	}
	for i, k := range l.of {
		k.listed = false
		if !l.settlements[i].Done {
			for end := range 2 {
				l.settlements[i].Windows[end] = k.window(end)
			}
			if k.answersPass && k.hold != nil && !k.hold.ending {
				l.settlements[i].AnswersPass, l.settlements[i].Tables = true, k.tables
				k.credit[1], l.settlements[i].Windows[1].Credit = answerCredit, answerCredit
			}
		}
	}
	results := l.hand(l.settlements)
	var held []*lookedAt
	var late []datapath.Settlement
	var busy map[*lookedAt]datapath.Settlement
	for i, k := range l.of {
		if i < len(results) && results[i] == datapath.SettledBusy {
			if busy == nil {
				busy = map[*lookedAt]datapath.Settlement{}
			}
			busy[k] = l.settlements[i]
		}
		if k.over && i < len(results) && results[i] == datapath.SettledOtherTables {
			// Nobody judges it again, and its end waits.
			late = append(late, l.settlements[i])
			late[len(late)-1].Judged = false
		}
		if k.hold == nil {
			continue
		}
		held = append(held, k)
		if i < len(results) && results[i] == datapath.Settled && l.settlements[i].Judged {
			k.hold.blocked = l.settlements[i].Action == uint8(policy.Block)
			k.hold.allowed = !k.hold.blocked
			k.hold.rejects = l.version.answers(l.settlements[i].Reject, k.direction)
		}
	}
	clear(l.of)
	clear(l.settlements)
	l.of, l.settlements = l.of[:0], l.settlements[:0]
	for k, s := range busy {
		*l.settlement(k) = s // it is tried again the next time
	}
	if len(late) > 0 {
		l.hand(late)
	}
	for _, k := range held {
		if k != l.showing {
			l.release(k)
		}
	}
}

// hand writes settlements into the kernel's entries, and counts what became of them.
// A verdict by a policy that is not in force is void, with all that came with it: the
// connection is judged again by the one that is, see setPolicy.
func (l *look) hand(settlements []datapath.Settlement) []datapath.SettleResult {
	results, err := l.put(settlements)
	if err != nil {
		l.counts.failed += uint64(len(settlements))
		l.log.Error("What was found out about connections cannot be written into the kernel's table.", zap.Error(err))
	}
	for i, r := range results {
		switch r {
		case datapath.Settled:
		case datapath.SettledGone, datapath.SettledOtherEpoch:
			l.counts.gone++
		case datapath.SettledOtherTables:
			l.counts.stale++
		case datapath.SettledBusy:
			l.counts.busy++
		default:
			l.counts.failed++
			l.log.Error("The kernel refused what was found out about a connection.", zap.Any("settlement", settlements[i]))
		}
	}
	return results
}

// window says how far an end is looked into from now on.
func (k *lookedAt) window(end int) *datapath.Window {
	w := &k.wants[end]
	if !w.Wants {
		k.credit[end] = 0
		return &datapath.Window{}
	}
	k.credit[end] = k.most()
	to := &datapath.Window{Credit: k.credit[end]}
	if w.Skips {
		k.skipped[end] = true
		to.From, to.Until, to.Renews = w.From, w.Until, w.Renews
	}
	return to
}
