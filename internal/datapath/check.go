package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// howToRemove ends the errors about pins that Weir does not take.
const howToRemove = "if nothing else uses it, weirctl unload takes it away"

// check refuses pins that others could have made or changed: whoever owns them
// decides what is in the hooks.
func (p pins) check() error {
	for _, folder := range []string{pinRoot, p.folder} {
		if err := checkPin(folder, true); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(p.folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == p.folder {
			return err
		}
		return checkPin(path, path == p.maps() || path == p.next())
	})
	if isAbsent(err) {
		return nil
	}
	return err
}

func checkPin(path string, isFolder bool) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if isAbsent(err) {
			return nil
		}
		return fmt.Errorf("look at %s: %w", path, err)
	}
	kind, want := "file", uint32(unix.S_IFREG)
	if isFolder {
		kind, want = "folder", unix.S_IFDIR
	}
	switch {
	case st.Mode&unix.S_IFMT != want:
		return fmt.Errorf("%s is not a %s, which Weir has there; remove it", path, kind)
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("%s belongs to user %d; accepted are root and user %d, which runs Weir; %s", path, st.Uid, os.Geteuid(), howToRemove)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%s may be written by others than its owner (mode %04o); chmod go-w %s, if you know what they put there; %s",
			path, st.Mode&0o7777, path, howToRemove)
	}
	return nil
}

// programNames are those of the programs in the hooks, of any version.
var programNames = []string{"ingress", "egress", "ingress_l3", "egress_l3", "drop_early"}

// openLink opens a pinned link of an interface; nil where there is none, or one
// that is of no use any more, whose pin it removes. One that is not Weir's is
// refused.
func (d *Datapath) openLink(path string, index int) (link.Link, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, d.removeStale(path, "it is no link: "+err.Error())
	}
	info, err := l.Info()
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("look at the pinned link %s: %w", path, err)
	}
	linked, ok := linkedTo(info)
	kind := "tcx"
	if isXDP(hookName(path)) {
		kind = "XDP"
	}
	if !ok || (info.XDP() != nil) != (kind == "XDP") {
		l.Close()
		return nil, fmt.Errorf("the pinned link %s is of type %v; accepted are those of %s hooks; %s", path, info.Type, kind, howToRemove)
	}
	if linked != index {
		l.Close()
		return nil, d.removeStale(path, "the interface that it was made for is gone")
	}
	if err := checkProgram(path, info.Program); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (d *Datapath) removeStale(path, why string) error {
	d.log.Warn("A pin that is of no use is replaced.", zap.String("pin", path), zap.String("reason", why))
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the pin %s (%s): %w", path, why, err)
	}
	return nil
}

// checkProgram says whether a link's program is one of Weir's, by its name. Who
// lacks CAP_SYS_ADMIN cannot tell, and relies on the owner of the pin.
func checkProgram(path string, id ebpf.ProgramID) error {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || slices.Contains(programNames, info.Name) {
		return nil
	}
	return fmt.Errorf("the pinned link %s runs program %q (tag %s), which is not Weir's; accepted are %s; %s",
		path, info.Name, info.Tag, strings.Join(programNames, ", "), howToRemove)
}
