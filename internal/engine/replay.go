package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirnet/weir/internal/capture"
	"github.com/weirnet/weir/internal/engine/inspector"
	"github.com/weirnet/weir/internal/flow"
	"github.com/weirnet/weir/internal/names"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/telemetry"
)

// ReplayConfig is what a replay is made with.
type ReplayConfig struct {
	// Path is that of a pcap or pcapng file, compressed with gzip or not.
	Path string
	// MaxEntries is the size of the flow table in connections.
	MaxEntries uint32
	Timeouts   Timeouts
	// UpdateInterval is the time between updates of a live connection, in the
	// capture's time; 0: none.
	UpdateInterval time.Duration
	Inspect        InspectConfig
	// Host are the addresses of the host that the capture was recorded on: what they
	// send is outbound, what is sent to them inbound. Empty: all is forwarded.
	Host []netip.Prefix
	// OnChange is told when rules expire, in the capture's time. It must not
	// block. It may be nil.
	OnChange func(telemetry.PolicyChange)
	// OnEnd is called once, after the last record was handed over, unless Shutdown
	// came first; err says what kept the rest of the file from being read. It may
	// be nil.
	OnEnd func(err error)
}

// Replay is an engine that takes a recorded file for the network. It runs at full
// speed, in the time of the capture, and needs no privilege. Nothing is enforced:
// a policy in mode prevent is told of as one in mode detect.
type Replay struct {
	config ReplayConfig
	log    *zap.Logger
	since  time.Time

	mu       sync.Mutex // guards all that follows
	reader   *capture.Reader
	frame    capture.Frame // read ahead
	frameErr error
	now      time.Time // of the capture; it does not go back
	swept    time.Time
	sweptAt  uint64 // packets by then
	packets  uint64
	started  uint64 // connections
	inspects bool
	decoded  packet.Packet
	tracker  *flow.Tracker
	inspect  *inspector.Inspector
	names    *names.Table
	pieces   *packet.Fragments
	whole    packet.Datagrams[sighted]
	versions versions
	expiry   time.Time
	matches  map[string]uint64 // of policies before
	events   []flow.Event
	records  []telemetry.Connection
	said     []telemetry.Exchange
	// saidAfter is how many of records came before each of said.
	saidAfter []int

	stop    chan struct{}
	running sync.WaitGroup
}

// rememberedFragments is as many first fragments as the kernel remembers.
const rememberedFragments = 4096

// NewReplay opens the file. Its first frame says when the capture's time begins.
func NewReplay(cfg ReplayConfig, log *zap.Logger) (*Replay, error) {
	if cfg.OnChange == nil {
		cfg.OnChange = func(telemetry.PolicyChange) {}
	}
	if cfg.OnEnd == nil {
		cfg.OnEnd = func(error) {}
	}
	reader, err := capture.Open(cfg.Path)
	if err != nil {
		return nil, err
	}
	r := &Replay{
		config: cfg, log: log, since: time.Now(), reader: reader,
		names:   names.NewTable(names.Limits{}),
		pieces:  packet.NewFragments(rememberedFragments),
		matches: make(map[string]uint64),
		stop:    make(chan struct{}),
	}
	r.whole.GivenUp = r.lookAtBeginning
	r.tracker = flow.New(flow.Config{MaxEntries: int(cfg.MaxEntries), Names: r.namesOf})
	r.names.SetResolvers(cfg.Inspect.Resolvers)
	if len(cfg.Inspect.Resolvers) == 0 {
		r.names.BelieveAnyone()
	}
	r.inspect = inspector.New(inspector.Config{
		Report: cfg.Inspect.report(), MaxBytes: cfg.Inspect.MaxBytes, Names: r.names,
	})
	r.frame, r.frameErr = reader.Next()
	r.now, r.swept = r.frame.Time, r.frame.Time
	return r, nil
}

// Start begins to replay, and hands records to sink from one goroutine. sink may
// block, and the replay waits.
func (r *Replay) Start(sink Sink) error {
	if r.versions.latest() == nil {
		if err := r.Apply(0, nil, nil); err != nil {
			return err
		}
	}
	r.running.Add(1)
	go func() {
		defer r.running.Done()
		r.run(sink)
	}()
	return nil
}

