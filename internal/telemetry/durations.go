package telemetry

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirnet/weir/internal/packet"
)

// durationBounds are the upper bounds of the buckets, in seconds: from a
// refused connection to one that lasts for days.
var durationBounds = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}

// Durations is the histogram of how long connections lasted. Unlike the other
// metrics it is counted in user space, from the end of connections, and so
// begins anew with each process. It is safe for concurrent use.
type Durations struct {
	start time.Time

	mu     sync.Mutex
	series map[durationKey]*histogram
}

type durationKey struct {
	verdict   Verdict
	protocol  uint8
	direction packet.Direction
}

// NewDurations makes an empty histogram that counts from start.
func NewDurations(start time.Time) *Durations {
	return &Durations{start: start, series: make(map[durationKey]*histogram)}
}

// Observe counts the connections that ended. A folded record is left out: it
// does not tell how long each of its connections lasted.
func (d *Durations) Observe(connections []Connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range connections {
		c := &connections[i]
		if c.Kind == ConnectionEnd && !c.folded() {
			d.observe(c)
		}
	}
}

func (d *Durations) observe(c *Connection) {
	key := durationKey{c.Judgement.Verdict, c.Tuple.Protocol, c.Direction}
	switch key.protocol {
	case packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6:
	default:
		// As in Totals; else a scan over the protocols made 256 series.
		key.protocol = 0
	}
	h := d.series[key]
	if h == nil {
		h = newHistogram(durationBounds)
		d.series[key] = h
	}
	h.observe(c.Duration().Seconds())
}

func (d *Durations) append(metrics pmetric.MetricSlice, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.series) == 0 {
		return
	}
	at := instant{pcommon.NewTimestampFromTime(d.start), pcommon.NewTimestampFromTime(now)}
	points := appendHistogram(metrics, MetricDuration, "How long the connections that ended had lasted, from the first packet to the last.")
	for key, h := range d.series {
		attributes := h.appendTo(points, at)
		attributes.PutStr("network.transport", totalTransportName(key.protocol))
		attributes.PutStr("weir.direction", key.direction.String())
		attributes.PutStr("weir.verdict", key.verdict.String())
	}
}
