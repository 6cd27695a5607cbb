package datapath

import (
	"bufio"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
)

// fileOf is the file at a path as the kernel's programs know it. What stat(2) tells of
// its device is not what the kernel calls the file system's where one has several
// volumes (btrfs); the table of mounts has that (proc_pid_mountinfo(5)).
func fileOf(path string) (bpf.SSHLoginSshServer, error) {
	var s unix.Statx_t
	const mask = unix.STATX_INO | unix.STATX_MNT_ID
	if err := unix.Statx(unix.AT_FDCWD, path, 0, mask, &s); err != nil {
		return bpf.SSHLoginSshServer{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	major, minor := s.Dev_major, s.Dev_minor
	if s.Mask&unix.STATX_MNT_ID != 0 {
		if err := deviceOfMount(s.Mnt_id, &major, &minor); err != nil {
			return bpf.SSHLoginSshServer{}, fmt.Errorf("find the file system of %s: %w", path, err)
		}
	}
	return bpf.SSHLoginSshServer{Inode: s.Ino, Device: major<<20 | minor}, nil // MKDEV
}

// deviceOfMount looks up a mount's device, and leaves it where the mount is not listed.
func deviceOfMount(id uint64, major, minor *uint32) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var mount, parent uint64
		var a, b uint32
		if n, _ := fmt.Sscanf(lines.Text(), "%d %d %d:%d", &mount, &parent, &a, &b); n == 4 && mount == id {
			*major, *minor = a, b
			return nil
		}
	}
	return lines.Err()
}
