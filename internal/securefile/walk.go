package securefile

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may lead through; the kernel's own
// limit (path_resolution(7)).
const maxLinks = 40

// walker is on its way along a path. Folders are checked when they are entered,
// links when they are followed, the file when it is open.
type walker struct {
	access Access
	// dir is the open folder, name its path for messages.
	dir  int
	name string
	// shared tells that others may add entries to dir but not replace those of
	// root and the service user: it has the sticky bit, as /tmp has.
	shared bool
	links  int
}

// walk opens the file at the absolute path abs and returns its descriptor.
func walk(abs string, access Access) (int, error) {
	w := &walker{access: access, dir: -1}
	defer w.leave()
	fd, err := w.to(abs)
	if err == nil && fd < 0 {
		err = fmt.Errorf("open %s: it is a folder, not a file", abs)
	}
	return fd, err
}

// walkFolder opens the folder at the absolute path abs and returns its descriptor.
func walkFolder(abs string, access Access) (int, error) {
	w := &walker{access: access, dir: -1}
	defer w.leave()
	fd, err := w.to(abs)
	if err != nil {
		return -1, err
	}
	if fd >= 0 {
		unix.Close(fd)
		return -1, pathError("open", abs, unix.ENOTDIR)
	}
	if err := w.checkOwnFolder(); err != nil {
		return -1, err
	}
	fd, err = openAt(w.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1, pathError("open", abs, err)
	}
	return fd, nil
}

// to goes along the absolute path abs. Where it leads to a file it returns its
// descriptor; where it leads to a folder, -1, and that is the open one.
func (w *walker) to(abs string) (int, error) {
	if err := w.enterRoot(); err != nil {
		return -1, err
	}
	rest := split(abs)
	for len(rest) > 0 {
		entry := rest[0]
		rest = rest[1:]
		target, fd, err := w.step(entry, len(rest) == 0)
		if err != nil {
			return -1, err
		}
		if fd >= 0 {
			return fd, nil
		}
		if target == "" {
			continue
		}
		if path.IsAbs(target) {
			if err := w.enterRoot(); err != nil {
				return -1, err
			}
		}
		rest = append(split(target), rest...)
	}
	return -1, nil
}

func split(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

// step looks at one entry of the open folder: it enters a folder, returns the
// target of a link, or the descriptor of the file when it is the last one.
func (w *walker) step(entry string, last bool) (target string, file int, err error) {
	full := path.Join(w.name, entry)
	fd, err := openAt(w.dir, entry, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", -1, pathError("open", full, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return "", -1, pathError("stat", full, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "", -1, w.enter(fd, full, &st)
	case unix.S_IFLNK:
		defer unix.Close(fd)
		target, err := w.follow(fd, full, &st)
		return target, -1, err
	}
	unix.Close(fd)
	if !last {
		return "", -1, pathError("open", full, unix.ENOTDIR)
	}
	// Opening a device can already do something, so it is refused before.
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", -1, notRegular(full)
	}
	file, err = w.openFile(entry, full)
	return "", file, err
}

func (w *walker) enterRoot() error {
	fd, err := openAt(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return pathError("open", "/", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return pathError("stat", "/", err)
	}
	w.shared = false
	return w.enter(fd, "/", &st)
}

// enter makes fd the open folder; fd is closed when the folder is refused.
func (w *walker) enter(fd int, full string, st *unix.Stat_t) error {
	shared, err := w.checkFolder(full, st)
	if err != nil {
		unix.Close(fd)
		return err
	}
	w.leave()
	w.dir, w.name, w.shared = fd, full, shared
	return nil
}

func (w *walker) leave() {
	if w.dir >= 0 {
		unix.Close(w.dir)
		w.dir = -1
	}
}

func (w *walker) follow(fd int, full string, st *unix.Stat_t) (string, error) {
	if w.links++; w.links > maxLinks {
		return "", pathError("open", full, unix.ELOOP)
	}
	if err := w.checkEntry(full, st); err != nil {
		return "", err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", pathError("readlink", full, err)
	}
	if n == 0 {
		return "", pathError("readlink", full, unix.ENOENT)
	}
	return string(buf[:n]), nil
}

func (w *walker) openFile(entry, full string) (int, error) {
	fd, err := openAt(w.dir, entry, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return -1, pathError("open", full, err)
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	switch {
	case err != nil:
		err = pathError("stat", full, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = notRegular(full)
	default:
		if err = w.checkEntry(full, &st); err == nil {
			err = w.checkFile(full, &st)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func notRegular(full string) error {
	return fmt.Errorf("open %s: it is not a regular file", full)
}
