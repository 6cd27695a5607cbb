package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// wantsJSON says whether --json was given.
func wantsJSON(c *cobra.Command) bool {
	is, err := c.Flags().GetBool("json")
	return err == nil && is
}

// printJSON writes a value as indented JSON.
func printJSON(c *cobra.Command, value any) error {
	e := json.NewEncoder(c.OutOrStdout())
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return failedWith(e.Encode(value))
}

// complete lets a shell complete a flag with some words.
func complete(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // it exists, once
}

func printLine(c *cobra.Command, format string, args ...any) {
	fmt.Fprintf(c.OutOrStdout(), format+"\n", args...)
}

// clean keeps what came from files and connections from driving the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// count is a number with its word: "1 rule", "2 rules".
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
