package datapath

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/weirnet/weir/bpf"
)

// What a connection speaks, in Settlement and Event.
const (
	ApplicationUnknown uint8 = iota
	ApplicationHTTP
	ApplicationTLS
	ApplicationQUIC
	ApplicationDNS
	ApplicationSSH
	ApplicationOther // none of these
)

// What a rule says of answering the sender of what it blocks, in Settlement.
const (
	RejectByPolicy uint8 = iota
	RejectYes
	RejectNo
)

// Settlement is what user space found out about a connection.
type Settlement struct {
	Key FlowKey
	ID  uint64

	// Judged: the fields from Tables to JudgeAt are a verdict. It is written, counted
	// and told as if the kernel's walk had come to it.
	Judged bool
	// Tables is the number of the policy that was walked: it must be the one in
	// force.
	Tables uint32
	Rule   uint32 // index into classifier.Tables.Rules, or NoRule
	Action uint8  // allow or block
	Reason uint8  // any but none and pending
	Reject uint8
	// ShadowRule is the shadow rule that decides the second walk, or NoRule, and
	// ShadowAction what that comes to. Both are counted; they are told of where the
	// action differs.
	ShadowRule   uint32
	ShadowAction uint8
	// JudgeAt is when a rule expires or a duration is over, so that the connection
	// must be judged again; zero: never. It counts where the kernel has not judged
	// the connection by these tables yet, which else knows by itself.
	JudgeAt time.Time

	// Application is what the connection speaks; ApplicationUnknown leaves what was
	// said before.
	Application uint8
	// Windows say of each end how far it is looked into; nil: as before. They are of
	// no effect on a connection that is not looked into, or of which nothing was
	// copied yet.
	Windows [2]*Window
	// AnswersPass: by the policy of Tables nothing is judged that the destination says. It
	// goes on at once, and a copy of it to ReadCopies, as far as the Credit of that end goes.
	// It counts with Windows, of a connection that is held, until the next Settlement that
	// has some, or another policy.
	AnswersPass bool
	// Done: nothing more is looked for. No copy is made any more, and if the
	// connection is over its EventEnd is sent at once.
	Done bool
}

// Window is how far an end is looked into.
type Window struct {
	// From and Until are TCP sequence numbers: segments of which all the payload lies
	// in [From, Until) are not copied. Equal: there are none. At most MaxWindow apart;
	// what is longer is armed again on the way.
	From, Until uint32
	// Renews: of a connection that is held, ReadCopies is told of a segment in the second half
	// of [From, Until), once, so that the window may be moved on before anything waits. The
	// payload is Missing.
	Renews bool
	// Credit is how much may be copied, from now on: bytes of TCP, datagrams of UDP,
	// MaxCredit at most. It begins with 64 KiB, or 16 datagrams. A segment is copied
	// whole while there is any left.
	Credit int
}

// The largest Window.
const (
	MaxWindow = 1 << 28
	MaxCredit = 1 << 30
)

// SettleResult is what became of a Settlement. All but Settled: nothing was written.
type SettleResult uint8

// The results.
const (
	// Settled: it was written.
	Settled SettleResult = iota
	// SettledGone: there is no such connection any more, or its EventEnd was sent.
	SettledGone
	// SettledOtherEpoch: another connection has its tuple.
	SettledOtherEpoch
	// SettledOtherTables: the policy that was walked is not in force. The connection
	// is to be judged again.
	SettledOtherTables
	// SettledRefused: a field has a value that it cannot have.
	SettledRefused
	// SettledBusy: packets judged it all the while; to be tried again.
	SettledBusy
)

const (
	settlementsAtOnce = len(bpf.ConnectionsSettleRun{}.Of)
	settleTries       = 16
)

// Settle writes into the entries of connections, one after the other, and says what
// became of each.
func (d *Datapath) Settle(list []Settlement) ([]SettleResult, error) {
	results := make([]SettleResult, len(list))
	pending := make([]int, len(list))
	for i := range list {
		pending[i] = i
	}
	for try := 0; len(pending) > 0 && try < settleTries; try++ {
		var busy []int
		for len(pending) > 0 {
			n := min(settlementsAtOnce, len(pending))
			if err := d.settleSome(list, pending[:n], results); err != nil {
				return nil, err
			}
			for _, i := range pending[:n] {
				if results[i] == SettledBusy {
					busy = append(busy, i)
				}
			}
			pending = pending[n:]
		}
		pending = busy
	}
	return results, nil
}

func (d *Datapath) settleSome(list []Settlement, which []int, results []SettleResult) error {
	run := bpf.ConnectionsSettleRun{Count: uint32(len(which))}
	for i, of := range which {
		if err := fillSettlement(&run.Of[i], &list[of]); err != nil {
			return err
		}
	}
	// As bytes: field by field it would take longer to encode and to decode than to run.
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&run)), unsafe.Sizeof(run))
	if _, err := d.objects.SettleFlows.Run(&ebpf.RunOptions{Context: raw, ContextOut: raw}); err != nil {
		return fmt.Errorf("settle connections: %w", err)
	}
	for i, of := range which {
		results[of] = SettleResult(run.Of[i].Result)
	}
	return nil
}

func fillSettlement(k *bpf.ConnectionsSettlement, s *Settlement) error {
	*k = bpf.ConnectionsSettlement{
		Key: s.Key.key, Id: s.ID, Tables: s.Tables, Rule: s.Rule, ShadowRule: s.ShadowRule,
		Action: s.Action, Reason: s.Reason, ShadowAction: s.ShadowAction, Reject: s.Reject,
		Application: s.Application,
	}
	if s.Judged {
		k.Flags |= uint32(bpf.ConnectionsSettleFlagsSETTLE_VERDICT)
		at, err := monotonicAt(s.JudgeAt)
		if err != nil {
			return err
		}
		k.JudgeAt = at
	}
	if s.Done {
		k.Flags |= uint32(bpf.ConnectionsSettleFlagsSETTLE_DONE)
	}
	if s.AnswersPass {
		k.Flags |= uint32(bpf.ConnectionsSettleFlagsSETTLE_ANSWERS)
	}
	for end, w := range s.Windows {
		if w == nil {
			continue
		}
		k.Flags |= uint32(bpf.ConnectionsSettleFlagsSETTLE_SOURCE) << end
		if w.Renews {
			k.Flags |= uint32(bpf.ConnectionsSettleFlagsSETTLE_RENEWS) << end
		}
		// What is too much for 32 bits is refused as what is too much.
		k.From[end], k.Until[end], k.Credit[end] = w.From, w.Until, int32(max(-1, min(w.Credit, MaxCredit+1)))
	}
	return nil
}
