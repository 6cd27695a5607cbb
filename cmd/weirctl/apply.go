package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

// confirmDefault is how long a change stays without a confirmation where somebody
// can be asked for it.
const confirmDefault = 2 * time.Minute

// applyFlags are those of apply.
type applyFlags struct {
	dryRun, yes bool
	within      time.Duration
}

func applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply FILE",
		Short: "Put a policy in force, with a way back",
		Long: `Asks a running Weir what a policy would change, and which live connections it would
cut; shows that, and puts it in force once you agree. Then asks whether you are still
there. Who does not answer has the policy before again, by the kernel's clock, even
if Weir or this command is killed meanwhile. The policy file is written when the
change is confirmed.

Without a terminal, --yes is needed, and the change stays as --confirm-within says, or
the setting confirm_within of Weir; confirm it with "weirctl confirm".

Refused where somebody else has changed the policy meanwhile.

Exit codes: 0 in force, or nothing to change; 1 failed, or a policy has errors; 2
usage; 4 you did not agree, or did not confirm it.`,
		Example: `  weirctl apply policy.yaml
  weirctl apply policy.yaml --dry-run
  weirctl apply policy.yaml --yes --confirm-within 5m && ./still-works && weirctl confirm`,
		Args: cobra.ExactArgs(1),
	}
	api := live(c)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only tell what it would do")
	c.Flags().BoolVar(&f.yes, "yes", false, "put it in force without asking")
	c.Flags().DurationVar(&f.within, "confirm-within", 0, "how long it stays unless it is confirmed; the default is 2m on a terminal")
	c.RunE = func(c *cobra.Command, files []string) error {
		if f.within != 0 && f.within < time.Second {
			return fmt.Errorf("--confirm-within %v is too short; accepted: 1s to 24h", f.within)
		}
		doc, err := document(c, files[0])
		if err != nil {
			return failedWith(err)
		}
		a := &application{c: c, api: api, flags: f, name: doc.Name, content: doc.Content}
		if files[0] != "-" {
			a.person = newPerson(c)
		}
		if a.person == nil && !f.yes && !f.dryRun {
			return errors.New("nobody can be asked: standard input is no terminal; say --yes, or --dry-run")
		}
		return a.run()
	}
	return c
}

// application puts one policy in force.
type application struct {
	c       *cobra.Command
	api     *apiFlags
	flags   applyFlags
	name    string // of the file
	content []byte
	person  *person // nil: there is nobody to ask
}

// applied is what --json prints: what it does, with the connections that it was to
// cut.
type applied struct {
	apiclient.Replaced
	Applied   bool `json:"applied"`
	Confirmed bool `json:"confirmed"`
}

func (a *application) run() error {
	var done applied
	var etag string
	same := false
	err := a.api.call(a.c, func(ctx context.Context, client *apiclient.Client) error {
		// In this order a change by somebody else in between is noticed.
		p, err := client.Policy(ctx)
		if err != nil {
			return err
		}
		etag = p.ETag
		done.Replaced, err = client.PutPolicy(ctx, a.content, etag, true, 0)
		same = done.ETag == etag
		return a.inFile(err, p.Source)
	})
	if err != nil {
		return err
	}
	a.tell(&done, same)
	if a.flags.dryRun || same {
		return a.result(&done)
	}
	if !a.flags.yes {
		answer, err := a.person.ask("Put it in force? [y/N] ", time.Time{})
		if err != nil {
			return failedWith(err)
		}
		if !answer {
			fmt.Fprintln(a.c.ErrOrStderr(), "Nothing was changed.")
			return quietly(exitFound)
		}
	}
	within := a.flags.within
	if within == 0 && a.person != nil && !a.flags.yes {
		within = confirmDefault
	}
	err = a.api.call(a.c, func(ctx context.Context, client *apiclient.Client) error {
		replaced, err := client.PutPolicy(ctx, a.content, etag, false, within)
		replaced.Cuts, replaced.CutCount = done.Cuts, done.CutCount
		done.Replaced, done.Applied = replaced, err == nil
		return err
	})
	if err != nil {
		return err
	}
	return a.settle(&done)
}

// inFile tells problems of the policy by the file that they come from, instead of the
// one that it is to replace.
func (a *application) inFile(err error, source string) error {
	var problem *apiclient.Problem
	if errors.As(err, &problem) {
		for i, e := range problem.Errors {
			if rest, is := strings.CutPrefix(e.Message, source+":"); is {
				problem.Errors[i].Message = a.name + ":" + rest
			}
		}
	}
	return err
}

// settle asks for the confirmation, where one is wanted.
func (a *application) settle(done *applied) error {
	if done.Returns.IsZero() {
		a.say("Generation %d is in force.", done.Generation)
		return a.result(done)
	}
	a.say("Generation %d is in force; the policy before returns at %s unless it is confirmed.", done.Generation, moment(done.Returns))
	if a.person == nil {
		a.say("To confirm it: weirctl confirm")
		return a.result(done)
	}
	keep, err := a.person.ask("Are you still there, and is it to stay? [y/N] ", done.Returns)
	if errors.Is(err, errNoAnswer) {
		return &commandError{errors.New("nobody answered: the policy before is in force again"), exitFound}
	}
	if err != nil {
		return failedWith(fmt.Errorf("%w: the policy before returns at %s; to confirm this one: weirctl confirm", err, moment(done.Returns)))
	}
	err = a.api.call(a.c, func(ctx context.Context, client *apiclient.Client) error {
		if keep {
			_, err := client.Confirm(ctx)
			return err
		}
		_, err := client.RollBack(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if !keep {
		fmt.Fprintln(a.c.ErrOrStderr(), "The policy before is in force again.")
		return quietly(exitFound)
	}
	done.Confirmed, done.Returns = true, time.Time{}
	a.say("It stays.")
	return a.result(done)
}

// tell shows what a policy would do.
func (a *application) tell(r *applied, same bool) {
	for _, w := range r.Warnings {
		fmt.Fprintln(a.c.ErrOrStderr(), "warning:", clean(w))
	}
	switch {
	case same:
		a.say("It is the policy in force: nothing to change.")
		return
	case len(r.Changes) == 0:
		a.say("Only its text is another.")
	}
	for _, line := range r.Changes {
		a.say("%s", clean(line))
	}
	if r.CutCount == 0 {
		a.say("It cuts no live connection.")
		return
	}
	a.say("It cuts %s:", count(r.CutCount, "live connection"))
	for _, line := range r.Cuts {
		a.say("  %s", clean(line))
	}
	if more := r.CutCount - len(r.Cuts); more > 0 {
		a.say("  and %d more", more)
	}
}

// say prints a line for people.
func (a *application) say(format string, args ...any) {
	if !wantsJSON(a.c) {
		printLine(a.c, format, args...)
	} else if a.person != nil {
		fmt.Fprintf(a.c.ErrOrStderr(), format+"\n", args...)
	}
}

func (a *application) result(done *applied) error {
	if wantsJSON(a.c) {
		return printJSON(a.c, done)
	}
	return nil
}
