package securefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporary is what the name of a file ends with while it is written.
const temporary = ".new"

// Replace writes a private file in one step, so that whoever reads it, after a loss
// of power too, finds the old one or the new one. Its folder is made where it is
// missing, and refused where others have a part in it. Only one process at a time
// may replace a file.
func Replace(path string, content func(*os.File) error) (err error) {
	folder := filepath.Dir(path)
	if err := makePrivate(folder); err != nil {
		return err
	}
	// Removed before, so that it is this process's and has this mode.
	next := path + temporary
	if err := RemoveUnfinished(path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = errors.Join(content(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(folder)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// RemoveUnfinished removes what a process that died while it replaced a file has left.
func RemoveUnfinished(path string) error {
	if err := os.Remove(path + temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// makePrivate makes a folder where it is missing, and refuses one that others have a
// part in.
func makePrivate(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(folder, &st); err != nil {
		return pathError("lstat", folder, err)
	}
	// systemd makes the folder of a DynamicUser= a link.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK && ownerIsTrusted(&st) {
		if err := unix.Stat(folder, &st); err != nil {
			return pathError("stat", folder, err)
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("%s is not a folder", folder)
	}
	if err := owner(folder, &st); err != nil {
		return err
	}
	if st.Mode&othersAny != 0 {
		return &InsecureError{
			Path:    folder,
			Problem: fmt.Sprintf("can be used by others than its owner (mode %#o)", st.Mode&0o7777),
			Remedy:  "chmod 700 " + folder,
		}
	}
	return nil
}
