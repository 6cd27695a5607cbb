package telemetry

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/weirnet/weir/internal/packet"
)

// dnsBounds are the upper bounds of the buckets of weir.dns.duration, in seconds:
// from an answer out of the memory of a resolver nearby to one after its last try.
var dnsBounds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Exchanges counts requests and queries. The series are told apart by closed
// vocabularies alone. Like Durations it begins anew with each process, and is safe
// for concurrent use.
type Exchanges struct {
	start time.Time

	mu        sync.Mutex
	requests  map[requestKey]uint64
	queries   map[queryKey]uint64
	durations map[answerKey]*histogram
}

type requestKey struct {
	method    string // known, or empty
	status    uint16 // known, or 0
	judgement judgementKey
}

type queryKey struct {
	question, response string // known, or empty
	service            string
	judgement          judgementKey
}

type answerKey struct {
	response, service string
	direction         packet.Direction
}

// judgementKey is what became of an exchange.
type judgementKey struct {
	verdict   Verdict
	action    Action
	direction packet.Direction
}

// NewExchanges makes counters that count from start.
func NewExchanges(start time.Time) *Exchanges {
	return &Exchanges{
		start:    start,
		requests: make(map[requestKey]uint64), queries: make(map[queryKey]uint64), durations: make(map[answerKey]*histogram),
	}
}

// Observe counts the exchanges.
func (x *Exchanges) Observe(exchanges []Exchange) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range exchanges {
		e := &exchanges[i]
		switch {
		case e.HTTP != nil:
			x.observeRequest(e)
		case e.DNS != nil:
			x.observeQuery(e)
		}
	}
}

func (x *Exchanges) observeRequest(e *Exchange) {
	key := requestKey{status: knownStatus(e.HTTP.Status), judgement: e.judgementKey()}
	if e.HTTP.Method != "" {
		key.method = knownMethod(e.HTTP.Method)
	}
	x.requests[key]++
}

func (x *Exchanges) observeQuery(e *Exchange) {
	d := e.DNS
	response, service := knownResponseCode(d.ResponseCode), knownService(d.Service)
	x.queries[queryKey{knownDNSType(d.Type), response, service, e.judgementKey()}]++
	if e.Answered.IsZero() {
		return
	}
	key := answerKey{response, service, e.Connection.Direction}
	h := x.durations[key]
	if h == nil {
		h = newHistogram(dnsBounds)
		x.durations[key] = h
	}
	h.observe(e.Duration().Seconds())
}

func (e *Exchange) judgementKey() judgementKey {
	return judgementKey{e.Judgement.Verdict, e.Judgement.Action, e.Connection.Direction}
}

func (x *Exchanges) append(metrics pmetric.MetricSlice, wanted MetricSet, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := instant{pcommon.NewTimestampFromTime(x.start), pcommon.NewTimestampFromTime(now)}
	if wanted.HTTPRequests && len(x.requests) > 0 {
		points := appendSum(metrics, MetricHTTPRequests, "{request}", "HTTP requests, by what became of them and how they were answered.", true)
		for key, count := range x.requests {
			attributes := at.add(points, count)
			putWord(attributes, "http.request.method", key.method)
			if key.status != 0 {
				attributes.PutInt("http.response.status_code", int64(key.status))
			}
			key.judgement.put(attributes)
		}
	}
	if wanted.DNSQueries && len(x.queries) > 0 {
		points := appendSum(metrics, MetricDNSQueries, "{query}", "DNS queries, by what became of them and how they were answered.", true)
		for key, count := range x.queries {
			attributes := at.add(points, count)
			putWord(attributes, "weir.dns.question.type", key.question)
			putWord(attributes, "weir.dns.response_code", key.response)
			attributes.PutStr("weir.dns.service", key.service)
			key.judgement.put(attributes)
		}
	}
	if wanted.DNSDuration && len(x.durations) > 0 {
		points := appendHistogram(metrics, MetricDNSDuration, "How long DNS queries took to be answered.")
		for key, h := range x.durations {
			attributes := h.appendTo(points, at)
			putWord(attributes, "weir.dns.response_code", key.response)
			attributes.PutStr("weir.dns.service", key.service)
			attributes.PutStr("weir.direction", key.direction.String())
		}
	}
}

func (k judgementKey) put(attributes pcommon.Map) {
	attributes.PutStr("weir.verdict", k.verdict.String())
	putWord(attributes, "weir.action", k.action.String())
	attributes.PutStr("weir.direction", k.direction.String())
}

// putWord puts a word of a vocabulary, unless there is none.
func putWord(attributes pcommon.Map, key, word string) {
	if word != "" {
		attributes.PutStr(key, word)
	}
}
