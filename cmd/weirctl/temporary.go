package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

func temporaryCommand(action, short string) *cobra.Command {
	var f ruleFlags
	var ttl time.Duration
	c := &cobra.Command{
		Use:   action + " [criteria] --for DURATION",
		Short: short,
		Long: `Puts a rule in force for a time, right after the safeguards and before the policy.
The kernel ends it, whether Weir runs or not; it survives changes of the policy.

Criteria are "and", values of one flag "or". Ends are ADDRESS, ADDRESS:PORT or :PORT,
where an address may be a prefix or a range, a port a range; of IPv6 with a port, the
address is in brackets. Ports without --transport are those of TCP and UDP.`,
		Example: fmt.Sprintf(`  weirctl %[1]s --direction inbound --source 198.51.100.0/24 --destination :22 --transport tcp --for 10m
  weirctl %[1]s --direction outbound --domain .example.com --for 1h --name example`, action),
		Args: cobra.NoArgs,
	}
	api := live(c)
	f.add(c.Flags())
	c.Flags().DurationVar(&ttl, "for", 0, "how long it is in force: 1s to 720h")
	_ = c.MarkFlagRequired("for") // it exists
	complete(c, "direction", "inbound", "outbound", "forwarded")
	complete(c, "transport", "tcp", "udp", "icmp", "icmpv6")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if ttl < time.Second || ttl > 720*time.Hour {
			return fmt.Errorf("--for %v is not accepted; accepted: 1s to 720h", ttl)
		}
		rule, err := f.rule(action)
		if err != nil {
			return err
		}
		text, err := json.Marshal(rule)
		if err != nil {
			return failedWith(err)
		}
		var made apiclient.TemporaryRule
		err = api.call(c, func(ctx context.Context, client *apiclient.Client) (err error) {
			made, err = client.AddRule(ctx, text, ttl)
			return err
		})
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			return printJSON(c, made)
		}
		printLine(c, "%s is in force until %s (weirctl revoke %[1]s)", clean(made.Name), moment(made.Expires))
		return nil
	}
	return c
}

var errNoCriteria = errors.New("without any criterion the rule would be for every connection; say which, such as --source or --destination")
