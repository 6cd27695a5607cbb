package engine

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/probe"
)

// looks looks into the kernel's connections. Each is one look's, as its packets are one
// queue's while they are held (datapath.QueueOf), so that several threads judge at a time.
// What connections have in common is here.
type looks struct {
	data   *datapath.Datapath
	log    *zap.Logger
	all    []*look
	logins *logins
	names  *names.Table
	shown  *inspector.Shown
	prober *probe.Prober // nil: nobody answers for certificates that are hidden
	said   pendingExchanges
	file   namesFile

	mu           sync.Mutex // guards the rest
	learns       bool       // the policy asks for names
	ownResolvers bool       // all are on the host itself: their answers are not seen

	// For the goroutine that keeps the names.
	hosts      *hostResolvers // nil: the resolvers are configured
	unreadable bool           // which the host's are
}

func newLooks(c *InspectConfig, idle time.Duration, data *datapath.Datapath, log *zap.Logger) *looks {
	l := &looks{
		data: data, log: log, names: names.NewTable(names.Limits{}), shown: inspector.NewShown(),
		logins: &logins{data: data, log: log}, file: namesFile{path: c.NamesFile, log: log},
	}
	l.prober = newProber(c, data)
	of := c.queues()
	for range of {
		l.all = append(l.all, newLook(l, c, idle, of))
	}
	l.file.load(l.names, time.Now())
	l.believe(c.Resolvers)
	return l
}

// portLLMNR is that of Link-Local Multicast Name Resolution (RFC 4795).
const portLLMNR = 5355

// of is the one that looks into a connection. What is asked of a group is answered by others,
// in connections of their own: one looks into all of them.
func (l *looks) of(id uint64, t *packet.Tuple) *look {
	if t.Protocol == packet.UDP && (t.SourcePort == portLLMNR || t.DestinationPort == portLLMNR) {
		return l.all[0]
	}
	return l.all[datapath.QueueOf(id, len(l.all))]
}

// copies takes what the kernel has copied, in its order.
func (l *looks) copies(batch []datapath.Copy) {
	for len(batch) > 0 {
		of, n := l.of(batch[0].ID, &batch[0].Tuple), 1
		for n < len(batch) && l.of(batch[n].ID, &batch[n].Tuple) == of {
			n++
		}
		of.copies(batch[:n])
		batch = batch[n:]
	}
}

// held takes packets that the kernel holds.
func (l *looks) held(batch []datapath.Held) {
	for len(batch) > 0 {
		of, n := l.of(batch[0].ID, &batch[0].Tuple), 1
		for n < len(batch) && l.of(batch[n].ID, &batch[n].Tuple) == of {
			n++
		}
		of.held(batch[:n])
		batch = batch[n:]
	}
}

// over says that the end of connections was told, whether or not they are looked into.
func (l *looks) over(ends []*datapath.Event, now time.Time) {
	if len(ends) == 0 {
		return
	}
	l.data.CatchUp() // with what they have answered last
	by := map[*look][]uint64{}
	for _, e := range ends {
		of := l.of(e.ID, &e.Tuple)
		by[of] = append(by[of], e.ID)
	}
	for of, ids := range by {
		of.over(ids, now)
	}
}

// await says whether what is held is to wait for the next policy.
func (l *looks) await(awaits bool) {
	for _, one := range l.all {
		one.await(awaits)
	}
}

// setPolicy judges connections by the policy that is in force now. learns: it asks
// for the names of addresses.
func (l *looks) setPolicy(v *version, learns bool, now time.Time) {
	l.mu.Lock()
	if !l.learns && learns && l.ownResolvers {
		l.warnOfOwn()
	}
	l.learns = learns
	l.mu.Unlock()
	l.logins.clear()
	for _, one := range l.all {
		one.setPolicy(v, now)
	}
}

// expire gives up what has waited too long.
func (l *looks) expire(now time.Time) {
	for _, one := range l.all {
		one.expire(now)
	}
}

// giveUp ends the wait of packets that have waited too long: on_error answers.
func (l *looks) giveUp(now time.Time) {
	for _, one := range l.all {
		one.giveUp(now)
	}
}

// finish tells what is left at an orderly end.
func (l *looks) finish(now time.Time) {
	for _, one := range l.all {
		one.finish(now)
	}
}

// handOn gives what waits to whoever holds next.
func (l *looks) handOn() (packets []*datapath.HeldPacket) {
	for _, one := range l.all {
		packets = append(packets, one.handOn()...)
	}
	return packets
}

// stats takes a snapshot of the counters.
func (l *looks) stats() InspectStats {
	all := l.all[0].stats()
	for _, one := range l.all[1:] {
		s := one.stats()
		all.Opened, all.Connections, all.Held = all.Opened+s.Opened, all.Connections+s.Connections, all.Held+s.Held
		addCounts(all.Limited, s.Limited)
		addCounts(all.Untaken, s.Untaken)
	}
	return all
}

func (l *looks) holdStats() HoldStats {
	all := l.all[0].holdStats()
	for _, one := range l.all[1:] {
		s := one.holdStats()
		all.Connections, all.Packets, all.Bytes = all.Connections+s.Connections, all.Packets+s.Packets, all.Bytes+s.Bytes
		all.Released, all.Waited = all.Released+s.Released, all.Waited+s.Waited
		addCounts(all.Dropped, s.Dropped)
	}
	return all
}

func addCounts(to, counts map[string]uint64) {
	for cause, n := range counts {
		to[cause] += n
	}
}
