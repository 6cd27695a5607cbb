package connectionapiextension

import (
	"net/http"
	"strconv"
	"time"

	"github.com/weirnet/weir/internal/apiclient"
	"github.com/weirnet/weir/internal/packet"
	"github.com/weirnet/weir/internal/profile"
)

func (a *api) getStatistics(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	window, err := duration(query.Get("window"), 5*time.Minute, profile.Step, profile.Window)
	if err != nil {
		return badRequest("window: %v", err)
	}
	words := []string{"connections", "bytes", "blocked"}
	measure, err := choice(query, "by", words...)
	if err != nil {
		return err
	}
	n, err := number(query, "top", 10, 1, 100)
	if err != nil {
		return err
	}
	now := a.now()
	told := apiclient.Statistics{
		Window: window.String(), By: words[measure], Series: []apiclient.Point{}, Missed: uint64(a.feed.missed.Load()),
	}
	if engine, err := a.engines.get(); err == nil {
		if totals, err := engine.Totals(); err == nil {
			told.Active, told.Since = totals.Active, totals.Since
			told.Blocked, told.WouldBlock = totals.Blocked()
		}
	}
	for _, p := range a.profile.Series(window, now) {
		told.Series = append(told.Series, apiclient.Point{Time: p.Time, Counts: apiclient.Counts(p.Counts)})
	}
	top := func(kind profile.Kind) []apiclient.Top {
		all := []apiclient.Top{}
		for _, e := range a.profile.Top(kind, profile.Measure(measure), window, n, now) {
			all = append(all, apiclient.Top{Key: keyText(kind, &e.Key), Counts: apiclient.Counts(e.Counts), Error: e.Error})
		}
		return all
	}
	told.Top = apiclient.Tops{
		Sources: top(profile.Sources), Destinations: top(profile.Destinations), Ports: top(profile.Ports),
		Rules: top(profile.Rules), Names: top(profile.Names),
	}
	return answer(w, told)
}

// keyText is a key as people write it: tcp/443.
func keyText(kind profile.Kind, k *profile.Key) string {
	switch kind {
	case profile.Sources, profile.Destinations:
		return k.Address.String()
	case profile.Ports:
		name := transportName(k.Protocol)
		if k.Protocol == packet.TCP || k.Protocol == packet.UDP {
			name += "/" + strconv.Itoa(int(k.Port))
		}
		return name
	}
	return k.Text
}

func (a *api) getHealth(w http.ResponseWriter, _ *http.Request) error {
	told := apiclient.Health{
		Status: "ok", Problems: []string{}, Version: a.set.BuildInfo.Version, Lost: map[string]uint64{},
		Subscribers: int(a.feed.subscribers.Load()),
	}
	problem := func(text string) {
		told.Status = "degraded"
		told.Problems = append(told.Problems, text)
	}
	engine, err := a.engines.get()
	if err != nil {
		problem(err.Error())
	} else {
		s := engine.State()
		told.Generation, told.Rules, told.Interfaces = s.Generation, s.Rules, s.Interfaces
		told.Flows, told.FlowsMost = s.FlowEntries, s.FlowCapacity
		for cause, n := range s.Lost {
			told.Lost[cause] = n
		}
		if s.Interfaces == 0 {
			problem("no interface is watched, so nothing is judged: none is there that the receiver's setting interfaces takes")
		}
	}
	if a.policies != nil {
		d, err := a.document()
		switch {
		case err != nil:
			problem(err.Error())
		default:
			told.Mode = d.Policy.Mode.String()
			if d.Problem != nil {
				problem(d.Problem.Error())
			}
			// The engine's state is up to a second old.
			if engine != nil && told.Generation != d.Number && a.now().Sub(d.Loaded) > 2*time.Second {
				problem("the policy in force is not that of the extension which holds it")
			}
		}
	}
	if n := a.feed.missed.Load(); n > 0 {
		told.Lost["api_behind"] = uint64(n)
	}
	return answer(w, told)
}
