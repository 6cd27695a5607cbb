package connectionapiextension

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// getConnections goes through the kernel's flow table once for each page, one call at
// a time. A page has those below an id, so connections that come and go do not shift
// it.
func (a *api) getConnections(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	f, err := parseFilter(query)
	if err != nil {
		return err
	}
	limit, err := number(query, "limit", 100, 1, 1000)
	if err != nil {
		return err
	}
	below := ^uint64(0)
	if cursor := query.Get("cursor"); cursor != "" {
		if below, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return badRequest("cursor: %.100q is not one that a page had", cursor)
		}
	}
	engine, err := a.engines.get()
	if err != nil {
		return err
	}
	select {
	case a.passing <- struct{}{}:
		defer func() { <-a.passing }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	page := page{limit: limit}
	total, seen := uint64(0), 0
	err = engine.Connections(func(c *telemetry.Connection) bool {
		if f.connection(c) {
			total++
			if c.ID < below {
				page.add(c)
			}
		}
		seen++
		return seen%1024 != 0 || r.Context().Err() == nil
	})
	if err != nil {
		return err
	}
	told := apiclient.Connections{Connections: page.sorted(), Total: total}
	if page.more {
		told.Next = strconv.FormatUint(told.Connections[limit-1].ID, 10)
	}
	return answer(w, told)
}

// page keeps those with the highest ids of what it is given.
type page struct {
	limit int
	more  bool // there are others
	found []apiclient.Connection
}

func (p *page) add(c *telemetry.Connection) {
	if len(p.found) >= 4*p.limit {
		p.cut()
	}
	p.found = append(p.found, connectionOf(c))
}

// cut drops those beyond the limit.
func (p *page) cut() {
	slices.SortFunc(p.found, func(a, b apiclient.Connection) int { return cmp.Compare(b.ID, a.ID) })
	if len(p.found) > p.limit {
		p.more = true
		p.found = p.found[:p.limit]
	}
}

func (p *page) sorted() []apiclient.Connection {
	p.cut()
	if p.found == nil {
		return []apiclient.Connection{}
	}
	return p.found
}

func connectionOf(c *telemetry.Connection) apiclient.Connection {
	j := &c.Judgement
	end := func(address netip.Addr, port uint16, counts telemetry.Counts) apiclient.End {
		e := apiclient.End{Address: address.String(), Packets: counts.Packets, Bytes: counts.Bytes}
		if c.Tuple.HasPorts() {
			e.Port = port
		}
		return e
	}
	return apiclient.Connection{
		ID: c.ID, Direction: c.Direction.String(), Transport: transportName(c.Tuple.Protocol),
		Source:      end(c.Tuple.Source, c.Tuple.SourcePort, c.Source),
		Destination: end(c.Tuple.Destination, c.Tuple.DestinationPort, c.Destination),
		Interface:   c.Interface, Protocol: c.Protocol,
		Verdict: j.Verdict.String(), Action: j.Action.String(), Reason: j.Reason.String(), Rule: j.Rule, Generation: j.Generation,
		FirstSeen: c.FirstSeen.UTC().Round(time.Microsecond), LastSeen: c.LastSeen.UTC().Round(time.Microsecond),
	}
}

// transportName is the value of network.transport.
func transportName(protocol uint8) string {
	switch protocol {
	case packet.TCP:
		return "tcp"
	case packet.UDP:
		return "udp"
	case packet.ICMP:
		return "icmp"
	case packet.ICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(protocol))
}
