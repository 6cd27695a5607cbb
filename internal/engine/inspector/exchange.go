package inspector

import (
	"time"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/telemetry"
)

// exchange begins the record of what was completed by the packet at hand.
func (i *Inspector) exchange(c *conn, kind telemetry.Kind, v *verdict) telemetry.Exchange {
	return telemetry.Exchange{
		Kind: kind, Time: i.now, Observed: time.Time{}, Connection: c.ref(), Judgement: i.judgement(v),
	}
}

// recause says of facts for which bytes are missing why they are: a parser knows only
// that it was not shown them.
func (c *conn) recause(f *policy.Facts) {
	if c.loss == 0 {
		return
	}
	recause(&f.Application, c.loss)
	recause(&f.HTTP.Host, c.loss)
	recause(&f.HTTP.Path, c.loss)
	recause(&f.HTTP.Method, c.loss)
	recause(&f.HTTP.Headers, c.loss)
	recause(&f.HTTP.Version, c.loss)
	recause(&f.TLS.ServerName, c.loss)
	recause(&f.TLS.Version, c.loss)
	recause(&f.TLS.ECH, c.loss)
	recause(&f.DNS.Name, c.loss)
	recause(&f.DNS.Type, c.loss)
	recause(&f.SSH.Software, c.loss)
}

func recause[T any](f *policy.Fact[T], to policy.Cause) {
	if f.State == policy.Unobtainable && f.Cause == policy.NotSeen {
		f.Cause = to
	}
}
