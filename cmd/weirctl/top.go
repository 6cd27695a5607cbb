package main

import (
	"context"
	"fmt"
	"net/url"
	"os/signal"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/apiclient"
)

// topFlags are those of top.
type topFlags struct {
	window, interval time.Duration
	by               string
	rows, rounds     int
}

func topCommand() *cobra.Command {
	var f topFlags
	c := &cobra.Command{
		Use:   "top",
		Short: "Show who talks most, and which rules decide",
		Long: `Shows the greatest sources, destinations, ports, rules and names of the last
minutes, and how many connections begin and are blocked, or would be in mode
prevent, each second. On a terminal it is shown again every --interval, until it is interrupted; elsewhere it is printed
once.`,
		Example: "  weirctl top --by blocked --window 15m",
		Args:    cobra.NoArgs,
	}
	api := live(c)
	c.Flags().DurationVar(&f.window, "window", 5*time.Minute, "of which time: 1m to 1h")
	c.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "time between two views")
	c.Flags().StringVar(&f.by, "by", "connections", "connections, bytes or blocked")
	c.Flags().IntVar(&f.rows, "rows", 0, "rows of each kind, to 100; the default is what fits, or 10")
	c.Flags().IntVar(&f.rounds, "count", 0, "end after so many views; the default is without end on a terminal, 1 elsewhere")
	complete(c, "by", "connections", "bytes", "blocked")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if f.interval < 100*time.Millisecond {
			return fmt.Errorf("--interval %v is not accepted; accepted: 100ms and more", f.interval)
		}
		ctx, stop := signal.NotifyContext(c.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		c.SetContext(ctx)
		v := &topView{flags: f, screen: isTerminal(c.OutOrStdout()) && !wantsJSON(c)}
		if v.flags.rounds == 0 && !v.screen {
			v.flags.rounds = 1
		}
		return v.run(c, api)
	}
	return c
}

// topView shows statistics.
type topView struct {
	flags  topFlags
	screen bool // on a terminal: each view takes the place of the one before
	before map[time.Time]apiclient.Counts
	at     time.Time // of the view before
}

func (v *topView) run(c *cobra.Command, api *apiFlags) error {
	if v.screen { // the alternate screen, without a cursor; left as it was
		fmt.Fprint(c.OutOrStdout(), "\x1b[?1049h\x1b[?25l")
		defer fmt.Fprint(c.OutOrStdout(), "\x1b[?25h\x1b[?1049l")
	}
	for round := 1; ; round++ {
		width, height := terminalSize(c.OutOrStdout())
		rows := v.flags.rows
		if rows == 0 && v.screen {
			rows = min(max((height-3)/5-2, 1), 100)
		} else if rows == 0 {
			rows = 10
		}
		var s apiclient.Statistics
		var h apiclient.Health
		err := api.call(c, func(ctx context.Context, client *apiclient.Client) (err error) {
			if h, err = client.Health(ctx); err != nil {
				return err
			}
			s, err = client.Statistics(ctx, url.Values{
				"window": {v.flags.window.String()}, "by": {v.flags.by}, "top": {strconv.Itoa(rows)},
			})
			return err
		})
		if c.Context().Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			err = printJSON(c, s)
		} else {
			text := v.text(&h, &s, time.Now())
			if v.screen {
				text = fit(text, width, height)
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
		}
		if err != nil || round == v.flags.rounds {
			return failedWith(err)
		}
		select {
		case <-time.After(v.flags.interval):
		case <-c.Context().Done():
			return nil
		}
	}
}

// text is one view.
func (v *topView) text(h *apiclient.Health, s *apiclient.Statistics, now time.Time) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  generation %d  %s  %d live  %d blocked", orElse(h.Mode, "detect"), h.Generation, h.Status, s.Active, s.Blocked)
	if s.WouldBlock > 0 {
		fmt.Fprintf(&out, ", %d would be,", s.WouldBlock)
	}
	fmt.Fprintf(&out, " since %s\n", moment(s.Since))
	fmt.Fprintf(&out, "%s\n", v.rates(s, now))
	for _, kind := range []struct {
		name string
		tops []apiclient.Top
	}{
		{"SOURCES", s.Top.Sources}, {"DESTINATIONS", s.Top.Destinations}, {"PORTS", s.Top.Ports}, {"RULES", s.Top.Rules}, {"NAMES", s.Top.Names},
	} {
		if len(kind.tops) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%-39s %11s %7s %11s %8s\n", kind.name, "CONNECTIONS", "BLOCKED", "WOULD BLOCK", "BYTES")
		for _, t := range kind.tops {
			fmt.Fprintf(&out, "%-39s %11d %7d %11d %8s", clean(t.Key), t.Connections, t.Blocked, t.WouldBlock, bytesText(t.Bytes))
			if t.Error > 0 {
				fmt.Fprintf(&out, "  up to %d more", t.Error)
			}
			out.WriteByte('\n')
		}
	}
	if s.Missed > 0 {
		fmt.Fprintf(&out, "\n%d records came too fast to be counted here\n", s.Missed)
	}
	return out.String()
}

// rates are of the time since the view before, or of the whole window.
func (v *topView) rates(s *apiclient.Statistics, now time.Time) string {
	var sum apiclient.Counts
	counts := map[time.Time]apiclient.Counts{}
	for _, p := range s.Series {
		counts[p.Time] = p.Counts
		before := v.before[p.Time] // of a minute that is new, none
		sum.Connections += p.Connections - min(before.Connections, p.Connections)
		sum.Blocked += p.Blocked - min(before.Blocked, p.Blocked)
		sum.WouldBlock += p.WouldBlock - min(before.WouldBlock, p.WouldBlock)
		sum.Bytes += p.Bytes - min(before.Bytes, p.Bytes)
	}
	took, of := v.flags.window, "the last "+s.Window
	if v.before != nil {
		took, of = now.Sub(v.at), "the last "+now.Sub(v.at).Round(100*time.Millisecond).String()
	}
	v.before, v.at = counts, now
	each := func(n uint64) float64 { return float64(n) / took.Seconds() }
	would := ""
	if sum.WouldBlock > 0 {
		would = fmt.Sprintf("  %.1f would be/s", each(sum.WouldBlock))
	}
	return fmt.Sprintf("%.1f connections/s  %.1f blocked/s%s  %s/s of connections that ended  (%s)", each(sum.Connections), each(sum.Blocked), would, bytesText(uint64(each(sum.Bytes))), of)
}

// fit is a text on a cleared screen: lines that are too long are cut, and those that
// are too many left out.
func fit(text string, width, height int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	lines = lines[:min(len(lines), height)]
	for i, line := range lines {
		if utf8.RuneCountInString(line) > width {
			lines[i] = string([]rune(line)[:width])
		}
	}
	return "\x1b[H\x1b[2J" + strings.Join(lines, "\r\n")
}
