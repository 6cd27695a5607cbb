package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirnet/weir/internal/datapath"
)

func TestRun(t *testing.T) {
	running := &datapath.RunningError{PID: 42, Folder: "/sys/fs/bpf/weir/net-1"}
	for _, c := range []struct {
		name       string
		arguments  string
		removed    []string
		err        error
		code       int
		all, force bool
		out        string // all of it
		complaint  string // a part; empty: none
	}{
		{name: "removes", arguments: "unload", removed: []string{"/a", "/b"}, out: "removed /a\nremoved /b\n"},
		{name: "nothing there", arguments: "unload", out: "nothing to remove\n"},
		{name: "all", arguments: "unload --all", all: true, out: "nothing to remove\n"},
		{name: "force", arguments: "unload --force", force: true, out: "nothing to remove\n"},
		{
			name: "running", arguments: "unload", err: running, code: exitRunning,
			complaint: "weirctl: a Weir (process 42) runs with /sys/fs/bpf/weir/net-1: stop it first; or say --force",
		},
		{
			name: "running, wrapped, after some", arguments: "unload --all", all: true, removed: []string{"/a"},
			err: fmt.Errorf("x: %w", running), code: exitRunning, out: "removed /a\n", complaint: "process 42",
		},
		{
			name: "fails half-way", arguments: "unload", removed: []string{"/a"}, err: errors.New("no way"), code: exitFailed,
			out: "removed /a\n", complaint: "weirctl: no way\n",
		},
		{name: "unknown flag", arguments: "unload --some", code: exitUsage, complaint: "unknown flag: --some"},
		{name: "unknown command", arguments: "load", code: exitUsage, complaint: `unknown command "load"`},
		{name: "an argument too much", arguments: "unload eth0", code: exitUsage, complaint: `"eth0"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			called := false
			code := run(strings.Fields(c.arguments), strings.NewReader(""), &out, &complaints, func(all, force bool) ([]string, error) {
				called = true
				if all != c.all || force != c.force {
					t.Errorf("all %t, force %t", all, force)
				}
				return c.removed, c.err
			})
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if called == (c.code == exitUsage) {
				t.Errorf("called: %t", called)
			}
			if out.String() != c.out {
				t.Errorf("printed %q, want %q", out.String(), c.out)
			}
			if !strings.Contains(complaints.String(), c.complaint) || c.complaint == "" && complaints.Len() > 0 {
				t.Errorf("complains %q, want %q", complaints.String(), c.complaint)
			}
		})
	}
}
