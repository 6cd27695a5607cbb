package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/securefile"
)

// stopWord is the word of the last line of a process that ended in order.
const stopWord = "stop"

// CallWord is the word of lines about calls of the API.
const CallWord = "call"

// file is the file that is written. It ends with a whole line at all times but
// within append.
type file struct {
	config Config
	// folder is open while f is; names are looked up in it, not by path.
	folder, f *os.File
	size      int64
	// begun is the time of its first line.
	begun time.Time
	dirty bool
}

func (f *file) isOpen() bool { return f.f != nil }

func (f *file) name() string { return filepath.Base(f.config.Path) }

// open opens the file, or makes it. last is the word of its last line; empty where
// it has none.
func (f *file) open() (last string, err error) {
	f.close()
	folder := filepath.Dir(f.config.Path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("make its folder: %w", err)
	}
	if f.folder, err = securefile.OpenFolder(folder, f.config.Access); err != nil {
		return "", err
	}
	if last, err = f.openIn(); err != nil {
		f.close()
	}
	return last, err
}

func (f *file) openIn() (last string, err error) {
	// Not O_TRUNC, not following links; a FIFO does not make it wait.
	const flags = unix.O_RDWR | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(int(f.folder.Fd()), f.name(), flags, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return "", fmt.Errorf("open %s: it is a symbolic link, accepted is a regular file", f.config.Path)
	}
	if err != nil {
		return "", &os.PathError{Op: "open", Path: f.config.Path, Err: err}
	}
	f.f = os.NewFile(uintptr(fd), f.config.Path)
	if err := f.check(fd); err != nil {
		return "", err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return "", fmt.Errorf("lock %s: %w: another process writes it; each needs a path of its own", f.config.Path, err)
	}
	tail, err := f.mend()
	if err != nil {
		return "", fmt.Errorf("read %s: %w", f.config.Path, err)
	}
	head := make([]byte, min(f.size, int64(len(timeFormat))))
	if _, err := f.f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	f.begun = timeOf(head)
	return wordOf(tail), nil
}

// check refuses what others have a part in.
func (f *file) check(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.config.Path, Err: err}
	}
	f.size = st.Size
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("open %s: it is not a regular file", f.config.Path)
	}
	if f.config.Access == securefile.Unchecked {
		return nil
	}
	path := f.config.Path
	switch mode := st.Mode & 0o7777; {
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return &securefile.InsecureError{
			Path: path, Remedy: "chown root " + path,
			Problem: fmt.Sprintf("belongs to user %d, not to root or the service user", st.Uid),
		}
	case mode&0o077 != 0:
		return &securefile.InsecureError{
			Path: path, Remedy: "chmod 600 " + path,
			Problem: fmt.Sprintf("can be read or written by others than its owner (mode %#o)", mode),
		}
	case st.Nlink > 1:
		return &securefile.InsecureError{
			Path: path, Remedy: "remove its other names",
			Problem: fmt.Sprintf("has several names (%d hard links)", st.Nlink),
		}
	}
	return nil
}

// mend cuts off half a line at the end, which a process that was killed in the
// middle of writing it leaves, and returns the last whole one.
func (f *file) mend() ([]byte, error) {
	tail, err := tailOf(f.f, f.size)
	if err != nil {
		return nil, err
	}
	last, end := lastLine(tail)
	if end == 0 && f.size > int64(len(tail)) {
		return nil, errors.New("it has no lines: it is not an audit log")
	}
	if end < len(tail) {
		whole := f.size - int64(len(tail)-end)
		if err := f.f.Truncate(whole); err != nil {
			return nil, err
		}
		f.size = whole
	}
	return last, nil
}

// tailOf is the end of a file that is so large: at least a whole line.
func tailOf(f *os.File, size int64) ([]byte, error) {
	tail := make([]byte, min(size, 2*maxLine))
	n, err := f.ReadAt(tail, size-int64(len(tail)))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return tail[:n], err
}

// lastLine is the last whole line, and where it ends.
func lastLine(tail []byte) (line []byte, end int) {
	end = bytes.LastIndexByte(tail, '\n') + 1
	if end == 0 {
		return nil, 0
	}
	line = tail[:end-1]
	return line[bytes.LastIndexByte(line, '\n')+1:], end
}

// append writes lines, and says how many bytes of them: whole lines, also where it
// fails.
func (f *file) append(lines []byte) (int, error) {
	if f.size == 0 {
		f.begun = timeOf(lines)
	}
	n, err := f.f.Write(lines)
	if n > 0 {
		f.dirty = true
	}
	if err == nil {
		f.size += int64(n)
		return n, nil
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	if whole < n {
		if cut := f.f.Truncate(f.size + int64(whole)); cut != nil {
			f.close() // and mended when it is opened again
			return whole, errors.Join(err, cut)
		}
	}
	f.size += int64(whole)
	return whole, err
}

func (f *file) sync() error {
	if f.f == nil || !f.dirty {
		return nil
	}
	f.dirty = false
	return f.f.Sync()
}

// look closes the file where it is not at its path any more: somebody has moved or
// removed it, or its folder. Then it is made anew.
func (f *file) look() {
	if f.f == nil {
		return
	}
	here, err := f.f.Stat()
	if err != nil {
		f.close()
		return
	}
	there, err := os.Lstat(f.config.Path)
	if err != nil || !os.SameFile(here, there) {
		f.close()
	}
}

func (f *file) close() {
	if f.f != nil {
		f.f.Close()
	}
	if f.folder != nil {
		f.folder.Close()
	}
	f.f, f.folder, f.dirty = nil, nil, false
}
