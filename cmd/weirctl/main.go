// Command weirctl is the companion of Weir: it asks and changes a running one through
// its API, and does what has to work without the Collector.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/datapath"
)

// Exit codes.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRunning = 3 // a Weir runs
	exitFound   = 4 // what --exit-code looks for was found
)

// Groups of commands.
const (
	liveGroup  = "live"
	aloneGroup = "alone"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, datapath.Unload)) }

// unloader is datapath.Unload.
type unloader func(all, force bool) (removed []string, err error)

// run is the command; it returns the exit code.
func run(arguments []string, in io.Reader, out, complaints io.Writer, unload unloader) int {
	root := &cobra.Command{
		Use:   "weirctl",
		Short: "Companion of Weir, the connection firewall",
		Long: `Asks and changes a running Weir through its API, for root and the user that runs
Weir. Without one, and without rights, it checks, compares and tries policies, replays
captures, makes a policy of what was seen, and prints configurations; unload, for
root, takes away what Weir left in the kernel.

Exit codes: 0 done; 1 failed, or a policy has errors; 2 usage; 3 a Weir runs;
4 with --exit-code: differences, or something that would be blocked; of apply: it
does not stay.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().Bool("json", false, "print JSON")
	root.AddGroup(&cobra.Group{ID: liveGroup, Title: "Of a running Weir:"})
	root.AddCommand(statusCommand(), applyCommand(), confirmCommand(), rollBackCommand(), rulesCommand(), revokeCommand(),
		temporaryCommand("allow", "Allow connections for a time"), temporaryCommand("block", "Block connections for a time"),
		connectionsCommand(), eventsCommand(), topCommand())
	root.AddGroup(&cobra.Group{ID: aloneGroup, Title: "Without one:"})
	for _, c := range []*cobra.Command{policyCommand(), evaluateCommand(), replayCommand(), suggestCommand(), configCommand(), unloadCommand(unload)} {
		c.GroupID = aloneGroup
		root.AddCommand(c)
	}
	root.SetArgs(arguments)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(complaints)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	var running *datapath.RunningError
	var failed *commandError
	if errors.As(err, &failed) && failed.error == nil {
		return failed.code
	}
	fmt.Fprintln(complaints, "weirctl:", err)
	switch {
	case errors.As(err, &running):
		return exitRunning
	case errors.As(err, &failed):
		return failed.code
	}
	return exitUsage
}

// commandError is of a command that was understood. Without an error, all that is
// to be said was said.
type commandError struct {
	error
	code int
}

func (e *commandError) Unwrap() error { return e.error }

// failedWith is the error of a command that failed.
func failedWith(err error) error {
	if err == nil {
		return nil
	}
	return &commandError{err, exitFailed}
}

// quietly is an exit code without more words.
func quietly(code int) error { return &commandError{code: code} }
