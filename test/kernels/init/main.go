// Command init is the first process of the virtual machine that
// scripts/kernels/run.sh boots: it loads the modules, runs the test binaries one
// after the other and turns the machine off. There is nothing else in it: no
// shell, no tools.
//
// What the tests print goes to a serial line of its own (WEIR_OUTPUT on the
// kernel's command line, or the second of a PC), in frames that the script
// takes apart: a line `\x01begin NAME`, the output, a line `\x01end STATUS`.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The machine's files (scripts/kernels/initramfs.sh).
const (
	moduleList = "/modules/order" // file names, those others need first
	testList   = "/tests/list"    // NAME FOLDER ARGUMENTS…, a line each
	outputLine = "/dev/ttyS1"     // unless the kernel's command line has another
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	// The emulator is started so that a restart ends it.
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	out, err := openOutput()
	if err != nil {
		return err
	}
	defer out.Close()
	tests, err := lines(testList)
	if err != nil {
		return err
	}
	for _, test := range tests {
		if err := runTest(out, strings.Fields(test)); err != nil {
			return err
		}
	}
	return nil
}

func mountAll() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
		{"bpf", "/sys/fs/bpf"},
		{"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return fmt.Errorf("make a mount point: %w", err)
		}
		// The kernel mounts devtmpfs itself, but not always over an initramfs.
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.at, err)
		}
	}
	return nil
}

func loadModules() error {
	names, err := lines(moduleList)
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(filepath.Join(filepath.Dir(moduleList), name))
		if err != nil {
			return fmt.Errorf("open module: %w", err)
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// openOutput opens the serial line, told to leave what it carries as it is.
func openOutput() (*os.File, error) {
	f, err := os.OpenFile(cmp.Or(os.Getenv("WEIR_OUTPUT"), outputLine), os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the line for output: %w", err)
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err == nil {
		t.Oflag &^= unix.OPOST
		err = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("set up the line for output: %w", err)
	}
	return f, nil
}

// runTest runs the binary of a package: NAME, FOLDER, ARGUMENTS.
func runTest(out io.Writer, test []string) error {
	if len(test) < 2 {
		return fmt.Errorf("%s: a line has %d fields; name and folder are needed", testList, len(test))
	}
	fmt.Fprintf(out, "\x01begin %s\n", test[0])
	cmd := exec.Command(filepath.Join("/tests", filepath.Base(test[0])+".test"), test[2:]...)
	cmd.Dir = test[1]
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME=/tmp", "TMPDIR=/tmp", "PATH=/bin", "WEIR_BIN=/bin/weir", "WEIR_PATIENCE=2m")
	status := "ok"
	if err := cmd.Run(); err != nil {
		status = err.Error()
	}
	_, err := fmt.Fprintf(out, "\n\x01end %s\n", status)
	return err
}

// lines are those of a file that are not empty.
func lines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a list: %w", err)
	}
	defer f.Close()
	var list []string
	for s := bufio.NewScanner(f); ; {
		if !s.Scan() {
			return list, s.Err()
		}
		if line := strings.TrimSpace(s.Text()); line != "" {
			list = append(list, line)
		}
	}
}
