package datapath

import (
	"encoding/binary"
	"net/netip"

	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/classifier"
	"github.com/weirnet/weir/internal/policy"
)

// addressWords is an address as flow_key holds it: IPv4 mapped, in network
// order.
func addressWords(a netip.Addr) (words [4]uint32) {
	b := a.As16()
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(b[i*4:])
	}
	return words
}

func kernelRows(t *classifier.Tables) []bpf.ConnectionsPolicyRow {
	rows := make([]bpf.ConnectionsPolicyRow, len(t.Rows)/classifier.RowWords)
	for i := range rows {
		copy(rows[i].Word[:], t.Rows[i*classifier.RowWords:])
	}
	return rows
}

func kernelEntries(t *classifier.Tables) ([]bpf.ConnectionsPolicyEntries, error) {
	const block = len(bpf.ConnectionsPolicyEntries{}.Entry)
	list := make([]bpf.ConnectionsPolicyEntries, blocks(len(t.Entries), block))
	for i := range t.Entries {
		e := &t.Entries[i]
		k := &list[i/block].Entry[i%block]
		var err error
		if k.Expires, err = monotonicAt(e.Expires); err != nil {
			return nil, err
		}
		k.Over, k.Rule, k.Order, k.Action = uint64(e.Over), e.Rule, e.Order, uint8(e.Action)
		for _, f := range []struct {
			on   bool
			flag bpf.ConnectionsEntryFlags
		}{
			{e.Shadow, bpf.ConnectionsEntryFlagsENTRY_SHADOW},
			{e.Safeguard, bpf.ConnectionsEntryFlagsENTRY_SAFEGUARD},
			{e.Undecided, bpf.ConnectionsEntryFlagsENTRY_UNDECIDED},
			{e.ErrorAllows, bpf.ConnectionsEntryFlagsENTRY_ERROR_ALLOWS},
			{e.Special == policy.OnLoopback, bpf.ConnectionsEntryFlagsENTRY_LOOPBACK},
			{e.Special == policy.HopLimit255, bpf.ConnectionsEntryFlagsENTRY_NEIGHBOR},
			{e.Special == policy.OwnSocket, bpf.ConnectionsEntryFlagsENTRY_OWN},
		} {
			if f.on {
				k.Flags |= uint8(f.flag)
			}
		}
		if e.Reject != nil {
			k.Reject = uint8(bpf.ConnectionsRejectChoiceREJECT_NO)
			if *e.Reject {
				k.Reject = uint8(bpf.ConnectionsRejectChoiceREJECT_YES)
			}
		}
	}
	return list, nil
}

func kernelItems(t *classifier.Tables) []bpf.ConnectionsPolicyItems {
	const block = len(bpf.ConnectionsPolicyItems{}.Item)
	list := make([]bpf.ConnectionsPolicyItems, blocks(len(t.Items), block))
	for i := range t.Items {
		item := &t.Items[i]
		list[i/block].Item[i%block] = bpf.ConnectionsPolicyItem{
			Other: [2]uint64{item.Other.High, item.Other.Low}, OtherBits: item.OtherBits,
			Order: item.Order, Entry: item.Entry,
			SourceFirst: item.Source.First, SourceLast: item.Source.Last,
			DestinationFirst: item.Destination.First, DestinationLast: item.Destination.Last,
			Protocol: item.Protocol, AnyProtocol: bit(item.AnyProtocol), Directions: uint8(item.Direction),
		}
	}
	return list
}

func kernelSummaries(t *classifier.Tables) []bpf.ConnectionsPolicySummary {
	list := make([]bpf.ConnectionsPolicySummary, len(t.Summaries))
	for i, s := range t.Summaries {
		list[i].Chunks, list[i].Word = s.Chunks, s.Words
	}
	return list
}

func kernelSettings(t *classifier.Tables) bpf.ConnectionsPolicySettings {
	s := t.Settings
	k := bpf.ConnectionsPolicySettings{
		Chunks:         uint32(t.Chunks),
		Prevent:        bit(s.Prevent),
		DefaultAction:  uint8(s.DefaultAction),
		RejectMode:     uint8(s.Reject),
		BlockMalformed: bit(s.BlockMalformed),
		BlockNonIp:     bit(s.BlockNonIP),
		RelatedIcmp:    bit(s.RelatedICMP),
		Keeps:          bit(s.OnError.Keep),
	}
	for cause, at := range map[policy.Cause]bpf.ConnectionsCause{
		policy.Malformed: bpf.ConnectionsCauseCAUSE_MALFORMED,
		policy.Limit:     bpf.ConnectionsCauseCAUSE_LIMIT,
		policy.Overload:  bpf.ConnectionsCauseCAUSE_OVERLOAD,
		policy.AgentDown: bpf.ConnectionsCauseCAUSE_AGENT_DOWN,
		policy.NotSeen:   bpf.ConnectionsCauseCAUSE_NOT_SEEN,
	} {
		k.OnError[at] = uint8(s.OnError.For(cause))
	}
	return k
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// blocks is how many blocks of size hold n.
func blocks(n, size int) int { return (n + size - 1) / size }
