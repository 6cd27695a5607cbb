package connectionpolicyextension

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/internal/policy"
	"github.com/weirnet/weir/internal/securefile"
)

// temporary is what the name of a file ends with while it is written.
const temporary = ".new"

// unwritten is the content of a policy that is in force, beside the file that it is
// to replace.
type unwritten struct {
	// folder is that of the file: what is in it is reached through it, so that
	// nobody can swap it meanwhile.
	folder     *os.File
	temp, name string
	seen       fingerprint
	err        error // why it could not take the file's place
}

// prepareFile writes a policy to a file beside the policy file. All that can fail
// but for the renaming fails here, before anything is put in force.
func (e *policyExtension) prepareFile(c *candidate) (*unwritten, error) {
	path, err := resolved(e.cfg.File)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	folder, err := securefile.OpenFolder(filepath.Dir(path), e.cfg.access(securefile.Trusted))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	u := &unwritten{folder: folder, name: filepath.Base(path), seen: c.seen}
	u.temp = "." + u.name + temporary
	if e.unwritten != nil && e.unwritten.temp == u.temp {
		u.temp += "er"
	}
	err = u.write(c.text.content, e.fileMode())
	if err != nil {
		u.discard()
		return nil, fmt.Errorf("%w: write %s: %w", ErrNotWritable, path, err)
	}
	return u, nil
}

// resolved is what a path names: a policy file that is a link is written where it is.
func resolved(path string) (string, error) {
	to, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(to)
}

// fileMode is that of the policy file: whoever had access keeps it.
func (e *policyExtension) fileMode() os.FileMode {
	info, err := securefile.Stat(e.cfg.File, e.cfg.access(securefile.Private))
	if err != nil {
		return 0o600
	}
	return info.Mode().Perm()
}

func (u *unwritten) write(content []byte, mode os.FileMode) error {
	at := int(u.folder.Fd())
	if err := unix.Unlinkat(at, u.temp, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	fd, err := unix.Openat(at, u.temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), u.temp)
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

// discard takes the file away that is not needed any more.
func (u *unwritten) discard() {
	if u != nil && u.folder != nil {
		unix.Unlinkat(int(u.folder.Fd()), u.temp, 0)
		u.folder.Close()
		u.folder = nil
	}
}

// dropUnwritten forgets a policy that is not to be written any more.
func (e *policyExtension) dropUnwritten() {
	e.unwritten.discard()
	e.unwritten = nil
}

// writeOut makes the policy in force the content of its file, where it is not yet.
func (e *policyExtension) writeOut() error {
	u := e.unwritten
	if u == nil || u.folder == nil {
		return nil
	}
	at := int(u.folder.Fd())
	err := unix.Renameat(at, u.temp, at, u.name)
	if err == nil {
		err = u.folder.Sync()
	}
	if err != nil {
		err = fmt.Errorf("generation %d is in force, but could not be written to %s: %w", e.current.Number, e.cfg.File, err)
		e.report.differs(err)
		e.audit.problem(e.now(), err)
		u.discard()
		u.err = err
		return err
	}
	u.folder.Close()
	e.unwritten = nil
	e.watch.handled, e.watch.pending = u.seen, nil
	return nil
}

// unwrittenError says why the policy in force is not in the file.
func (e *policyExtension) unwrittenError() error {
	if e.unwritten == nil {
		return nil
	}
	return e.unwritten.err
}

// MaxDocument is the size of a policy in bytes.
const MaxDocument = policy.MaxPolicySize
