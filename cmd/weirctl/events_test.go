package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

func TestEvents(t *testing.T) {
	b := newBench(t)
	b.tells()
	b.each(map[string][]string{
		"events --count 2 --verdict blocked":     {"blocked   inbound  tcp 203.0.113.99:40003 → 192.0.2.20:23 eth0 reason=default"},
		"events --count 1 --rule web --json":     {`"event":"weir.connection.start"`, `"security_rule.name":"web"`},
		"events --count 1 --address 203.0.113.7": {"rule=web"},
	})
}

// Who loses the connection goes on where it was, and says what is missing.
func TestEventsResume(t *testing.T) {
	var out, complaints strings.Builder
	c := &cobra.Command{}
	c.SetOut(&out)
	c.SetErr(&complaints)
	event := func(id string) *apiclient.Event { return &apiclient.Event{ID: id, Body: "body \x1b" + id} }
	lost := uint64(7)
	var asked []string
	s := &subscription{c: c, left: 4}
	attempts := []func(func(*apiclient.Event) bool) error{
		func(visit func(*apiclient.Event) bool) error {
			visit(event("a.1"))
			visit(event("a.2"))
			return fmt.Errorf("read events: %w", io.ErrUnexpectedEOF)
		},
		func(func(*apiclient.Event) bool) error { return errors.New("nobody answers") },
		func(func(*apiclient.Event) bool) error {
			return &apiclient.Problem{Status: http.StatusServiceUnavailable}
		},
		func(visit func(*apiclient.Event) bool) error {
			visit(&apiclient.Event{ID: "a.2", Event: apiclient.LostEvent, Lost: &lost})
			visit(&apiclient.Event{ID: "a.2", Event: apiclient.LostEvent, Lost: new(uint64)})
			if !visit(event("a.10")) || visit(event("a.11")) {
				t.Error("it ends too early, or too late")
			}
			return nil
		},
	}
	err := s.follow(t.Context(), func(visit func(*apiclient.Event) bool) error {
		asked = append(asked, s.last)
		return attempts[len(asked)-1](visit)
	})
	if err != nil || strings.Join(asked, ",") != ",a.2,a.2,a.2" {
		t.Errorf("%v, asked after %q", err, asked)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 5 || !strings.HasSuffix(lines[3], "body ?a.11") {
		t.Errorf("%q", lines)
	}
	holds(t, complaints.String(), "the connection to Weir is lost", "7 events are missing here", "nobody knows how many")
	refused := &apiclient.Problem{Status: http.StatusBadRequest}
	if err := s.follow(t.Context(), func(func(*apiclient.Event) bool) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a call that is refused: %v", err)
	}
}
