package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

// What was blocked and what would have been are told apart, also after a change of
// the mode.
func TestStatusCounts(t *testing.T) {
	since := time.Date(2026, 5, 4, 3, 2, 1, 0, time.Local)
	const blocked, wouldBlock = "blocked     %d since 2026-05-04 03:02:01\n", "would block %d since 2026-05-04 03:02:01\n"
	line := func(format, n string) string { return strings.Replace(format, "%d", n, 1) }
	for name, tt := range map[string]struct {
		policy     *policyInForce
		statistics apiclient.Statistics
		want       string
	}{
		"prevent":              {mode("prevent"), apiclient.Statistics{}, line(blocked, "0")},
		"prevent after detect": {mode("prevent"), apiclient.Statistics{Blocked: 3, WouldBlock: 40}, line(blocked, "3") + line(wouldBlock, "40")},
		"detect":               {mode("detect"), apiclient.Statistics{WouldBlock: 2}, line(wouldBlock, "2")},
		"detect after prevent": {mode("detect"), apiclient.Statistics{Blocked: 3}, line(blocked, "3") + line(wouldBlock, "0")},
		"no policy":            {nil, apiclient.Statistics{}, line(wouldBlock, "0")},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := &cobra.Command{}
			c.SetOut(&out)
			tt.statistics.Since = since
			s := status{Policy: tt.policy, Statistics: tt.statistics}
			s.print(c)
			_, counts, _ := strings.Cut(out.String(), "flow table\n")
			if counts != tt.want {
				t.Errorf("%q, want %q", counts, tt.want)
			}
		})
	}
}

func mode(m string) *policyInForce { return &policyInForce{Policy: apiclient.Policy{Mode: m}} }
