package datapath

import (
	"github.com/weirnet/weir/bpf"
	"github.com/weirnet/weir/internal/packet"
)

// flowKey is make_key of bpf/connections.c, and says whether the source is the
// key's high end.
func flowKey(t packet.Tuple) (k bpf.ConnectionsFlowKey, sourceIsHigh bool) {
	k = bpf.ConnectionsFlowKey{
		Low: addressWords(t.Source), High: addressWords(t.Destination),
		ProtocolZone: (uint32(t.Zone.Inner)<<12|uint32(t.Zone.Outer))<<8 | uint32(t.Protocol),
	}
	first, second := t.SourcePort, t.DestinationPort
	if t.IsICMP() {
		first, second = t.ICMPID, uint16(t.ICMPType)<<8|uint16(t.ICMPCode)
	}
	k.LowPort, k.HighPort = networkOrder(first), networkOrder(second)
	order := 0
	for i := range k.Low {
		if order == 0 && k.Low[i] != k.High[i] {
			order = 1
			if k.Low[i] < k.High[i] {
				order = -1
			}
		}
	}
	if order == 0 && t.HasPorts() && k.LowPort > k.HighPort {
		order = 1
	}
	if order <= 0 {
		return k, false
	}
	k.Low, k.High = k.High, k.Low
	if t.HasPorts() {
		k.LowPort, k.HighPort = k.HighPort, k.LowPort
	}
	return k, true
}
