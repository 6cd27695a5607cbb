package connectionapiextension

import (
	"encoding/json"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/telemetry"
)

// event is one of the ring: one of its fields up to lost is set.
type event struct {
	connection *telemetry.Connection
	exchange   *telemetry.Exchange
	policy     *telemetry.PolicyChange
	lost       uint64 // events that came before this
	time       time.Time
	id         string

	once sync.Once
	json []byte
}

// weight is how many connections it takes the memory of, since strangers choose the
// length of what they say.
func (e *event) weight() int {
	if e.exchange == nil {
		return 1
	}
	return 3 + e.exchange.Size()/256
}

// name is that of its log record.
func (e *event) name() string {
	switch {
	case e.connection != nil:
		return e.connection.Kind.EventName()
	case e.exchange != nil:
		return e.exchange.Kind.EventName()
	case e.policy != nil:
		return telemetry.PolicyChangeEvent
	}
	return apiclient.LostEvent
}

// encoded is the event as JSON on one line; whoever wants it first makes it for all.
func (e *event) encoded() []byte {
	e.once.Do(func() { e.json = e.encode() })
	return e.json
}

func (e *event) encode() []byte {
	told := apiclient.Event{ID: e.id, Event: e.name(), Time: e.time}
	records := plog.NewLogRecordSlice()
	switch {
	case e.connection != nil:
		telemetry.AppendLog(records, e.connection)
	case e.exchange != nil:
		telemetry.AppendExchangeLog(records, e.exchange)
	case e.policy != nil:
		telemetry.AppendPolicyChange(records, e.policy)
	default:
		told.Lost = &e.lost
	}
	if records.Len() > 0 {
		r := records.At(0)
		told.Time = r.Timestamp().AsTime()
		told.Severity, told.Body, told.Attributes = r.SeverityText(), r.Body().Str(), r.Attributes().AsRaw()
	}
	told.Time = told.Time.UTC()
	text, err := json.Marshal(&told)
	if err != nil { // none of the types above can do that
		text, _ = json.Marshal(apiclient.Event{ID: e.id, Event: e.name(), Time: told.Time, Body: err.Error()})
	}
	return text
}
