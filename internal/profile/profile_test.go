package profile

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func connection(source byte, port uint16, kind telemetry.Kind, action telemetry.Action) telemetry.Connection {
	return telemetry.Connection{
		Kind: kind, Time: began, LastSeen: began, Count: 1,
		Tuple: packet.Tuple{
			Source: netip.AddrFrom4([4]byte{192, 0, 2, source}), Destination: netip.MustParseAddr("203.0.113.1"),
			DestinationPort: port, Protocol: packet.TCP,
		},
		Source: telemetry.Counts{Bytes: 100}, Destination: telemetry.Counts{Bytes: 900},
		Judgement: telemetry.Judgement{Action: action, Rule: "r"},
	}
}

func TestTopOverTime(t *testing.T) {
	p := New()
	for range 3 {
		p.Connections([]telemetry.Connection{connection(1, 80, telemetry.ConnectionStart, telemetry.Allow)}, began)
	}
	flood := connection(2, 23, telemetry.ConnectionStart, telemetry.Block)
	flood.Count, flood.LastSeen, flood.Judgement.Verdict = 7, began.Add(time.Second), telemetry.Blocked
	p.Connections([]telemetry.Connection{flood, connection(1, 80, telemetry.ConnectionEnd, telemetry.Allow)}, began.Add(10*time.Minute))
	now := began.Add(10 * time.Minute)

	assert.Equal(t, []Entry{
		{Key: Key{Address: flood.Tuple.Source}, Counts: Counts{Connections: 7, Blocked: 7}},
		{Key: Key{Address: netip.MustParseAddr("192.0.2.1")}, Counts: Counts{Connections: 3}},
	}, p.Top(Sources, ByConnections, time.Hour, 10, now))
	assert.Equal(t, []Entry{
		{Key: Key{Address: flood.Tuple.Source}, Counts: Counts{Connections: 7, Blocked: 7}},
	}, p.Top(Sources, ByConnections, time.Minute, 10, now), "what was longer ago is left out")
	assert.Equal(t, []Entry{
		{Key: Key{Protocol: packet.TCP, Port: 80}, Counts: Counts{Bytes: 1000}},
	}, p.Top(Ports, ByBytes, time.Hour, 10, now))
	assert.Len(t, p.Top(Sources, ByConnections, time.Hour, 1, now), 1)
	assert.Equal(t, []Point{
		{Time: began.Truncate(time.Minute), Counts: Counts{Connections: 3}},
		{Time: now.Truncate(time.Minute), Counts: Counts{Connections: 7, Blocked: 7, Bytes: 1000}},
	}, p.Series(time.Hour, now))
	assert.Empty(t, p.Series(time.Hour, now.Add(2*time.Hour)))
	assert.Equal(t, began.Add(time.Second), p.LastMatch("r"))
	assert.Zero(t, p.LastMatch("other"))
}

// What was let through in mode detect was not blocked, and comes first all the same
// where most of it would be.
func TestWouldBlock(t *testing.T) {
	p := New()
	watched, cut := connection(1, 23, telemetry.ConnectionStart, telemetry.Block), connection(2, 23, telemetry.ConnectionStart, telemetry.Block)
	watched.Judgement.Verdict, cut.Judgement.Verdict = telemetry.Detected, telemetry.Blocked
	p.Connections([]telemetry.Connection{watched, watched, cut}, began)
	assert.Equal(t, []Entry{
		{Key: Key{Address: watched.Tuple.Source}, Counts: Counts{Connections: 2, WouldBlock: 2}},
		{Key: Key{Address: cut.Tuple.Source}, Counts: Counts{Connections: 1, Blocked: 1}},
	}, p.Top(Sources, ByBlocked, time.Hour, 10, began))
	assert.Equal(t, Counts{Connections: 3, Blocked: 1, WouldBlock: 2}, p.Series(time.Hour, began)[0].Counts)
}

func TestNames(t *testing.T) {
	p := New()
	p.Exchanges([]telemetry.Exchange{
		{HTTP: &telemetry.HTTPExchange{Host: "a.example"}},
		{TLS: &telemetry.TLSExchange{ServerName: "a.example"}},
		{DNS: &telemetry.DNSExchange{Name: "b.example"}, Judgement: telemetry.Judgement{Verdict: telemetry.Blocked}},
		{SSH: &telemetry.SSHExchange{}},
		{DNS: &telemetry.DNSExchange{Name: string(make([]byte, 1000))}},
	}, began)
	top := p.Top(Names, ByConnections, time.Hour, 10, began)
	require.Len(t, top, 3)
	assert.Equal(t, Entry{Key: Key{Text: "a.example"}, Counts: Counts{Connections: 2}}, top[0])
	for _, e := range top {
		assert.LessOrEqual(t, len(e.Key.Text), maxName)
	}
}

// The greatest are found among very many, and memory stays bounded.
func TestHeavyHitters(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s top
	exact := map[Key]uint64{}
	for range 200_000 {
		key := Key{Port: uint16(random.Uint32())}
		if random.IntN(4) == 0 {
			key = Key{Protocol: 1, Port: uint16(random.IntN(8))}
		}
		exact[key]++
		s.add(&key, 1, &Counts{Connections: 1})
	}
	require.Len(t, s.order, capacity)
	require.Len(t, s.entries, capacity)
	for port := range uint16(8) {
		c := s.entries[Key{Protocol: 1, Port: port}]
		require.NotNil(t, c, port)
		n := exact[c.key]
		assert.LessOrEqual(t, n, c.weight)
		assert.LessOrEqual(t, c.weight-c.error, n)
		assert.LessOrEqual(t, c.counts.Connections, n)
	}
	for key, c := range s.entries {
		require.Equal(t, key, c.key)
		require.Same(t, c, s.order[c.place])
		require.GreaterOrEqual(t, c.weight, s.order[(max(c.place, 1)-1)/2].weight)
	}
}

func BenchmarkConnections(b *testing.B) {
	p := New()
	records := make([]telemetry.Connection, 1024)
	for i := range records {
		records[i] = connection(byte(i), uint16(i*7), telemetry.ConnectionStart, telemetry.Block)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Connections(records, began)
	}
	b.ReportMetric(float64(b.N)*1024/b.Elapsed().Seconds(), "records/s")
}
