package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The kernel counts what it blocks, too, and its counters outlive this process. So
// the log can say whether it is complete: where its lines stand for fewer
// connections than the kernel has counted, some have none, since nobody wrote this
// log when they came, or whoever did was killed before it could. Now and then there
// is a line with the count, from which a later process goes on:
//
//	2026-05-04T03:02:01.000Z count     1237 blocked, or would be, since 2026-05-04T01:00:00.5Z
const countWord = "count"

const countText = " blocked, or would be, since "

// tally compares the log with the kernel's counters.
type tally struct {
	// since is when these began; zero before anybody has said so.
	since time.Time
	// earlier are the connections of lines that other processes wrote, and that were
	// counted since then. known says whether the file was looked through for them.
	earlier uint64
	known   bool
	found   tallied
	// headless: the file has no count to begin with.
	headless bool
	// unlined is how many connections without a line were found; negative where
	// lines were told twice.
	unlined int64
	// told is the number of connections that the log was told of in this process.
	told uint64

	kernel, before, counted uint64 // of the last time, and of the last line
	quiet                   int    // how many times nothing had changed
}

// tallied is what a file says: the last count, and the connections of the lines
// after it.
type tallied struct {
	since       time.Time
	connections uint64
}

// quietTimes is how many times in a row nothing may have changed, so that nothing
// is on its way from the kernel to the log.
const quietTimes = 2

// Counted tells how many connections the kernel has blocked, or would have, since
// its counters began. It is called every few seconds, and the first time before
// there is a connection.
func (l *Log) Counted(since time.Time, blocked uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	t := &l.tally
	if !t.since.Equal(since) {
		// The monotonic clock's reading is of this process only.
		*t = tally{since: since.Round(0), known: t.known, found: t.found, headless: t.headless, told: t.told}
		t.take()
		if t.known && (t.headless || !t.goesOn()) {
			l.add(l.countLine(), line{})
			l.wakeWriter()
		}
	}
	still := t.known && blocked == t.kernel && t.told == t.before && t.told == l.counts.Connections+l.counts.LostConnections
	t.kernel, t.before = blocked, t.told
	if !still {
		t.quiet = 0
		return
	}
	if t.quiet++; t.quiet < quietTimes {
		return
	}
	missing := int64(blocked - l.accounted())
	if missing == 0 && blocked == t.counted {
		return
	}
	t.unlined += missing
	t.counted = blocked
	l.add(l.countLine(), line{})
	switch {
	case missing > 0:
		l.counts.Unlined += uint64(missing)
		l.add(noteLine(time.Now(), "error", fmt.Sprintf(
			"%d of these have no line: nobody wrote this log when they came, or whoever did was killed", missing)), line{})
	case missing < 0:
		l.add(noteLine(time.Now(), "error", fmt.Sprintf("%d of these are told twice", -missing)), line{})
	}
	l.wakeWriter()
}

// take takes what the file says, where it is about the same counters.
func (t *tally) take() {
	t.earlier = 0
	if t.known && t.goesOn() {
		t.earlier = t.found.connections
	}
}

func (t *tally) goesOn() bool { return t.found.since.Equal(t.since) }

// accounted is how many connections the log has, in lines or said to have none.
func (l *Log) accounted() uint64 {
	return l.tally.earlier + l.counts.Connections + uint64(l.tally.unlined)
}

func (l *Log) countLine() []byte {
	text := strconv.FormatUint(l.accounted(), 10) + countText + l.tally.since.UTC().Format(time.RFC3339Nano)
	return noteLine(time.Now(), countWord, text)
}

// looked tells what the files say that are gone on with, and whether the one that is
// written is empty. It returns the line that has to stand before all others, if any.
func (l *Log) looked(found tallied, empty bool) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tally
	t.known, t.found, t.headless = true, found, empty
	t.take()
	if t.since.IsZero() || t.goesOn() && !empty {
		return nil
	}
	return l.countLine()
}

// head is the line that an empty file begins with; nil where nothing is counted.
func (l *Log) head() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tally.since.IsZero() {
		return nil
	}
	return l.countLine()
}

// tallyOf looks through a file.
func tallyOf(r io.Reader) (tallied, error) {
	var t tallied
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return t, nil
		case errors.Is(err, bufio.ErrBufferFull): // none of ours
			continue
		case err != nil:
			return t, err
		}
		switch wordOf(text) {
		case countWord:
			if counted, ok := parseCount(string(text)); ok {
				t = counted
			}
		case "blocked", "detected", "verdict":
			t.connections += connectionsOf(text)
		}
	}
}

func parseCount(text string) (tallied, bool) {
	fields := strings.TrimSpace(text[min(len(text), len(timeFormat)+1+wordWidth):])
	number, since, ok := strings.Cut(fields, countText)
	if !ok {
		return tallied{}, false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	at, timeErr := time.Parse(time.RFC3339Nano, since)
	return tallied{at, n}, err == nil && timeErr == nil
}

// connectionsOf is how many connections a line about blocked ones stands for. No
// name in it can have the spaces around the number (dev_valid_name() in the
// kernel's net/core/dev.c; the names of rules).
func connectionsOf(text []byte) uint64 {
	_, after, folded := bytes.Cut(text, []byte(" ×"))
	digits, _, in := bytes.Cut(after, []byte(" in "))
	if !folded || !in {
		return 1
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 1
	}
	return n
}
