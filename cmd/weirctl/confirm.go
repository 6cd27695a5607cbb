package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

func confirmCommand() *cobra.Command {
	return settleCommand("confirm", "Let the policy stay that waits to be confirmed", "stays", (*apiclient.Client).Confirm)
}

func rollBackCommand() *cobra.Command {
	return settleCommand("rollback", "Return to the policy before the one that waits to be confirmed", "is in force, as the policy before", (*apiclient.Client).RollBack)
}

func settleCommand(use, short, done string, settle func(*apiclient.Client, context.Context) (apiclient.Generation, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	api := live(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var g apiclient.Generation
		err := api.call(c, func(ctx context.Context, client *apiclient.Client) (err error) {
			g, err = settle(client, ctx)
			return err
		})
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			return printJSON(c, g)
		}
		printLine(c, "Generation %d %s.", g.Generation, done)
		return nil
	}
	return c
}
