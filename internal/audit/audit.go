// Package audit writes the audit log: one line for people for each thing that
// happened, in a file that only root and the service user can read. It is not a
// pipeline: what the engine tells comes here first, and nothing that a line is
// about is dropped. What cannot have a line of its own is inside the count of one.
//
// Rotation is its own, and not lumberjack's or timberjack's. Those leave half a
// line where the disk is full and go on behind it, take over whatever mode the
// file had, follow links, keep errors of removing old files to themselves, and
// lumberjack's goroutine outlives the logger, of which a reload makes a new one.
package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirnet/weir/internal/securefile"
)

// Config is what a log is made with.
type Config struct {
	// Path is the file; its folder is made where it is missing.
	Path string
	// Access is what is asked of the folder and the file: Private or, for trials,
	// Unchecked.
	Access securefile.Access
	// MaxSize is how large the file becomes before it is set aside, in bytes.
	MaxSize int64
	// RotateInterval is how old it becomes; 0: as old as it likes.
	RotateInterval time.Duration
	// MaxAge is how long files set aside are kept, MaxBackups how many; 0: all.
	MaxAge     time.Duration
	MaxBackups int
	// LinesPerSecond is how many connections have a line of their own each second.
	// Those beyond are counted together.
	LinesPerSecond int
}

// Bounds of what waits for the file. Beyond, connections are counted together, and
// other lines are lost and counted.
const (
	maxWaiting      = 4096 // lines about connections
	maxWaitingNotes = 1024 // others
	maxLine         = 4096 // bytes
)

// tick is how often what was counted together is written, the file is made to
// last (fsync), and what failed is tried again.
const tick = time.Second

// Log is an audit log. Its methods may be called by several goroutines. They do not
// wait for the disk, but for Close.
type Log struct {
	config Config
	// state is told when lines cannot be written any more, and why, and with nil
	// when they can be again. It is called by one goroutine.
	state func(error)

	mu           sync.Mutex
	waiting      []line
	waitingNotes int
	folds        folds
	// single is for connections, counted for records that stand for many.
	single, counted budget
	counts          Counts
	tally           tally
	closed          bool

	wake   chan struct{} // has a token where something waits
	stop   chan struct{}
	done   chan struct{}
	writer writer
}

// line is one that waits. It stands for so many connections, or exchanges, or for
// neither: then it is a note.
type line struct {
	text                   []byte
	connections, exchanges uint64
}

// Counts is what became of what the log was told, since it was opened.
type Counts struct {
	// Lines are those written. Connections and Exchanges are what they stand for:
	// those that were blocked, or would be.
	Lines, Connections, Exchanges uint64
	// Folded are connections that were counted together, by cause: "rate", beyond
	// Config.LinesPerSecond, and "behind", since lines could not be written as fast.
	Folded map[string]uint64
	// Failures are attempts to write that failed, by cause: "no_space", "insecure",
	// "other". The lines are tried again.
	Failures map[string]uint64
	// Lost are lines that were not written, by cause: "behind", "shutdown".
	// LostConnections and LostExchanges are what they stood for.
	Lost                           map[string]uint64
	LostConnections, LostExchanges uint64
	// Unlined are connections that the kernel counted and no line stands for.
	Unlined uint64
}

// Open begins a log. Where its file cannot be opened it says so to state, and goes
// on trying: what the log is told meanwhile is kept, within bounds.
func Open(config Config, state func(error)) *Log {
	l := &Log{
		config: config, state: state,
		single: budget{limit: config.LinesPerSecond}, counted: budget{limit: config.LinesPerSecond},
		counts: Counts{Folded: map[string]uint64{}, Failures: map[string]uint64{}, Lost: map[string]uint64{}},
		wake:   make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	l.writer = writer{log: l, file: file{config: config}}
	go l.writer.run()
	return l
}

// Counts takes a snapshot.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.Folded, c.Failures, c.Lost = cloned(c.Folded), cloned(c.Failures), cloned(c.Lost)
	return c
}

func cloned(m map[string]uint64) map[string]uint64 {
	c := make(map[string]uint64, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// Close writes what waits, a last line about the end, and closes the file, within
// the time that ctx leaves. It says what was lost. What the log is told later is
// lost, too.
func (l *Log) Close(ctx context.Context, text string) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.waiting = l.folds.appendTo(l.waiting)
	l.add(noteLine(time.Now(), stopWord, text), line{})
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	select {
	case <-l.done:
	case <-ctx.Done():
		return fmt.Errorf("close the audit log %s: it cannot be written in time: %w", l.config.Path, ctx.Err())
	}
	if lost := l.Counts().Lost["shutdown"]; lost > 0 {
		return errors.Join(fmt.Errorf("close the audit log %s: its last lines (%d) could not be written", l.config.Path, lost), l.writer.failure)
	}
	return nil
}

// take hands what waits to the writer, with what was counted together if asked to.
func (l *Log) take(folded bool) []line {
	l.mu.Lock()
	defer l.mu.Unlock()
	if folded {
		l.waiting = l.folds.appendTo(l.waiting)
	}
	lines := l.waiting
	l.waiting, l.waitingNotes = nil, 0
	return lines
}

func (l *Log) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// wrote counts lines that are in the file.
func (l *Log) wrote(lines []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Lines += uint64(len(lines))
	for i := range lines {
		l.counts.Connections += lines[i].connections
		l.counts.Exchanges += lines[i].exchanges
	}
}

func (l *Log) failed(cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Failures[cause]++
}

// lose counts lines that are given up.
func (l *Log) lose(lines []line, cause string) {
	if len(lines) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Lost[cause] += uint64(len(lines))
	for i := range lines {
		l.counts.LostConnections += lines[i].connections
		l.counts.LostExchanges += lines[i].exchanges
	}
}
