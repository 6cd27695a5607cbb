package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settings are the flags.
type settings struct {
	full   bool
	run    *regexp.Regexp
	json   string
	docs   string
	render bool
	soak   time.Duration
	weir   string
	sets   string
}

const marker = "WEIR_BENCH_NAMESPACE"

func main() {
	if len(os.Args) == 2 && os.Args[1] == agentCommand {
		serveAgent()
		return
	}
	s, err := parseFlags()
	if err == nil {
		err = start(s)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(1, exit.ExitCode()))
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags() (settings, error) {
	var s settings
	flag.BoolVar(&s.full, "full", false, "more rounds and all sizes: what docs/performance.md is made from")
	pattern := flag.String("run", ".", "regular expression: the lines to measure, by id")
	flag.StringVar(&s.json, "json", "bin/bench.json", "where to write the figures")
	flag.StringVar(&s.docs, "docs", "", "folder to write performance.md and its plots to; none by default")
	flag.BoolVar(&s.render, "render", false, "measure nothing: write the page from the figures in -json")
	flag.DurationVar(&s.soak, "soak", 0, "instead of the lines: as long, a million connections at the highest rate")
	flag.StringVar(&s.weir, "weir", "bin/weir", "the Collector under test")
	flag.StringVar(&s.sets, "sets", os.Getenv("WEIR_CLASSBENCH"), "folder of ClassBench rule sets and traces; without it they are left out")
	flag.Parse()
	if flag.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q; accepted are flags (-help)", flag.Arg(0))
	}
	var err error
	if s.run, err = regexp.Compile(*pattern); err != nil {
		return s, fmt.Errorf("read -run: %w", err)
	}
	for _, path := range []*string{&s.weir, &s.sets} {
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func start(s settings) error {
	if s.render {
		return render(s)
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root: makes network namespaces and loads programs into the kernel")
	}
	if os.Getenv(marker) == "" {
		return again()
	}
	if err := ownFileSystems(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if s.soak > 0 {
		return soak(ctx, s)
	}
	return measure(ctx, s)
}

// again runs this program in new namespaces, on the last processor: what sends and
// receives is there, and agents are on the others.
func again() error {
	cpus := processors()
	// Inherited by the process that begins here.
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, cpuSet(trafficCPU())); err != nil {
		return fmt.Errorf("keep to one processor: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), marker+"="+joinInts(cpus))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL,
	}
	// The terminal's Ctrl-C reaches both: the other one ends, and then this.
	signal.Ignore(os.Interrupt)
	return cmd.Run()
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

// measure takes all lines that are asked for. What was measured before an
// interruption is written.
func measure(ctx context.Context, s settings) error {
	r := &report{Date: time.Now().UTC().Truncate(time.Second), Full: s.full, Machine: describeMachine()}
	b := &bench{settings: s, ctx: ctx}
	r.Missing = b.findPeers()
	fmt.Println(r.Machine)
	for _, m := range r.Missing {
		fmt.Printf("not measured: %s: %s\n", m.Name, m.Why)
	}
	for _, l := range lines {
		if !s.run.MatchString(l.id) || ctx.Err() != nil {
			continue
		}
		began := time.Now()
		fmt.Printf("\n%s: %s\n", l.id, l.title)
		result := b.take(l)
		result.Seconds = time.Since(began).Seconds()
		r.Lines = append(r.Lines, result)
		result.print(os.Stdout)
	}
	r.LoadAfter = load()
	r.judge()
	for _, t := range r.Targets {
		if r.line(t.Line) != nil {
			fmt.Println(t)
		}
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.json), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.json, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted; the page was not written")
	}
	return render(s)
}
