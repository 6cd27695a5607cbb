package audit

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/securefile"
)

// writer is the goroutine that writes the file.
type writer struct {
	log  *Log
	file file
	// rest are lines that could not be written yet.
	rest []line
	// failure is why, since a time; nil while all is well.
	failure error
	since   time.Time
	opened  bool // once
}

func (w *writer) run() {
	defer close(w.log.done)
	defer w.file.close()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-w.log.wake:
			if w.failure == nil { // else it is tried again in a moment
				w.write(false)
			}
		case <-ticker.C:
			w.file.look()
			w.write(true)
			w.keep()
		case <-w.log.stop:
			w.write(true)
			w.keep()
			w.log.lose(append(w.rest, w.log.take(true)...), "shutdown")
			return
		}
	}
}

// write writes what waits, with what was counted together if asked to.
func (w *writer) write(folded bool) {
	for {
		if len(w.rest) == 0 {
			w.rest = w.log.take(folded)
			folded = false
		}
		if len(w.rest) == 0 && w.failure == nil && w.file.isOpen() && !w.file.isDue(0, time.Now()) {
			return
		}
		if err := w.writeRest(); err != nil {
			w.fail(err)
			return
		}
		w.recover()
	}
}

// writeRest writes the lines that are the writer's, or as many as it can.
func (w *writer) writeRest() error {
	if !w.file.isOpen() {
		if err := w.open(); err != nil {
			return err
		}
	}
	// A file that cannot be set aside is written on: too large a log is better
	// than none.
	unrotated := w.file.rotateIfDue(0, time.Now())
	var buffer []byte
	for len(w.rest) > 0 {
		n := w.chunk()
		buffer = buffer[:0]
		for i := range n {
			buffer = append(buffer, w.rest[i].text...)
		}
		if unrotated == nil {
			unrotated = w.file.rotateIfDue(len(buffer), time.Now())
		}
		if !w.file.isOpen() {
			return unrotated
		}
		written, err := w.file.append(buffer)
		done := 0
		for done < n && written >= len(w.rest[done].text) {
			written -= len(w.rest[done].text)
			done++
		}
		w.log.wrote(w.rest[:done])
		w.rest = w.rest[done:]
		if err != nil {
			return err
		}
	}
	w.rest = nil // and what it was cut from
	return unrotated
}

// chunk is how many of the lines are written at once.
func (w *writer) chunk() int {
	size := len(w.rest[0].text)
	n := 1
	for ; n < len(w.rest); n++ {
		if size += len(w.rest[n].text); int64(size) > min(writeSize, w.file.config.MaxSize) {
			break
		}
	}
	return n
}

// writeSize is how much is written at once, in bytes.
const writeSize = 1 << 16

func (w *writer) open() error {
	last, err := w.file.open()
	if err != nil {
		return err
	}
	if !w.opened && last == "" {
		last = w.file.lastAside() // it was set aside, and then nothing was written
	}
	if !w.opened && last != "" && last != StopWord {
		w.rest = append([]line{{text: noteLine(time.Now(), "error",
			"the process before ended abruptly: what was blocked in its last second may be missing above")}}, w.rest...)
	}
	w.opened = true
	return nil
}

// keep makes what was written last, whatever becomes of the machine.
func (w *writer) keep() {
	if err := w.file.sync(); err != nil {
		w.fail(err)
	}
}

// fail notes that lines cannot be written, and says so the first time.
func (w *writer) fail(err error) {
	w.log.failed(causeOf(err))
	if w.failure == nil {
		w.since = time.Now()
	}
	first := w.failure == nil || w.failure.Error() != err.Error()
	w.failure = err
	if first {
		w.log.state(fmt.Errorf("write the audit log %s: %w", w.file.config.Path, err))
	}
}

// recover says that they can be written again.
func (w *writer) recover() {
	if w.failure == nil {
		return
	}
	now := time.Now()
	w.log.Note(now, "error", fmt.Sprintf("this log could not be written for %v: %v", now.Sub(w.since).Round(time.Millisecond), w.failure))
	w.failure = nil
	w.log.state(nil)
}

func causeOf(err error) string {
	var insecure *securefile.InsecureError
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "no_space"
	case errors.As(err, &insecure):
		return "insecure"
	}
	return "other"
}
