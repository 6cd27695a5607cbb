// Command weirctl is the companion of Weir for what has to work without the
// Collector.
package main

import (
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
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, datapath.Unload)) }

// unloader is datapath.Unload.
type unloader func(all, force bool) (removed []string, err error)

// run is the command; it returns the exit code.
func run(arguments []string, out, complaints io.Writer, unload unloader) int {
	root := &cobra.Command{
		Use:               "weirctl",
		Short:             "Companion of Weir, the connection firewall",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(unloadCommand(unload))
	root.SetArgs(arguments)
	root.SetOut(out)
	root.SetErr(complaints)
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(complaints, "weirctl:", err)
	var running *datapath.RunningError
	var failed *commandError
	switch {
	case errors.As(err, &running):
		return exitRunning
	case errors.As(err, &failed):
		return exitFailed
	}
	return exitUsage
}

// commandError is of a command that was understood.
type commandError struct{ error }

func (e *commandError) Unwrap() error { return e.error }
