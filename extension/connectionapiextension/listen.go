package connectionapiextension

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/securefile"
)

// socket is a unix socket in a folder that only its owner can use.
type socket struct {
	net.Listener
	folder *os.File
	name   string
	inode  uint64
}

// listenUnix makes the socket, and its folder where that is missing. A socket that
// nobody listens on any more is replaced.
func listenUnix(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	folder, err := securefile.OpenFolder(dir, securefile.Private)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the socket: %w", err)
	}
	s := &socket{folder: folder, name: filepath.Base(path)}
	if err := s.listen(path); err != nil {
		folder.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) listen(path string) error {
	// Two processes at once must not take each other's for left over.
	if err := unix.Flock(int(s.folder.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the folder of the socket: %w", err)
	}
	defer unix.Flock(int(s.folder.Fd()), unix.LOCK_UN)
	// Through the open folder, so that nobody can swap it meanwhile; a path that is
	// longer than sun_path will do, too.
	through := fmt.Sprintf("/proc/self/fd/%d/%s", s.folder.Fd(), s.name)
	if err := s.clear(path, through); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: through, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	s.Listener = l
	var st unix.Stat_t
	err = os.Chmod(through, 0o600)
	if err == nil {
		err = unix.Fstatat(int(s.folder.Fd()), s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		l.Close()
		return fmt.Errorf("close %s to others: %w", path, err)
	}
	s.inode = st.Ino
	return nil
}

// clear takes a socket away that nobody listens on.
func (s *socket) clear(path, through string) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(s.folder.Fd()), s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return fmt.Errorf("listen on %s: something is there that is no socket", path)
	}
	c, err := net.Dial("unix", through)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("listen on %s: another process does", path)
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("listen on %s: what is there does not answer: %w", path, err)
	}
	if err := unix.Unlinkat(int(s.folder.Fd()), s.name, 0); err != nil {
		return fmt.Errorf("remove the socket that was left at %s: %w", path, err)
	}
	return nil
}

// Close takes the socket away, unless another process's is there by now.
func (s *socket) Close() error {
	err := s.Listener.Close()
	if s.folder == nil {
		return err
	}
	var st unix.Stat_t
	at := int(s.folder.Fd())
	if unix.Fstatat(at, s.name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Ino == s.inode {
		unix.Unlinkat(at, s.name, 0)
	}
	s.folder.Close()
	s.folder = nil
	return err
}
