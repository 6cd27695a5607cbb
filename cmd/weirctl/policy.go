package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/policy"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Check and compare policies"}
	c.AddCommand(checkCommand(), diffCommand(), schemaCommand())
	return c
}

func schemaCommand() *cobra.Command {
	var oneFile bool
	c := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of policies, for editors",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			schema := policy.Schema()
			if oneFile {
				schema = policy.ServiceSchema()
			}
			_, err := c.OutOrStdout().Write(schema)
			return failedWith(err)
		},
	}
	c.Flags().BoolVar(&oneFile, "one-file", false, "that of files for the scheme weir:")
	return c
}

// checked is what became of one policy.
type checked struct {
	File          string   `json:"file"`
	OK            bool     `json:"ok"`
	Mode          string   `json:"mode,omitempty"`
	DefaultAction string   `json:"default_action,omitempty"`
	Rules         int      `json:"rules"`
	Capabilities  []string `json:"capabilities,omitempty"`
	// OneFile are the keys that only a file for the scheme weir: may have.
	OneFile  []string   `json:"one_file,omitempty"`
	Errors   []problem  `json:"errors,omitempty"`
	Warnings []oddities `json:"warnings,omitempty"`
}

type problem struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Key      string `json:"key,omitempty"`
	Found    string `json:"found"`
	Accepted string `json:"accepted,omitempty"`
	Hint     string `json:"hint,omitempty"`
	text     string
}

type oddities struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Rule string `json:"rule,omitempty"`
	Text string `json:"text"`
	line string
}

func checkCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check policies and the lists that they name",
		Long: `Reads policies as Weir does, and says what is wrong: file, line, key, what was
found and what is accepted. "-" is standard input. The keys of a file for the
scheme weir: are checked as well.

Exit codes: 0 all are right; 1 one has errors, or with --strict warnings.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			all, bad := make([]checked, 0, len(files)), false
			for _, file := range files {
				one := check(c, file)
				bad = bad || !one.OK || strict && len(one.Warnings) > 0
				all = append(all, one)
			}
			if wantsJSON(c) {
				if err := printJSON(c, all); err != nil {
					return err
				}
			} else {
				for i := range all {
					all[i].print(c)
				}
			}
			if bad {
				return quietly(exitFailed)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "take warnings for errors")
	return c
}

func check(c *cobra.Command, file string) checked {
	var one checked
	doc, err := document(c, file)
	one.File = doc.Name
	var p *policy.Policy
	var warnings []policy.Warning
	if err == nil {
		p, warnings, err = policy.Load(doc)
		one.OneFile, err = checkService(doc, err)
	}
	var all policy.Errors
	switch {
	case errors.As(err, &all):
		for _, e := range all {
			one.Errors = append(one.Errors, problem{e.File, e.Line, e.Column, e.Key, e.Found, e.Accepted, e.Hint, e.Error()})
		}
	case err != nil:
		one.Errors = append(one.Errors, problem{File: file, Found: err.Error(), text: clean(err.Error())})
	default:
		one.OK, one.Rules = true, len(p.Rules)
		one.Mode, one.DefaultAction, one.Capabilities = p.Mode.String(), p.DefaultAction.String(), p.Capabilities()
		// Those of a policy with errors come from what could not be read.
		for _, w := range warnings {
			one.Warnings = append(one.Warnings, oddities{w.File, w.Line, w.Rule, w.Text, w.String()})
		}
	}
	return one
}

// checkService checks the keys of a file for the scheme weir:, and joins what is
// wrong there with what is wrong with the policy.
func checkService(doc policy.Document, err error) ([]string, error) {
	_, other := policy.LoadService(doc)
	var all, more policy.Errors
	errors.As(err, &all)
	errors.As(other, &more)
	for _, e := range more {
		// What keeps either from reading is told by both.
		if !slices.ContainsFunc(all, func(known *policy.Error) bool { return known.Error() == e.Error() }) {
			all = append(all, e)
		}
	}
	if len(all) > 0 {
		return nil, all
	}
	return policy.ServiceKeysOf(doc), nil
}

func (one *checked) print(c *cobra.Command) {
	for _, e := range one.Errors {
		printLine(c, "%s", e.text)
	}
	for _, w := range one.Warnings {
		printLine(c, "warning: %s", w.line)
	}
	if one.OK {
		more := ""
		if len(one.OneFile) > 0 {
			more = "; for weir: " + strings.Join(one.OneFile, ", ")
		}
		printLine(c, "%s: ok: %s, mode %s, default_action %s%s", clean(one.File), count(one.Rules, "rule"), one.Mode, one.DefaultAction, more)
	}
}

func diffCommand() *cobra.Command {
	var exitCode bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell what changes from one policy to another",
		Long: `Compares what two policies say: settings, groups by their entries, and rules by
their names, with the criteria that changed. Comments, the order within lists and
short forms make no difference.

Exit codes: 0; with --exit-code 4 if there is a difference; 1 one has errors.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, files []string) error {
			before, err := document(c, files[0])
			if err != nil {
				return failedWith(err)
			}
			after, err := document(c, files[1])
			if err != nil {
				return failedWith(err)
			}
			d, err := policy.Diff(before, after)
			if err != nil {
				return failedWith(err)
			}
			if wantsJSON(c) {
				if err := printJSON(c, d); err != nil {
					return err
				}
			} else if d.Empty() {
				printLine(c, "no difference")
			} else {
				for _, line := range d.Lines() {
					printLine(c, "%s", line)
				}
			}
			if exitCode && !d.Empty() {
				return quietly(exitFound)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 4 if there is a difference")
	return c
}
