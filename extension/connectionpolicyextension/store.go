package connectionpolicyextension

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/securefile"
)

// store keeps the last good policy and the last number in a folder that only root
// and the service user can read.
type store struct {
	folder, name string
	// path is the file of the policy, numberPath that of the number.
	path, numberPath string
	source           string
}

const (
	temporary     = ".new"
	maxNumberSize = 64
)

// newStore names the files after the extension and where its policy comes from:
// another one's is never taken.
func newStore(folder, id, source string) *store {
	sum := sha256.Sum256([]byte(source))
	name := strings.ReplaceAll(id, "/", "_") + "-" + hex.EncodeToString(sum[:4])
	return &store{
		folder: folder, name: name, source: source,
		path:       filepath.Join(folder, name+".policy.tar"),
		numberPath: filepath.Join(folder, name+".generation"),
	}
}

// number is that of the last policy handed out; 0 where none is known.
func (s *store) number() (uint64, error) {
	var content bytes.Buffer
	err := securefile.Copy(&content, s.numberPath, securefile.Private, maxNumberSize)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the number of the last policy: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(content.String()), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the number of the last policy from %s: found %.40q, accepted is a number", s.numberPath, content.String())
	}
	return n, nil
}

func (s *store) saveNumber(n uint64) error {
	return s.write(s.numberPath, func(f *os.File) error {
		_, err := fmt.Fprintln(f, n)
		return err
	})
}

// save replaces the policy that is kept.
func (s *store) save(number uint64, loaded time.Time, seen fingerprint, text *policyText) error {
	k := &kept{Source: s.source, Number: number, Loaded: loaded, Seen: seen, Digest: text.digest(), text: text}
	return s.write(s.path, func(f *os.File) error { return k.write(f) })
}

func (s *store) load() (*kept, error) {
	f, err := securefile.Open(s.path, securefile.Private)
	if err != nil {
		return nil, fmt.Errorf("open the policy that was kept: %w", err)
	}
	defer f.Close()
	k, err := readKept(f)
	if err != nil {
		return nil, fmt.Errorf("read the policy that was kept, %s: %w", s.path, err)
	}
	if k.Source != s.source {
		return nil, fmt.Errorf("the policy that was kept, %s, is of %s", s.path, k.Source)
	}
	return k, nil
}

// write replaces a file in one step, so that whoever reads it, after a loss of
// power too, finds the old one or the new one.
func (s *store) write(path string, content func(*os.File) error) (err error) {
	if err := s.makeFolder(); err != nil {
		return err
	}
	// Removed before, so that it is this process's and has this mode.
	next := filepath.Join(s.folder, s.name+temporary)
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
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
	folder, err := os.Open(s.folder)
	if err == nil {
		err = errors.Join(folder.Sync(), folder.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// makeFolder makes the folder where it is missing, and refuses one that others
// have a part in.
func (s *store) makeFolder() error {
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return fmt.Errorf("make the folder for the last good policy: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.folder, &st); err != nil {
		return fmt.Errorf("look at the folder for the last good policy, %s: %w", s.folder, err)
	}
	// systemd makes the folder of a DynamicUser= a link.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK && (st.Uid == 0 || int(st.Uid) == os.Geteuid()) {
		if err := unix.Stat(s.folder, &st); err != nil {
			return fmt.Errorf("look at the folder for the last good policy, %s: %w", s.folder, err)
		}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("keep the last good policy in %s: it is not a folder", s.folder)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("keep the last good policy in %s: it belongs to user %d, not to root or the service user: chown root %s", s.folder, st.Uid, s.folder)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("keep the last good policy in %s: others than its owner can use it (mode %#o): chmod 700 %s", s.folder, st.Mode&0o7777, s.folder)
	}
	return nil
}
