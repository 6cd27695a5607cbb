package engine

import (
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/datapath"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/policy"
)

// warnOfCuts names the live inbound connections that a prevent policy would cut:
// one of them may be the operator's own.
func (e *Engine) warnOfCuts(p *policy.Policy) {
	if p.Mode != policy.Prevent {
		return
	}
	live, err := datapath.InboundConnections()
	if err != nil {
		e.log.Warn("Live connections could not be listed, to see what the policy would cut.", zap.Error(err))
		return
	}
	cut := wouldCut(p, live)
	if len(cut) == 0 {
		return
	}
	const most = 10
	total := len(cut)
	if len(cut) > most {
		cut = cut[:most]
	}
	e.log.Warn("The new policy cuts live inbound connections.", zap.Int("count", total), zap.Strings("connections", cut))
}

func wouldCut(p *policy.Policy, live []packet.Tuple) []string {
	var cut []string
	for _, t := range live {
		d := p.Walk(&policy.Facts{
			Direction: policy.Inbound, Protocol: t.Protocol,
			Source: t.Source, SourcePort: t.SourcePort,
			Destination: t.Destination, DestinationPort: t.DestinationPort,
		})
		if d.Action == policy.Block {
			cut = append(cut, fmt.Sprintf("tcp %s from %s",
				netip.AddrPortFrom(t.Destination, t.DestinationPort), netip.AddrPortFrom(t.Source, t.SourcePort)))
		}
	}
	return cut
}
