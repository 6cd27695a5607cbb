package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

// filterFlags are the filters of connections and events.
type filterFlags struct {
	verdicts, rules, addresses []string
}

func (f *filterFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.verdicts, "verdict", nil, "pending, detected, allowed or blocked; may be given again, as all that follow")
	c.Flags().StringSliceVar(&f.rules, "rule", nil, "name of the rule that decided")
	c.Flags().StringSliceVar(&f.addresses, "address", nil, `either end: an address, prefix or range; "!…" excepts`)
	complete(c, "verdict", "pending", "detected", "allowed", "blocked")
}

func (f *filterFlags) query() url.Values {
	query := url.Values{}
	for key, values := range map[string][]string{"verdict": f.verdicts, "rule": f.rules, "address": f.addresses} {
		if len(values) > 0 {
			query[key] = values
		}
	}
	return query
}

// connectionsPage is the most that the API hands over at a time.
const connectionsPage = 1000

func connectionsCommand() *cobra.Command {
	var f filterFlags
	var limit int
	c := &cobra.Command{
		Use:   "connections",
		Short: "List live connections",
		Long: `Lists the connections that the kernel's table has now, the latest first, with what
each end has sent (↑ the one that began, ↓ the other).`,
		Example: "  weirctl connections --address 192.0.2.0/24,!192.0.2.7 --verdict allowed",
		Args:    cobra.NoArgs,
	}
	api := live(c)
	f.add(c)
	c.Flags().IntVar(&limit, "limit", 100, "how many at most; 0: all")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if limit < 0 {
			return fmt.Errorf("--limit %d is not accepted; accepted: a number from 0", limit)
		}
		found := apiclient.Connections{Connections: []apiclient.Connection{}}
		err := api.call(c, func(ctx context.Context, client *apiclient.Client) error {
			query := f.query()
			for {
				size := connectionsPage
				if limit > 0 {
					size = min(size, limit-len(found.Connections))
				}
				query.Set("limit", strconv.Itoa(size))
				page, err := client.Connections(ctx, query)
				if err != nil {
					return err
				}
				if query.Get("cursor") == "" {
					found.Total = page.Total
				}
				found.Connections = append(found.Connections, page.Connections...)
				found.Next = page.Next
				if page.Next == "" || limit > 0 && len(found.Connections) >= limit {
					return nil
				}
				query.Set("cursor", page.Next)
			}
		})
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			return printJSON(c, found)
		}
		w := table(c)
		for i := range found.Connections {
			fmt.Fprintln(w, connectionRow(&found.Connections[i]))
		}
		if err := w.Flush(); err != nil {
			return failedWith(err)
		}
		if shown := len(found.Connections); found.Next != "" {
			printLine(c, "%d of %d live connections; --limit shows more", shown, found.Total)
		} else {
			printLine(c, "%s", count(shown, "live connection"))
		}
		return nil
	}
	return c
}

func connectionRow(c *apiclient.Connection) string {
	why := "reason=" + c.Reason
	if c.Rule != "" {
		why = "rule=" + clean(c.Rule)
	}
	if c.Action == "block" && c.Verdict != "blocked" {
		why = "would block " + why
	}
	protocol := c.Transport
	if c.Protocol != "" {
		protocol += " " + c.Protocol
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s → %s\t%s\t%s\t↑ %s ↓ %s\tsince %s", c.Verdict, c.Direction, clean(protocol), endText(&c.Source), endText(&c.Destination),
		clean(c.Interface), why, bytesText(c.Source.Bytes), bytesText(c.Destination.Bytes), moment(c.FirstSeen))
}

func endText(e *apiclient.End) string {
	if e.Port == 0 {
		return e.Address
	}
	return net.JoinHostPort(e.Address, strconv.Itoa(int(e.Port)))
}

// bytesText is a number of bytes with a decimal unit.
func bytesText(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.95 && unit < 5 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[unit])
}