func (r *Replay) run(sink Sink) {
	for !r.stopped() {
		err := r.batch()
		r.hand(sink)
		if err != nil && !r.stopped() { // a sink may wait until Shutdown
			r.finish(err)
			return
		}
	}
}

// hand gives the records of both kinds to the sink, in the order in which they came.
func (r *Replay) hand(sink Sink) {
	told := 0
	for i := 0; i < len(r.said); {
		after := r.saidAfter[i]
		if after > told {
			sink.Connections(r.records[told:after])
			told = after
		}
		next := i + 1
		for next < len(r.said) && r.saidAfter[next] == after {
			next++
		}
		if sink.Exchanges != nil {
			sink.Exchanges(r.said[i:next])
		}
		i = next
	}
	if told < len(r.records) {
		sink.Connections(r.records[told:])
	}
}

func (r *Replay) stopped() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// replayBatch is how many frames are read before records are handed over.
const replayBatch = 1024

// batch reads some frames, and makes the records they give; an error once there are
// no more: io.EOF, or what is wrong with the file.
func (r *Replay) batch() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records, r.said, r.saidAfter = r.records[:0], r.said[:0], r.saidAfter[:0]
	for range replayBatch {
		if r.frameErr != nil {
			r.whole.Flush()
			r.inspect.Finish(r.now)
			r.settle()
			r.events = r.tracker.Flush(r.events[:0])
			r.record(true)
			return r.frameErr
		}
		r.advance(r.frame.Time)
		r.process()
		r.frame, r.frameErr = r.reader.Next()
	}
	return nil
}

// process shows the frame to the tracker, and to the inspector.
func (r *Replay) process() {
	r.packets++
	outcome := r.decoded.Decode(&r.frame.Frame)
	hook := r.hook()
	outcome = r.pieces.Follow(&r.decoded, outcome, hook.Number(), r.now)
	_, r.events = r.tracker.Process(&r.decoded, outcome, &hook, r.now.UnixNano(), r.events[:0])
	r.record(false)
	if r.inspects && (outcome == packet.Decoded || r.decoded.IsFragment) {
		r.look(outcome)
	}
}

// record turns the events into records; in the order of their times, where they
// come from a pass over the table.
func (r *Replay) record(sort bool) {
	if len(r.events) == 0 {
		return
	}
	if sort {
		slices.SortStableFunc(r.events, func(a, b flow.Event) int { return int(min(1, max(-1, a.Time-b.Time))) })
	}
	observed := time.Now()
	for i := range r.events {
		switch r.events[i].Kind {
		case flow.EventStart:
			r.started++
		case flow.EventEnd:
			r.inspect.Ended(r.events[i].ID, r.now)
		}
		r.records = append(r.records, r.recordOf(&r.events[i], observed))
	}
}

// finish tells what became of the file.
func (r *Replay) finish(err error) {
	stats := []zap.Field{
		zap.String("file", r.config.Path), zap.Uint64("packets", r.packets),
		zap.Uint64("connections", r.started), zap.Duration("took", time.Since(r.since).Round(time.Millisecond)),
	}
	var cut *capture.CutError
	switch {
	case errors.Is(err, io.EOF) && !errors.As(err, &cut):
		err = nil
		r.log.Info("The capture is replayed.", stats...)
	case errors.As(err, &cut):
		// As a recorder that was killed leaves it.
		r.log.Warn("The capture is replayed as far as it goes: its end is cut off.", append(stats, zap.Error(err))...)
		err = nil
	default:
		err = fmt.Errorf("replay %s: %w", r.config.Path, err)
		r.log.Error("The capture is replayed as far as it can be read.", append(stats, zap.Error(err))...)
	}
	if closing := r.reader.Close(); closing != nil {
		r.log.Warn("The capture file is not closed.", zap.Error(closing))
	}
	r.config.OnEnd(err)
}

// Shutdown ends the replay, where it is still running. It waits for a sink that
// blocks until ctx ends.
func (r *Replay) Shutdown(ctx context.Context) error {
	close(r.stop)
	ended := make(chan struct{})
	go func() {
		r.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("end the replay of %s: %w", r.config.Path, ctx.Err())
	}
	_ = r.reader.Close() // it may have been closed; nothing was written
	return nil
}
