package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/apiclient"
)

// Between attempts to subscribe again; doubled each time.
const (
	leastWait = 250 * time.Millisecond
	mostWait  = 10 * time.Second
)

func eventsCommand() *cobra.Command {
	var f filterFlags
	var kinds, names []string
	var after string
	var most int
	c := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens",
		Long: `Prints a line for each event of a running Weir, as it happens, until it is
interrupted. Where the connection to Weir is lost it goes on after the last event
that came, as far as Weir still has what follows; what is missing is told on standard
error. With --json, each line is an event as the API has it.`,
		Example: `  weirctl events --verdict blocked
  weirctl events --event weir.dns.query --name .example.com --json`,
		Args: cobra.NoArgs,
	}
	api := live(c)
	f.add(c)
	c.Flags().StringSliceVar(&kinds, "event", nil, "name of the event, such as weir.connection.start")
	c.Flags().StringSliceVar(&names, "name", nil, "of requests, handshakes and queries, as a policy has names")
	c.Flags().StringVar(&after, "after", "", "begin after the event with this id")
	c.Flags().IntVar(&most, "count", 0, "end after so many events")
	complete(c, "event", "weir.policy.change", "weir.connection.start", "weir.connection.verdict", "weir.connection.update",
		"weir.connection.end", "weir.http.request", "weir.tls.handshake", "weir.dns.query", "weir.ssh.handshake")
	c.RunE = func(c *cobra.Command, _ []string) error {
		client, err := api.client()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		query := f.query()
		if len(kinds) > 0 {
			query["event"] = kinds
		}
		if len(names) > 0 {
			query["name"] = names
		}
		s := &subscription{c: c, last: after, left: most}
		return api.told(s.follow(ctx, func(visit func(*apiclient.Event) bool) error {
			return client.Events(ctx, query, s.last, visit)
		}))
	}
	return c
}

// subscription prints events, and remembers where it is.
type subscription struct {
	c    *cobra.Command
	last string // the id of the last event that came
	left int    // so many are still to come; 0 from the start: without end
	err  error  // of the output
	came bool   // events, since the last attempt
}

// follow subscribes until nothing more is wanted, again and again once it has had a
// connection.
func (s *subscription) follow(ctx context.Context, subscribe func(func(*apiclient.Event) bool) error) error {
	wait, began := leastWait, false
	for {
		s.came = false
		at := time.Now()
		err := subscribe(s.take)
		if err == nil || s.err != nil || ctx.Err() != nil {
			return failedWith(s.err)
		}
		var problem *apiclient.Problem
		refused := errors.As(err, &problem)
		// A stream that ended was one; what never began has a reason to be told.
		began = began || s.came || !refused && time.Since(at) > time.Second
		if !began && !isEnd(err) || refused && problem.Status != http.StatusServiceUnavailable {
			return err
		}
		began = true
		if s.came {
			wait = leastWait
		}
		fmt.Fprintf(s.c.ErrOrStderr(), "weirctl: the connection to Weir is lost (%v); trying again\n", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		wait = min(2*wait, mostWait)
	}
}

func (s *subscription) take(e *apiclient.Event) bool {
	s.came = true
	s.last = orElse(e.ID, s.last)
	if e.Event == apiclient.LostEvent && !wantsJSON(s.c) {
		if e.Lost != nil && *e.Lost > 0 {
			fmt.Fprintf(s.c.ErrOrStderr(), "weirctl: %s are missing here\n", count(int(*e.Lost), "event"))
		} else {
			fmt.Fprintln(s.c.ErrOrStderr(), "weirctl: events may be missing here; nobody knows how many")
		}
		return true
	}
	if wantsJSON(s.c) {
		encoder := json.NewEncoder(s.c.OutOrStdout())
		encoder.SetEscapeHTML(false)
		s.err = encoder.Encode(e)
	} else {
		_, s.err = fmt.Fprintf(s.c.OutOrStdout(), "%s  %s\n", moment(e.Time), clean(e.Body))
	}
	if s.err != nil {
		return false
	}
	if s.left > 0 && e.Event != apiclient.LostEvent {
		s.left--
		return s.left > 0
	}
	return true
}

// isEnd says whether a stream that was there has ended.
func isEnd(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
