package securefile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The permission bits of those who are not the owner.
const (
	othersWrite = 0o022
	othersAny   = 0o077
)

// ownerIsTrusted tells whether a file belongs to root or the service user.
func ownerIsTrusted(st *unix.Stat_t) bool {
	return st.Uid == 0 || int(st.Uid) == os.Geteuid()
}

func owner(full string, st *unix.Stat_t) error {
	if ownerIsTrusted(st) {
		return nil
	}
	return &InsecureError{
		Path:    full,
		Problem: fmt.Sprintf("belongs to user %d, not to root or the service user", st.Uid),
		Remedy:  "chown root " + full,
	}
}

// checkFolder is checked for every folder on the way: who may write to a folder
// may replace what is in it. shared tells that the sticky bit keeps others from
// just that, although they may add to the folder.
func (w *walker) checkFolder(full string, st *unix.Stat_t) (shared bool, err error) {
	if w.access == Unchecked {
		return false, nil
	}
	if err := owner(full, st); err != nil {
		return false, err
	}
	if st.Mode&othersWrite == 0 {
		return false, nil
	}
	if st.Mode&unix.S_ISVTX != 0 {
		return true, nil
	}
	return false, &InsecureError{
		Path:    full,
		Problem: fmt.Sprintf("can be written by others than its owner (mode %#o)", st.Mode&0o7777),
		Remedy:  "chmod go-w " + full,
	}
}

// checkOwnFolder is checked for a folder that is asked for itself, besides what is
// checked on the way: of a private one others do not even see what is in it, and
// nobody adds to it.
func (w *walker) checkOwnFolder() error {
	var st unix.Stat_t
	if err := unix.Fstat(w.dir, &st); err != nil {
		return pathError("stat", w.name, err)
	}
	mode := st.Mode & 0o7777
	switch {
	case w.access == Private && mode&othersAny != 0:
		return &InsecureError{
			Path:    w.name,
			Problem: fmt.Sprintf("can be used by others than its owner (mode %#o)", mode),
			Remedy:  "chmod 700 " + w.name + ", or name a folder of its own",
		}
	case w.access == Trusted && w.shared:
		return &InsecureError{
			Path:    w.name,
			Problem: fmt.Sprintf("can be written by others than its owner (mode %#o)", mode),
			Remedy:  "name a folder of its own",
		}
	}
	return nil
}

// checkEntry is checked for a link or file in its folder. In a shared folder an
// entry of root's could be a hard link that somebody else made of a file of
// root's (see protected_hardlinks in proc_sys_fs(5)), so it may have one name only.
func (w *walker) checkEntry(full string, st *unix.Stat_t) error {
	if w.access == Unchecked || !w.shared {
		return nil
	}
	if err := owner(full, st); err != nil {
		return err
	}
	if st.Nlink > 1 {
		return &InsecureError{
			Path:    full,
			Problem: "has several names (hard links) and lies in a folder that everybody may write to",
			Remedy:  "move it to a folder of its own",
		}
	}
	return nil
}

// checkFile is checked for the open file.
func (w *walker) checkFile(full string, st *unix.Stat_t) error {
	if w.access == Unchecked {
		return nil
	}
	if err := owner(full, st); err != nil {
		return err
	}
	mode := st.Mode & 0o7777
	if w.access == Private && mode&othersAny != 0 {
		return &InsecureError{
			Path:    full,
			Problem: fmt.Sprintf("can be read or written by others than its owner (mode %#o)", mode),
			Remedy:  "chmod 600 " + full,
		}
	}
	if mode&othersWrite != 0 {
		return &InsecureError{
			Path:    full,
			Problem: fmt.Sprintf("can be written by others than its owner (mode %#o)", mode),
			Remedy:  "chmod go-w " + full,
		}
	}
	return nil
}
