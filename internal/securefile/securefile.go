// Package securefile opens files that nobody but root and the service user can
// have written, and, where asked, nobody else can read. It is for Linux.
//
// Checking a path and opening it afterwards leaves a gap in which somebody who
// may write to one of its folders swaps a folder or a link. So the path is
// walked from the root, every folder is opened relative to the one before it,
// and what was opened is what is checked.
package securefile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Access says who but the owner may do what with a file.
type Access uint8

const (
	// Trusted files are written by their owner only; anybody may read them.
	Trusted Access = iota
	// Private files are read and written by their owner only.
	Private
	// Unchecked files may belong to anybody. They still have to be regular.
	Unchecked
)

// InsecureError tells that others than root and the service user can change a
// file, or read a private one.
type InsecureError struct {
	// Path is the file, folder or link that is at fault.
	Path string
	// Problem is what is wrong with it.
	Problem string
	// Remedy is what puts it right.
	Remedy string
}

func (e *InsecureError) Error() string {
	return fmt.Sprintf("%s %s: %s", e.Path, e.Problem, e.Remedy)
}

// Open opens a regular file for reading after the checks that access asks for.
// It does not wait for the other end of a FIFO and opens no devices.
func Open(path string, access Access) (*os.File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the absolute path of %s: %w", path, err)
	}
	fd, err := walk(abs, access)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenFolder opens a folder after the checks that access asks for. Files in it are
// to be opened relative to what is returned, so that nobody can swap it meanwhile.
func OpenFolder(path string, access Access) (*os.File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the absolute path of %s: %w", path, err)
	}
	fd, err := walkFolder(abs, access)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Stat tells about a regular file after the checks that access asks for.
func Stat(path string, access Access) (os.FileInfo, error) {
	f, err := Open(path, access)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Copy writes the content of a file of at most limit bytes to dst. A larger one
// is refused; no more than limit bytes are written then.
func Copy(dst io.Writer, path string, access Access, limit int64) error {
	f, err := Open(path, access)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if info.Size() > limit {
		return tooLarge(path, limit)
	}
	if buffer, ok := dst.(*bytes.Buffer); ok {
		// Growing bit by bit would take several times the size.
		buffer.Grow(int(info.Size()) + bytes.MinRead)
	}
	// The file may grow while it is read, and some file systems give no size.
	if _, err := io.Copy(dst, io.LimitReader(f, limit)); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return tooLarge(path, limit)
	}
	return nil
}

func tooLarge(path string, limit int64) error {
	return fmt.Errorf("read %s: it is larger than %d MiB", path, limit>>20)
}

func pathError(op, path string, err error) error {
	return &os.PathError{Op: op, Path: path, Err: err}
}

func openAt(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
