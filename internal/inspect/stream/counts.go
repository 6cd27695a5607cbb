package stream

// Counter is a cause that bytes, segments or connections are counted by.
type Counter uint8

// The counters. Bytes is the sum of those from Delivered to Released, and of what
// is held at the time (Budget.Waiting), whenever no segment is being read.
const (
	Segments Counter = iota // segments that came
	Bytes                   // their payload

	Delivered    // bytes that were offered to the caller and passed by it
	Skipped      // bytes that the caller did not want
	Repeated     // bytes that came again, and were compared or acknowledged before
	Unverified   // bytes that came again, or too late, and were no longer kept to compare
	BeforeStart  // bytes from before the first segment that was seen
	BeyondWindow // bytes too far ahead for any receiver's window
	BeyondEnd    // bytes beyond a FIN or a reset
	OverLimit    // bytes given up: a stream's own limit of bytes or pieces
	OverBudget   // bytes given up: the limit of all streams, of which this one had most
	Ignored      // bytes of connections that are released or evicted, and of SYNs that are not the connection's
	Released     // bytes that nobody had read when their connection was released or evicted

	Conflicting    // bytes that came again with other content; they are among Repeated
	Holes          // holes that were told
	HoleBytes      // their bytes, as far as the size is known
	SkippedHole    // bytes that never came, where the caller did not want them
	KeepAlives     // segments: one byte before what is expected, or none
	UrgentSegments // with urgent data, which the receiver may take out of the stream
	StrayReset     // segments: RST elsewhere than the receiver must take it
	StrayFIN       // segments: FIN elsewhere than the stream's end
	StraySYN       // segments: SYN of another initial sequence number
	StrayAck       // acknowledgments of what was not seen
	Midstream      // streams that began without a SYN
	Opened         // connections opened
	Evicted        // connections evicted for a source with fewer, or for a newer one of their own
	counterCount
)

var counterNames = [counterCount]string{
	"segments", "bytes", "delivered", "skipped", "repeated", "unverified", "before_start", "beyond_window",
	"after_end", "over_limit", "over_budget", "ignored", "released", "conflicting", "holes", "hole_bytes",
	"skipped_hole", "keep_alives", "urgent", "stray_reset", "stray_fin", "stray_syn", "stray_ack", "midstream",
	"opened", "evicted",
}

// String names the counter.
func (c Counter) String() string {
	if c < counterCount {
		return counterNames[c]
	}
	return "unknown"
}

// Counters calls each with every counter.
func (b *Budget) Counters(each func(Counter, uint64)) {
	for c, n := range b.counts {
		each(Counter(c), n)
	}
}

// Count is what was counted so far.
func (b *Budget) Count(c Counter) uint64 { return b.counts[c] }

func (b *Budget) count(c Counter, n uint64) { b.counts[c] += n }
