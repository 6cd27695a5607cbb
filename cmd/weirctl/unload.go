package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/datapath"
)

func unloadCommand(unload unloader) *cobra.Command {
	var all, force bool
	c := &cobra.Command{
		Use:   "unload",
		Short: "Take away what Weir has in the kernel: hooks and pins",
		Long: `Takes away what Weir has left in the kernel for this network namespace: the
programs in the hooks of its interfaces, and the pinned maps with live
connections and counters. Nothing is enforced after it. Works without a running
Weir, and needs root or CAP_BPF and CAP_NET_ADMIN.

Exit codes: 0 done, or nothing was there; 1 failed; 2 usage; 3 a Weir runs.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			removed, err := unload(all, force)
			if wantsJSON(c) {
				if err := printJSON(c, map[string][]string{"removed": append([]string{}, removed...)}); err != nil {
					return err
				}
			} else {
				for _, path := range removed {
					printLine(c, "removed %s", path)
				}
			}
			var running *datapath.RunningError
			if errors.As(err, &running) {
				return fmt.Errorf("%w; or say --force: it then goes on without hooks, and enforces nothing until it is restarted", err)
			}
			if err != nil {
				return failedWith(err)
			}
			if len(removed) == 0 && !wantsJSON(c) {
				printLine(c, "nothing to remove")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "of all network namespaces, also those that are gone")
	c.Flags().BoolVar(&force, "force", false, "even while a Weir runs")
	return c
}
