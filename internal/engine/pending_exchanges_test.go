package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/weirnet/weir/internal/telemetry"
)

// TestPendingExchanges: records come in the order in which they were complete, those of
// one connection in that in which they were found out, whatever the times say.
func TestPendingExchanges(t *testing.T) {
	var p pendingExchanges
	began := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	said := func(connection uint64, answered time.Duration, status uint16) []telemetry.Exchange {
		return []telemetry.Exchange{{
			Connection: telemetry.ConnectionRef{ID: connection}, Time: began, Answered: began.Add(answered), HTTP: &telemetry.HTTPExchange{Status: status},
		}}
	}
	p.add(said(1, 3, 201))
	p.add(said(1, 2, 202))
	p.add(said(2, 1, 203))
	p.add(said(1, 4, 204))
	var got []uint16
	hand := func(all []telemetry.Exchange) {
		for i := range all {
			got = append(got, all[i].HTTP.Status)
		}
	}
	p.hand(began.Add(3), hand)
	if want := []uint16{203, 201, 202}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	p.handOf(1, hand)
	if want := []uint16{203, 201, 202, 204}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
