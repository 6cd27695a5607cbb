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
	unrotated := w.rotate(0)
	var buffer []byte
	for len(w.rest) > 0 {
		n := w.chunk()
		buffer = buffer[:0]
		for i := range n {
			buffer = append(buffer, w.rest[i].text...)
		}
		if unrotated == nil {
			unrotated = w.rotate(len(buffer))
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

// rotate sets the file aside where that is due. The next one begins with the count.
func (w *writer) rotate(more int) error {
	aside, err := w.file.rotateIfDue(more, time.Now())
	if !aside || !w.file.isOpen() {
		return err
	}
	if head := w.log.head(); head != nil {
		if _, err := w.file.append(head); err != nil {
			return err
		}
		w.log.wrote([]line{{text: head}})
	}
	return err
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
	if w.opened {
		if w.file.size == 0 {
			w.before(w.log.head())
		}
		return nil
	}
	if last == "" {
		last = w.file.lastAside() // it was set aside, and then nothing was written
	}
	found, err := w.file.tally()
	if err != nil {
		return fmt.Errorf("read %s: %w", w.file.config.Path, err)
	}
	w.opened = true
	w.before(w.log.looked(found, w.file.size == 0))
	if last != "" && last != stopWord {
		w.before(noteLine(time.Now(), "error", "the process before ended abruptly: what was blocked in its last second may be missing above"))
	}
	return nil
}

// before puts a line before those that wait, where there is one.
func (w *writer) before(text []byte) {
	if text != nil {
		w.rest = append([]line{{text: text}}, w.rest...)
	}
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
	w.rest = append(w.rest, line{text: noteLine(now, "error", fmt.Sprintf(
		"this log could not be written for %v: %v", now.Sub(w.since).Round(time.Millisecond), w.failure))})
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
