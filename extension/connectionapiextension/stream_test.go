package connectionapiextension

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/telemetry"
)

// subscription is a subscriber of a test.
type subscription struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel func()
}

func (b *bench) subscribe(query string, headers ...string) *subscription {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, "GET", "http://weir/v1/events?"+query, nil)
	require.NoError(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.http.Do(request)
	require.NoError(b.t, err)
	b.t.Cleanup(func() {
		cancel()
		response.Body.Close()
	})
	require.Equal(b.t, http.StatusOK, response.StatusCode)
	return &subscription{b.t, bufio.NewScanner(response.Body), cancel}
}

// next is the next event; whatever it has is as described.
func (s *subscription) next() (e apiclient.Event) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		data, isData := strings.CutPrefix(line, "data: ")
		if !isData && !strings.HasPrefix(line, "{") {
			continue
		}
		require.NoError(s.t, json.Unmarshal([]byte(data), &e))
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
		require.NoError(s.t, err)
		require.NoError(s.t, schemaAt(s.t, "/components/schemas/Event").Validate(value), line)
		return e
	}
	s.t.Fatal("the stream ended: ", s.lines.Err())
	return e
}

func query(name string) telemetry.Exchange {
	c := blocked(9)
	return telemetry.Exchange{
		Kind: telemetry.DNSQuery, Time: began, Protocol: "dns", DNS: &telemetry.DNSExchange{Name: name, Type: "A"},
		Connection: telemetry.ConnectionRef{Tuple: c.Tuple, Direction: c.Direction}, Judgement: c.Judgement,
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	all := b.subscribe("")
	sse := b.subscribe("", "Accept", "text/event-stream")
	filters := map[string]*subscription{}
	for _, f := range []string{
		"event=weir.policy.change", "verdict=blocked", "rule=a", "address=192.0.2.3", "name=.example", "event=weir.dns.query&verdict=blocked&name=**.example",
	} {
		filters[f] = b.subscribe(f)
	}
	b.Connections([]telemetry.Connection{connection(1), blocked(2), connection(3)})
	b.Exchanges([]telemetry.Exchange{query("a.test"), query("b.example")})
	b.PolicyChanged(telemetry.PolicyChange{Time: began, Change: telemetry.PolicyExpired, Generation: 1, Detail: "expired: x"})
	want := []string{
		"weir.connection.start", "weir.connection.start", "weir.connection.start", "weir.dns.query", "weir.dns.query", "weir.policy.change",
	}
	for i, name := range want {
		e := all.next()
		assert.Equal(t, name, e.Event)
		assert.Equal(t, began, e.Time)
		assert.Equal(t, e, sse.next())
		if i == 1 {
			assert.Equal(t, "WARN", e.Severity)
			assert.Equal(t, "192.0.2.2", e.Attributes["source.address"])
			assert.Equal(t, "blocked   outbound tcp 192.0.2.2:40000 → 203.0.113.7:443 eth0 rule=b", e.Body)
		}
	}
	for f, body := range map[string]string{
		"event=weir.policy.change": "expired: x", "verdict=blocked": "192.0.2.2:", "rule=a": "192.0.2.1:", "address=192.0.2.3": "192.0.2.3:",
		"name=.example": "b.example", "event=weir.dns.query&verdict=blocked&name=**.example": "b.example",
	} {
		assert.Contains(t, filters[f].next().Body, body, f)
	}
	for query, status := range map[string]int{"event=x": 400, "name=..": 400, "address=x": 400, "verdict=x": 400} {
		assert.Equal(t, status, b.call("GET", "/v1/events?"+query, "").status, query)
	}
	assert.Equal(t, http.StatusNotAcceptable, b.call("GET", "/v1/events", "", "Accept", "image/png").status)
}

// Who comes back goes on where it was, as far as that is still known.
func TestResume(t *testing.T) {
	b := newBench(t, map[string]any{"events": map[string]any{"buffer": 10}})
	first := b.subscribe("")
	send := func(from, to int) {
		for i := from; i <= to; i++ {
			b.Connections([]telemetry.Connection{connection(i)})
		}
	}
	send(1, 5)
	var last apiclient.Event
	for range 3 {
		last = first.next()
	}
	first.cancel()
	send(6, 8)
	again := b.subscribe("", "Last-Event-ID", last.ID)
	for i := 4; i <= 8; i++ {
		last = again.next()
		assert.Contains(t, last.Body, fmt.Sprintf("192.0.2.%d:", i))
	}
	again.cancel()
	send(9, 28)
	require.Eventually(t, func() bool { b.feed.ring.mu.RLock(); defer b.feed.ring.mu.RUnlock(); return b.feed.ring.next == 29 }, patience, time.Millisecond)
	late := b.subscribe("last_event_id=" + last.ID)
	lost := late.next()
	assert.Equal(t, apiclient.LostEvent, lost.Event)
	assert.EqualValues(t, 10, *lost.Lost, "9 to 18")
	assert.Contains(t, late.next().Body, "192.0.2.19:")

	for _, id := range []string{"otherprocess.3", "x", last.ID + "00", "%0a%0aevent:%20x"} {
		s := b.subscribe("last_event_id=" + id)
		lost := s.next()
		assert.Equal(t, apiclient.LostEvent, lost.Event, id)
		assert.Zero(t, *lost.Lost, "nobody knows")
		assert.Contains(t, s.next().Body, "192.0.2.19:", "what is still there")
	}
}

func TestTooManySubscribers(t *testing.T) {
	b := newBench(t, map[string]any{"events": map[string]any{"max_subscribers": 2}})
	b.subscribe("")
	b.subscribe("")
	assert.Equal(t, http.StatusServiceUnavailable, b.call("GET", "/v1/events", "").status)
}

// A hundred subscribers, of whom ten are stuck: the others lose nothing, whoever
// tells is not held up, and memory is bounded.
func TestStuckSubscribers(t *testing.T) {
	const subscribers, stuck, events = 100, 10, 20_000
	b := newBench(t, map[string]any{"events": map[string]any{"write_timeout": "2s", "buffer": 2 * events}})
	for range stuck {
		c, err := net.Dial("unix", b.socket)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("GET /v1/events HTTP/1.1\r\nHost: weir\r\n\r\n"))
		require.NoError(t, err)
	}
	var got [subscribers - stuck]atomic.Int64
	var lost atomic.Int64
	var readers sync.WaitGroup
	for i := range got {
		// One in ten wants everything, the others a tenth.
		filter := "address=192.0.2.7"
		if i%10 == 0 {
			filter = ""
		}
		s := b.subscribe(filter)
		readers.Go(func() {
			for s.lines.Scan() {
				switch line := s.lines.Text(); {
				case strings.Contains(line, apiclient.LostEvent):
					lost.Add(1)
				case strings.HasPrefix(line, "{"):
					got[i].Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return b.feed.subscribers.Load() == subscribers }, patience, time.Millisecond)
	batch := make([]telemetry.Connection, 100)
	for i := range batch {
		batch[i] = connection(i % 10)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin, longest := time.Now(), time.Duration(0)
	for range events / len(batch) {
		at := time.Now()
		b.Connections(batch)
		longest = max(longest, time.Since(at))
		time.Sleep(5 * time.Millisecond) // 20,000 in a second
	}
	took := time.Since(begin)
	require.Eventually(t, func() bool {
		for i := range got {
			want := int64(events / 10)
			if i%10 == 0 {
				want = events
			}
			if got[i].Load() != want {
				return false
			}
		}
		return true
	}, 60*time.Second, 10*time.Millisecond)
	assert.Zero(t, lost.Load())
	assert.Zero(t, b.feed.missed.Load())
	assert.Zero(t, b.feed.overrun.Load())
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(100<<20))
	require.Eventually(t, func() bool { return b.feed.subscribers.Load() == subscribers-stuck }, patience, 10*time.Millisecond, "the stuck ones are cut off")
	t.Logf("%d events in %v, the longest call took %v; %d MiB more", events, took, longest, (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>20)
	require.NoError(t, b.Shutdown(context.Background()))
	readers.Wait()
}

// A subscriber that takes nothing does not hold up the end, and is no failure of it.
func TestEndWithAStuckSubscriber(t *testing.T) {
	b := newBench(t)
	c, err := net.Dial("unix", b.socket)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("GET /v1/events HTTP/1.1\r\nHost: weir\r\n\r\n"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.feed.subscribers.Load() == 1 }, patience, time.Millisecond)
	for range 20 {
		b.Connections(make([]telemetry.Connection, 1000))
	}
	require.Eventually(t, func() bool { return b.feed.waiting.Load() == 0 }, patience, time.Millisecond)
	time.Sleep(100 * time.Millisecond) // it is stuck
	began := time.Now()
	require.NoError(t, b.Shutdown(context.Background()))
	assert.Less(t, time.Since(began), patience)
	assert.NoFileExists(t, b.socket)
}

// What comes too fast is counted, and told to those who subscribe.
func TestBehind(t *testing.T) {
	b := newBench(t)
	b.feed.stop() // nothing is taken up
	for range 100 {
		b.Connections(make([]telemetry.Connection, 1000))
	}
	b.PolicyChanged(telemetry.PolicyChange{})
	assert.EqualValues(t, 100_000-65_000, b.feed.missed.Load())
	assert.EqualValues(t, 65_000, b.feed.waiting.Load())
}

func TestHostileClients(t *testing.T) {
	b := newBench(t, map[string]any{"read_header_timeout": "1s", "read_timeout": "3s", "max_request_body_size": 1 << 20})
	dial := func() net.Conn {
		c, err := net.Dial("unix", b.socket)
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
		t.Cleanup(func() { c.Close() })
		return c
	}
	status := func(c net.Conn) string {
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	t.Run("2 GB", func(t *testing.T) {
		c := dial()
		fmt.Fprintf(c, "PUT /v1/policy HTTP/1.1\r\nHost: weir\r\nIf-Match: *\r\nContent-Length: %d\r\n\r\n", 2<<30)
		done := make(chan string, 1)
		go func() { done <- status(c) }()
		chunk := make([]byte, 1<<16)
		for i := range chunk {
			chunk[i] = '#'
		}
		sent := 0
		for ; sent < 2<<30; sent += len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				break
			}
		}
		assert.Less(t, sent, 8<<20)
		assert.Equal(t, "HTTP/1.1 413 Request Entity Too Large", <-done)
	})
	t.Run("no end of headers", func(t *testing.T) {
		c := dial()
		fmt.Fprint(c, "GET /v1/policy HTTP/1.1\r\nHost: ")
		began := time.Now()
		status(c)
		assert.Less(t, time.Since(began), patience)
	})
	t.Run("a body that does not come", func(t *testing.T) {
		c := dial()
		fmt.Fprint(c, "PUT /v1/policy HTTP/1.1\r\nHost: weir\r\nIf-Match: *\r\nContent-Length: 100\r\n\r\nmode:")
		assert.Equal(t, "HTTP/1.1 408 Request Timeout", status(c))
	})
	t.Run("compressed", func(t *testing.T) {
		c := dial()
		fmt.Fprint(c, "PUT /v1/policy HTTP/1.1\r\nHost: weir\r\nIf-Match: *\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx")
		assert.Contains(t, status(c), "HTTP/1.1 4")
	})
	t.Run("nested", func(t *testing.T) {
		a := b.call("PUT", "/v1/policy", strings.Repeat("[", 1<<20), "If-Match", "*")
		assert.Equal(t, http.StatusUnprocessableEntity, a.status)
	})
	t.Run("aliases", func(t *testing.T) {
		body := "a: &a [x,x,x,x,x,x,x,x,x]\n"
		for c := 'b'; c < 'k'; c++ {
			body += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
		}
		a := b.call("PUT", "/v1/policy", body, "If-Match", "*")
		assert.Equal(t, http.StatusUnprocessableEntity, a.status)
	})
	var p apiclient.Policy
	b.get("/v1/policy", &p)
	assert.Equal(t, oneRule, p.Document)
	assert.Len(t, b.logs.FilterMessage("A call was refused").All(), 4)
	told := strings.Join(b.audit(4), "\n")
	for _, want := range []string{"request body too large", "the body did not come", "exceeded max depth", "unknown key"} {
		assert.Contains(t, told, want)
	}
}
