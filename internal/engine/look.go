package engine

import (
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/inspect/stream"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/probe"
)

// look looks into a part of the kernel's connections: copies of their packets go to the
// inspector, and what it finds out goes into the kernel's entries and to the sink.
type look struct {
	data   *datapath.Datapath
	log    *zap.Logger
	names  *names.Table
	prober *probe.Prober // nil: nobody answers for certificates that are hidden
	said   *pendingExchanges
	// put is datapath.Settle, but in tests.
	put func([]datapath.Settlement) ([]datapath.SettleResult, error)

	mu        sync.Mutex // guards the rest: a change of policy comes from elsewhere
	inspector *inspector.Inspector
	version   *version
	seen      map[uint64]*lookedAt // by connection id
	// gone are connections that the inspector gave up, or that are over, of which packets
	// may still be under way: those of this second, and of the one before.
	gone, goneBefore map[uint64]struct{}
	settlements      []datapath.Settlement
	of               []*lookedAt
	counts           lookCounts
	holding          map[uint64]*lookedAt // those of which packets are held
	showing          *lookedAt            // its next packet is shown to the inspector
	maxWait          time.Duration        // of a packet that is held
	shares           heldShares           // of what waits
	mostHeld         int                  // of it, by all
	remembered       int                  // bytes of what was released, by all
	mostRemembered   int                  // of which as much is kept as a sender has under way
	heldCounts       heldCounts
	holds            bool // the policy has packets held
	// awaits: a policy is about to come into force, or the kernel has it already. What is
	// held by then waits for it.
	awaits  bool
	settled *sync.Cond // of mu: awaits has changed
}

// lookedAt is a connection of which copies have come.
type lookedAt struct {
	id  uint64
	key datapath.FlowKey
	// source is what its share of the memory is counted by.
	source netip.Addr
	// wants is what the inspector wants of each end.
	wants [2]inspector.Window
	// answersPass: by the policy of tables nothing that the server says is judged.
	answersPass bool
	tables      uint32
	// names are those of the destination when the first packet came.
	names []string
	// credit is what the kernel may still copy of each end.
	credit [2]int
	tcp    bool
	// direction is that of the connection.
	direction packet.Direction
	// skipped: bytes of an end may have passed without being seen.
	skipped [2]bool
	// unseen: it was decided, and how it began is not known here. unread: it has said
	// something since that was let pass while nobody read.
	unseen, unread bool
	// hold is what is held of it; nil where nothing ever was.
	hold *holding
	// over: it has ended.
	over bool
	// listed: it is in look.of, at that index.
	listed bool
	at     int
}

// lookCounts are settlements that the kernel did not take, by cause.
type lookCounts struct {
	gone   uint64 // the connection is over
	stale  uint64 // another policy is in force
	busy   uint64 // packets were judged all the while
	failed uint64
}

// newLook makes one of so many.
func newLook(all *looks, c *InspectConfig, idle time.Duration, of int) *look {
	l := &look{
		data: all.data, log: all.log, names: all.names, prober: all.prober, said: &all.said, put: all.data.Settle,
		seen: map[uint64]*lookedAt{}, holding: map[uint64]*lookedAt{}, maxWait: c.MaxWait,
		gone: map[uint64]struct{}{}, goneBefore: map[uint64]struct{}{},
		shares: heldShares{of: map[netip.Addr]int{}}, mostHeld: maxHeldOfAll / of, mostRemembered: maxReleasedOfAll / of,
	}
	l.inspector = inspector.New(inspector.Config{
		Report: c.report(), MaxBytes: c.MaxBytes, Names: l.names, OnForget: l.forgotten, Asks: l.prober != nil,
		Logins: all.logins, LateWait: c.LateWait, Shown: all.shown, Sharers: of,
		// As long as the kernel remembers it: nobody else knows by what names it was judged.
		Idle: idle + time.Minute,
	})
	l.settled = sync.NewCond(&l.mu)
	return l
}

// copies takes what the kernel has copied.
func (l *look) copies(batch []datapath.Copy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		c := &batch[i]
		switch {
		case c.Ended:
			l.ended(c)
		case c.Held:
			l.heldCopy(c)
		default:
			l.copy(c)
		}
		if len(l.inspector.Settlements())+len(l.of) >= settleAtOnce {
			l.take()
		}
	}
	l.take()
}

// settleAtOnce is how many settlements wait for the kernel at most.
const settleAtOnce = 64

// copy shows a packet to the inspector.
func (l *look) copy(c *datapath.Copy) {
	k := l.lookAt(c)
	if k == nil {
		return
	}
	k.credit[c.End] = c.Credit
	of, p := packetOf(k, c)
	l.inspector.Packet(&of, &p)
	if k.needsCredit(c.End) {
		l.list(k)
	}
}

