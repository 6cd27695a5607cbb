package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/apiclient"
)

// rulesPage is how many rules are asked for at a time: the most that there may be.
const rulesPage = 10_000

func rulesCommand() *cobra.Command {
	var temporary bool
	c := &cobra.Command{
		Use:   "rules",
		Short: "List the rules in force, and how often they decided",
		Long: `Lists the rules of a running Weir in the order of the walk: safeguards, temporary
rules, and the policy's. Matches are connections that a rule decided since the
kernel's counters began; the last match is known as far as this process of Weir saw
it.`,
		Args: cobra.NoArgs,
	}
	api := live(c)
	c.Flags().BoolVar(&temporary, "temporary", false, "only those that are in force for a time, with their text")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if temporary {
			return listTemporary(c, api)
		}
		var all apiclient.Rules
		err := api.call(c, func(ctx context.Context, client *apiclient.Client) (err error) {
			all, err = allRules(ctx, client)
			return err
		})
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			return printJSON(c, all)
		}
		w := table(c)
		fmt.Fprintln(w, "RULE\tACTION\tMATCHES\tLAST MATCH\tREMARKS")
		for i := range all.Rules {
			r := &all.Rules[i]
			last := "-"
			if !r.LastMatch.IsZero() {
				last = moment(r.LastMatch)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", clean(r.Name), r.Action, r.Matches, last, clean(remarks(r)))
		}
		return failedWith(w.Flush())
	}
	return c
}

// allRules are those of all pages. Where the policy is replaced meanwhile, it begins
// anew.
func allRules(ctx context.Context, client *apiclient.Client) (all apiclient.Rules, err error) {
	for {
		page, err := client.Rules(ctx, len(all.Rules), rulesPage)
		if err != nil {
			return all, err
		}
		if len(all.Rules) > 0 && page.Generation != all.Generation {
			all = apiclient.Rules{}
			continue
		}
		page.Rules = append(all.Rules, page.Rules...)
		if all = page; len(all.Rules) >= all.Total {
			return all, nil
		}
	}
}

func remarks(r *apiclient.Rule) string {
	var all []string
	if r.Shadow {
		all = append(all, "shadow")
	}
	if !r.Expires.IsZero() {
		all = append(all, "until "+moment(r.Expires))
	}
	if r.Line > 0 && !r.Temporary {
		all = append(all, fmt.Sprintf("line %d", r.Line))
	}
	if r.Description != "" {
		all = append(all, r.Description)
	}
	return strings.Join(all, "; ")
}

func listTemporary(c *cobra.Command, api *apiFlags) error {
	var rules []apiclient.TemporaryRule
	err := api.call(c, func(ctx context.Context, client *apiclient.Client) (err error) {
		rules, err = client.TemporaryRules(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return printJSON(c, rules)
	}
	if len(rules) == 0 {
		printLine(c, "There are no temporary rules.")
		return nil
	}
	w := table(c)
	fmt.Fprintln(w, "NAME\tUNTIL\tBY\tRULE")
	for _, r := range rules {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", clean(r.Name), moment(r.Expires), clean(r.By), clean(strings.Join(strings.Fields(r.Rule), " ")))
	}
	return failedWith(w.Flush())
}

func revokeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke NAME...",
		Short: "Take temporary rules out of force before their time",
		Args:  cobra.MinimumNArgs(1),
	}
	api := live(c)
	c.RunE = func(c *cobra.Command, names []string) error {
		revoked := []string{}
		err := api.call(c, func(ctx context.Context, client *apiclient.Client) error {
			for _, name := range names {
				if err := client.RemoveRule(ctx, name); err != nil {
					return err
				}
				revoked = append(revoked, name)
				if !wantsJSON(c) {
					printLine(c, "%s is revoked.", clean(name))
				}
			}
			return nil
		})
		if wantsJSON(c) {
			if err := printJSON(c, map[string][]string{"revoked": revoked}); err != nil {
				return err
			}
		}
		return err
	}
	return c
}

// table aligns columns that are separated by tabs.
func table(c *cobra.Command) *tabwriter.Writer {
	return tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
}

// moment is a time as people read it, of the local zone.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
