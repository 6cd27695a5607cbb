package engine

import (
	"time"

	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// applicationNumber is what a flow table has for a protocol; its numbers are those of
// bpf/flow.h. DNS over TLS is TLS.
func applicationNumber(a policy.Application) uint8 {
	switch {
	case a == 0:
		return flow.ApplicationUnknown
	case a&policy.AppHTTP != 0:
		return flow.ApplicationHTTP
	case a&policy.AppTLS != 0:
		return flow.ApplicationTLS
	case a&policy.AppQUIC != 0:
		return flow.ApplicationQUIC
	case a&policy.AppDNS != 0:
		return flow.ApplicationDNS
	case a&policy.AppSSH != 0:
		return flow.ApplicationSSH
	}
	return flow.ApplicationOther
}

// protocolName is the value of network.protocol.name; empty where it is not known.
func protocolName(application uint8) string {
	names := [...]string{"", "http", "tls", "quic", "dns", "ssh", ""}
	if int(application) >= len(names) {
		return "" // of a later version
	}
	return names[application]
}

// rejectOf is what the rule of that number among the walked ones says of answering
// whom it blocks.
func (v *version) rejectOf(rule uint32) uint8 {
	if int64(rule) >= int64(len(v.rejects)) {
		return flow.RejectByPolicy
	}
	return v.rejects[rule]
}

// answers says whether whom a rule blocks is answered, as bpf/judge.h has it.
func (v *version) answers(reject uint8, d packet.Direction) bool {
	if reject != flow.RejectByPolicy {
		return reject == flow.RejectYes
	}
	mode := v.policy.Reject
	return mode == policy.RejectAlways || mode == policy.RejectOutbound && d == packet.Outbound
}

func rejectsOf(p *policy.Policy) []uint8 {
	var all []uint8
	for _, r := range p.Walked() {
		choice := flow.RejectByPolicy
		if r.Reject != nil && *r.Reject {
			choice = flow.RejectYes
		} else if r.Reject != nil {
			choice = flow.RejectNo
		}
		all = append(all, choice)
	}
	return all
}

// unixNano is 0 for the zero time.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