// lookAt finds the connection of a packet; nil where it was given up.
func (l *look) lookAt(c *datapath.Copy) *lookedAt {
	k := l.seen[c.ID]
	if k != nil {
		return k
	}
	if l.isGone(c.ID) {
		return nil
	}
	k = &lookedAt{id: c.ID, key: c.Key, source: stream.SourceOf(c.Tuple.Source), tcp: c.Tuple.Protocol == packet.TCP, direction: c.Direction}
	for end := range 2 {
		k.wants[end].Wants, k.credit[end] = true, k.most()
	}
	l.seen[c.ID] = k
	k.names = l.names.Lookup(c.Tuple.Destination, c.Time)
	return k
}

// packetOf is a packet in the words of the inspector.
func packetOf(k *lookedAt, c *datapath.Copy) (inspector.Connection, inspector.Packet) {
	of := inspector.Connection{
		ID: c.ID, Tuple: c.Tuple, Direction: c.Direction, Interface: c.Interface,
		FirstSeen: c.First, Loopback: c.Loopback, Names: k.names,
		Pending: policy.Reason(c.Reason) == policy.ReasonPending,
		// It counts where the beginning is not here: after a restart, or when it had
		// given way to others.
		Kept:   policy.Action(c.Action) == policy.Allow || k.unread,
		Missed: k.unseen || k.unread,
	}
	p := inspector.Packet{
		Time: c.Time, End: c.End, Seq: c.Seq, Ack: c.Ack, Flags: c.Flags, Payload: c.Payload, Missing: c.Missing,
	}
	if k.tcp {
		p.LeftOut = &inspector.LeftOut{Initial: c.Initial, HasInitial: c.HasInitial, Acked: c.Acked, HasAcked: c.HasAcked}
	} else if c.Fragment {
		p.Missing = max(p.Missing, 1) // how much is in the others is not told
	}
	return of, p
}

// ended lets go of a connection that is over: the record of its end waits for that.
func (l *look) ended(c *datapath.Copy) {
	k := l.seen[c.ID]
	if k == nil {
		k = &lookedAt{id: c.ID, key: c.Key}
	}
	l.inspector.Ended(c.ID, c.Time)
	if k.hold != nil {
		l.take() // what may go on does
	} else {
		l.gather()
	}
	l.settlement(k).Done = true // with what else was found out, if anything
	k.over = true
	l.letGo(k)
}

// over takes ends that were told, of connections that are looked into or not. Packets of
// them that wait in the device belong to nothing any more.
func (l *look) over(ids []uint64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.holds {
			l.gone[id] = struct{}{}
		}
		if k := l.seen[id]; k != nil {
			l.inspector.Ended(id, now)
			l.letGo(k)
		}
	}
	l.take()
}

// forgotten is called by the inspector with a connection that it does not know any
// more.
func (l *look) forgotten(id uint64) {
	if l.seen[id] != nil {
		l.gone[id] = struct{}{}
	}
}

func (l *look) isGone(id uint64) bool {
	_, now := l.gone[id]
	_, before := l.goneBefore[id]
	return now || before
}

// expire gives up what has waited too long.
func (l *look) expire(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inspector.Expire(now)
	l.take()
	for id := range l.goneBefore {
		if k := l.seen[id]; k != nil {
			l.letGo(k)
		}
	}
	clear(l.goneBefore)
	l.gone, l.goneBefore = l.goneBefore, l.gone
}

// finish tells what is left at an orderly end. The connections go on, and with them
// whoever looks into them next: that facts have not come yet is no verdict.
func (l *look) finish(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inspector.Finish(now)
	l.said.add(l.inspector.Exchanges())
	l.inspector.Reset()
}

// await says whether what is held is to wait for the next policy.
func (l *look) await(awaits bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaits = awaits
	l.settled.Broadcast()
}

// setPolicy judges connections by the policy that is in force now.
func (l *look) setPolicy(v *version, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version = v
	l.awaits = false
	l.settled.Broadcast()
	l.holds = wantsHold(v.policy)
	l.inspector.SetPolicy(inspector.Version{
		Tables: v.tables, Generation: v.generation, Policy: v.policy.Without(now), Rules: v.rules,
	}, now)
	l.take()
}

// take writes what the inspector has found into the kernel's entries, and keeps its
// records for the sink.
func (l *look) take() {
	l.gather()
	l.write()
}

func (l *look) gather() {
	l.ask()
	for i := range l.inspector.Settlements() {
		l.settle(&l.inspector.Settlements()[i])
	}
	l.said.add(l.inspector.Exchanges())
	l.inspector.Reset()
}

// stats takes a snapshot of the counters.
func (l *look) stats() InspectStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := inspectStats(l.inspector)
	s.Untaken = map[string]uint64{
		"gone": l.counts.gone, "stale": l.counts.stale, "busy": l.counts.busy, "failed": l.counts.failed,
	}
	return s
}

func inspectStats(i *inspector.Inspector) InspectStats {
	s := InspectStats{Limited: map[string]uint64{}}
	s.Connections, s.Held = i.Holding()
	i.Counters(func(c inspector.Counter, n uint64) {
		switch c {
		case inspector.Opened:
			s.Opened = n
		case inspector.Own: // they are not to be looked into
		default:
			s.Limited[c.String()] = n
		}
	})
	return s
}
