package connectionapiextension

import (
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Of a stream of events.
const (
	streamBatch = 256
	// heartbeat is how often something is sent where there are no events, so that
	// either end notices when the other is gone.
	heartbeat = 15 * time.Second
)

// streamFormat is how events are written.
type streamFormat struct {
	mediaType string
	beat      string
	append    func(buffer []byte, e *event) []byte
}

var (
	serverSentEvents = streamFormat{"text/event-stream", ":\n\n", func(buffer []byte, e *event) []byte {
		buffer = append(append(buffer, "id: "...), e.id...)
		buffer = append(append(buffer, "\nevent: "...), e.name()...)
		buffer = append(append(buffer, "\ndata: "...), e.encoded()...)
		return append(buffer, "\n\n"...)
	}}
	jsonLines = streamFormat{"application/x-ndjson", "\n", func(buffer []byte, e *event) []byte {
		return append(append(buffer, e.encoded()...), '\n')
	}}
)

func (a *api) streamEvents(w http.ResponseWriter, r *http.Request) error {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	format := &jsonLines
	switch accept := r.Header.Get("Accept"); {
	case strings.Contains(accept, serverSentEvents.mediaType):
		format = &serverSentEvents
	case accept != "" && !strings.Contains(accept, "json") && !strings.Contains(accept, "*/*"):
		return &callError{http.StatusNotAcceptable, "accepted are text/event-stream and application/x-ndjson", nil}
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("last_event_id")
	}
	// Whoever sees the subscriber counted may count on its being told of what follows.
	at, lost := a.feed.ring.place(last)
	if n := a.feed.subscribers.Add(1); n > int64(a.cfg.Events.MaxSubscribers) {
		a.feed.subscribers.Add(-1)
		return &callError{http.StatusServiceUnavailable, "there are as many subscribers as there may be (events::max_subscribers)", nil}
	}
	defer a.feed.subscribers.Add(-1)
	s := stream{
		feed: a.feed, filter: f, format: format, w: w, control: http.NewResponseController(w), timeout: a.cfg.Events.WriteTimeout,
	}
	w.Header().Set("Content-Type", format.mediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy is not to collect them
	if err := s.run(r, at, lost); err != nil {
		a.set.Logger.Warn("A subscriber to events was cut off", zap.String("caller", caller(r)), zap.Error(err))
	}
	return nil
}

// stream is one subscription.
type stream struct {
	feed    *feed
	filter  *filter
	format  *streamFormat
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	buffer  []byte
}

// run sends events, from a place on, until one of the ends is gone. The error is that of
// a subscriber that takes nothing.
func (s *stream) run(r *http.Request, at uint64, lost bool) error {
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	id := s.feed.ring.id(at - 1)
	if lost {
		s.lost(id, 0)
	}
	if err := s.flush(); err != nil { // the headers, so that the other end knows it has begun
		return nil
	}
	timer := time.NewTicker(heartbeat)
	defer timer.Stop()
	batch := make([]*event, streamBatch)
	for {
		n, next, gone, more := s.feed.ring.read(at, batch)
		at = next
		if gone > 0 {
			s.feed.overrun.Add(int64(gone))
			s.lost(id, gone)
		}
		for _, e := range batch[:n] {
			if s.filter.passes(e) {
				s.buffer = s.format.append(s.buffer, e)
			}
			id = e.id
		}
		clear(batch[:n])
		if len(s.buffer) > 0 {
			if err := s.flush(); err != nil {
				if r.Context().Err() != nil {
					return nil // it went
				}
				return err
			}
		}
		if more == nil {
			select {
			case <-s.feed.quit:
				return nil
			default:
				continue
			}
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return nil
		case <-s.feed.quit:
			return nil
		case <-timer.C:
			s.buffer = append(s.buffer, s.format.beat...)
			if err := s.flush(); err != nil {
				return nil
			}
		}
	}
}

// lost tells of events that are not sent, after the one that was sent last.
func (s *stream) lost(after string, n uint64) {
	s.buffer = s.format.append(s.buffer, &event{lost: n, time: time.Now(), id: after})
}

// flush writes what is there. The other end has so much time to take a part of it.
func (s *stream) flush() error {
	for begun := false; !begun || len(s.buffer) > 0; begun = true {
		if err := s.control.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return err
		}
		n, err := s.w.Write(s.buffer[:min(len(s.buffer), maxWrite)])
		if err != nil {
			return err
		}
		s.buffer = s.buffer[:copy(s.buffer, s.buffer[n:])]
		if err := s.control.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// maxWrite is how much is written within one deadline.
const maxWrite = 64 << 10
