package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const marker = "WEIR_E2E_NAMESPACE"

// TestMain runs the tests again in a network and a mount namespace of their own,
// with a BPF file system of their own: whatever they leave behind, pins and all,
// goes with the process, even when it is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asCollector {
		fmt.Fprintln(os.Stderr, runCollector(os.Args[2:]))
		os.Exit(1)
	}
	flag.Parse()
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // every test skips itself
	}
	if os.Getenv(marker) != "" {
		if err := ownFileSystems(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		code := m.Run()
		os.RemoveAll(weirctlFolder)
		os.Exit(code)
	}
	// The tests wait more than they compute.
	arguments := append([]string{"-test.parallel=12"}, os.Args[1:]...)
	cmd := exec.Command("/proc/self/exe", arguments...)
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "run the tests in namespaces:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// asCollector is the first argument of this program where it is to become a Collector.
const asCollector = "as-collector"

// runCollector executes a command that ignores signals until it asks for them, as the
// Collector does a moment after it says that it is ready.
func runCollector(command []string) error {
	signal.Ignore(unix.SIGHUP, unix.SIGINT)
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", path, unix.Exec(path, command, os.Environ()))
}

func ownFileSystems() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount the BPF file system: %w", err)
	}
	return nil
}

var (
	buildOnce sync.Once
	built     string
	buildErr  error
)

// weirBinary is the path of the Collector under test. It is built once where it is
// missing.
func weirBinary(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		if built = os.Getenv("WEIR_BIN"); built != "" {
			return
		}
		root, err := filepath.Abs("../..")
		if err != nil {
			buildErr = err
			return
		}
		built = filepath.Join(root, "bin", "weir")
		if _, err := os.Stat(built); err == nil {
			return
		}
		cmd := exec.Command("make", "build")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("bin/weir is missing, and make build: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return built
}
