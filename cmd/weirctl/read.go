package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirnet/weir/internal/policy"
)

// document reads a policy, which may be in a file for the scheme weir:; "-" is
// standard input. List files are relative to its folder, as they are for Weir.
func document(c *cobra.Command, path string) (policy.Document, error) {
	doc := policy.Document{Name: path, Service: true}
	folder := filepath.Dir(path)
	var err error
	if path == "-" {
		doc.Name, folder = "standard input", "."
		doc.Content, err = readAll(c.InOrStdin(), policy.MaxPolicySize)
	} else {
		doc.Content, err = readFile(path, policy.MaxPolicySize)
	}
	doc.Open = func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(folder, name)
		}
		return readFile(name, policy.MaxListSize)
	}
	return doc, err
}

// load reads a policy and says what is odd about it on standard error.
func load(c *cobra.Command, path string) (*policy.Policy, error) {
	doc, err := document(c, path)
	if err != nil {
		return nil, failedWith(err)
	}
	p, warnings, err := policy.Load(doc)
	for _, w := range warnings {
		fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
	}
	return p, failedWith(err)
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a folder", path)
	}
	content, err := readAll(f, most)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return content, nil
}

// readAll reads a byte more than may be, so that the loader can say what is too
// long.
func readAll(r io.Reader, most int64) ([]byte, error) {
	var content bytes.Buffer
	_, err := io.Copy(&content, io.LimitReader(r, most+1))
	return content.Bytes(), err
}
