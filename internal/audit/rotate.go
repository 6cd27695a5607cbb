package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// backupTime is in the names of files set aside: audit-2026-05-04T03-02-01.000.log.
// They sort by it.
const backupTime = "2006-01-02T15-04-05.000"

// isDue says whether the file would become too large with so many bytes more, or is
// too old.
func (f *file) isDue(more int, now time.Time) bool {
	large := f.size+int64(more) > f.config.MaxSize
	old := f.config.RotateInterval > 0 && !f.begun.IsZero() && now.Sub(f.begun) >= f.config.RotateInterval
	return f.size > 0 && (large || old)
}

// rotateIfDue sets the file aside where that is due, and begins another. It may have
// done so although it fails.
func (f *file) rotateIfDue(more int, now time.Time) (aside bool, err error) {
	if !f.isOpen() || !f.isDue(more, now) {
		return false, nil
	}
	if err := f.f.Sync(); err != nil {
		return false, fmt.Errorf("rotate: %w", err)
	}
	if err := f.setAside(now); err != nil {
		return false, fmt.Errorf("rotate: %w", err)
	}
	if _, err := f.open(); err != nil {
		return true, fmt.Errorf("rotate: %w", err)
	}
	if err := f.prune(now); err != nil {
		return true, fmt.Errorf("remove what was rotated before: %w", err)
	}
	return true, f.folder.Sync() // the names
}

// setAside gives the file a name that no other has.
func (f *file) setAside(now time.Time) error {
	dir := int(f.folder.Fd())
	for ; ; now = now.Add(time.Millisecond) {
		name := f.backupName(now)
		err := unix.Renameat2(dir, f.name(), dir, name, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) { // a file system that does not know the flag
			var st unix.Stat_t
			if err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
				err = unix.EEXIST
			} else if errors.Is(err, unix.ENOENT) {
				err = unix.Renameat(dir, f.name(), dir, name)
			}
		}
		if !errors.Is(err, unix.EEXIST) {
			if err != nil {
				return &os.LinkError{Op: "rename", Old: f.config.Path, New: name, Err: err}
			}
			return nil
		}
	}
}

func (f *file) backupName(at time.Time) string {
	prefix, suffix := f.affixes()
	return prefix + at.UTC().Format(backupTime) + suffix
}

func (f *file) affixes() (prefix, suffix string) {
	suffix = filepath.Ext(f.name())
	return strings.TrimSuffix(f.name(), suffix) + "-", suffix
}

// prune removes the files set aside that are too old or too many.
func (f *file) prune(now time.Time) error {
	if f.config.MaxAge == 0 && f.config.MaxBackups == 0 {
		return nil
	}
	names, err := f.aside()
	if err != nil {
		return err
	}
	var errs []error
	kept := 0
	for _, name := range names {
		at, _ := f.backupOf(name)
		old := f.config.MaxAge > 0 && now.Sub(at) > f.config.MaxAge
		if !old && (f.config.MaxBackups == 0 || kept < f.config.MaxBackups) {
			kept++
			continue
		}
		if err := unix.Unlinkat(int(f.folder.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, &os.PathError{Op: "remove", Path: name, Err: err})
		}
	}
	return errors.Join(errs...)
}

// aside are the names of the files set aside, the newest first.
func (f *file) aside() ([]string, error) {
	if _, err := f.folder.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := f.folder.Readdirnames(-1)
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := f.backupOf(name); return !ok })
	slices.Sort(names)
	slices.Reverse(names)
	return names, err
}

// lastAside is the word of the last line that was set aside; empty where there is
// none, or it cannot be read.
func (f *file) lastAside() string {
	old, err := f.openAside()
	if err != nil || old == nil {
		return ""
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil {
		return ""
	}
	tail, err := tailOf(old, info.Size())
	if err != nil {
		return ""
	}
	last, _ := lastLine(tail)
	return wordOf(last)
}

// openAside opens the file that was set aside last; nil where there is none.
func (f *file) openAside() (*os.File, error) {
	names, err := f.aside()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	fd, err := unix.Openat(int(f.folder.Fd()), names[0], unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: names[0], Err: err}
	}
	return os.NewFile(uintptr(fd), names[0]), nil
}

// tally looks through the file, or where that has nothing yet through the one that
// was set aside last.
func (f *file) tally() (tallied, error) {
	if f.size > 0 {
		return tallyOf(io.NewSectionReader(f.f, 0, f.size))
	}
	old, err := f.openAside()
	if err != nil || old == nil {
		return tallied{}, err
	}
	defer old.Close()
	return tallyOf(old)
}

// backupOf is when a file was set aside, by its name; ok is false for other files.
func (f *file) backupOf(name string) (at time.Time, ok bool) {
	prefix, suffix := f.affixes()
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return at, false
	}
	if rest, ok = strings.CutSuffix(rest, suffix); !ok {
		return at, false
	}
	at, err := time.Parse(backupTime, rest)
	return at, err == nil
}
