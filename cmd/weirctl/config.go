package main

import (
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/onefile"
	"github.com/weirnet/weir/internal/policy"
)

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config FILE",
		Short: "Print what a file for the scheme weir: comes to",
		Long: `Prints the Collector's configuration that "weir --config weir:FILE" runs with. The
rules stay in the file. Write it to a file of its own and go on from there, where the
one file is no longer enough: the setting one_file lets the extension connection_policy
read the rules of the same file as before.`,
		Example: "  weirctl config /etc/weir/weir.yaml > /etc/weir/config.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			content, err := readFile(files[0], policy.MaxPolicySize)
			if err != nil {
				return failedWith(err)
			}
			service, err := policy.LoadService(policy.Document{Name: files[0], Content: content})
			if err != nil {
				return failedWith(err)
			}
			path, err := filepath.Abs(files[0])
			if err != nil {
				return failedWith(err)
			}
			config := onefile.Configuration(service, onefile.Options{File: path})
			if wantsJSON(c) {
				return printJSON(c, config)
			}
			e := yaml.NewEncoder(c.OutOrStdout())
			e.SetIndent(2)
			return failedWith(e.Encode(config))
		},
	}
}
