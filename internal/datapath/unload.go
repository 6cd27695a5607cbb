package datapath

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// RunningError says that a Weir is at work with what is to be taken away.
type RunningError struct {
	PID    int
	Folder string
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("a Weir (process %d) runs with %s: stop it first", e.PID, e.Folder)
}

// Unload takes away what any Weir has left in the kernel for this network
// namespace, or for all of them: hooks first, so that nothing is half enforced,
// then maps. It tells what it removed, also where it fails half-way. A Weir that
// runs is an error, unless force is set; it then goes on without hooks.
func Unload(all, force bool) (removed []string, err error) {
	here, err := openPins()
	if err != nil {
		return nil, err
	}
	lock, err := takeLock() // so that none starts meanwhile
	switch {
	case err == nil:
		defer lock.Close()
	case !force:
		if pid, pidErr := lockHolder(); pidErr == nil {
			return nil, &RunningError{PID: int(pid), Folder: here.folder}
		}
		return nil, err
	}
	removed, err = unloadFilters()
	if err != nil {
		return removed, err
	}
	folders := []string{here.folder}
	if all {
		if folders, err = filepath.Glob(filepath.Join(pinRoot, "net-*")); err != nil {
			return nil, fmt.Errorf("list pins: %w", err)
		}
	}
	for _, folder := range folders {
		p := pins{folder}
		if pid := p.user(); pid != 0 && !force {
			return removed, &RunningError{PID: pid, Folder: folder}
		}
		list, err := p.unload()
		removed = append(removed, list...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// unloadFilters removes the filters of this network namespace, which has them where
// the kernel has no tcx.
func unloadFilters() (removed []string, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		for _, s := range []side{ingressSide, egressSide} {
			all, err := filtersOf(l.Attrs().Index, s)
			if err != nil {
				return removed, err
			}
			f := ownFilter(all)
			if f == nil {
				continue
			}
			if err := removeFilter(f); err != nil {
				return removed, needsPrivilege("remove the filter of "+l.Attrs().Name, err)
			}
			removed = append(removed, fmt.Sprintf("filter %s of %s", s.name, l.Attrs().Name))
		}
	}
	return removed, nil
}

// unload empties a folder.
func (p pins) unload() (removed []string, err error) {
	names, err := p.entries()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := linkIndex(name); !ok {
			continue
		}
		path := filepath.Join(p.folder, name)
		if err := detachPinned(path); err != nil {
			return removed, err
		}
		removed = append(removed, path)
	}
	err = filepath.WalkDir(p.folder, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			removed = append(removed, path)
		}
		return err
	})
	if err != nil && !isAbsent(err) {
		return removed, fmt.Errorf("list pins: %w", err)
	}
	if _, err := os.Stat(p.folder); err == nil {
		removed = append(removed, p.folder)
	}
	return removed, p.remove()
}

// detachPinned empties the hook of a pinned link, whoever else has it open, and
// removes the pin.
func detachPinned(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrPermission) {
		return needsPrivilege("open the pinned link "+path, err)
	}
	if err == nil {
		// Fails where the interface is gone, and with it the hook.
		info, infoErr := l.Info()
		if infoErr != nil {
			info = &link.Info{}
		}
		err = l.Detach()
		l.Close()
		if index, _ := linkedTo(info); err != nil && index != 0 {
			return fmt.Errorf("detach the pinned link %s: %w", path, err)
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove the pin %s: %w", path, err)
	}
	return nil
}

// user is a process that has a link of the folder open, or its table of connections;
// 0 where none has. Its lock would say the same, but belongs to another network
// namespace. Without tcx there are no links.
func (p pins) user() int {
	ids := map[string]bool{}
	if m, err := ebpf.LoadPinnedMap(p.mapPath("flows"), nil); err == nil {
		if info, err := m.Info(); err == nil {
			if id, ok := info.ID(); ok {
				ids[fmt.Sprint("map_id:", id)] = true
			}
		}
		m.Close()
	}
	names, _ := p.entries() // where there is no folder, nobody uses it
	for _, name := range names {
		l, err := link.LoadPinnedLink(filepath.Join(p.folder, name), nil)
		if err != nil {
			continue
		}
		if info, err := l.Info(); err == nil {
			ids[fmt.Sprint("link_id:", info.ID)] = true
		}
		l.Close()
	}
	if len(ids) == 0 {
		return 0
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*") // the pattern is well formed
	for _, file := range files {
		if id := objectOf(file); ids[id] {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	return 0
}

// objectOf is the BPF link or map that a file of a process is: "map_id:7".
func objectOf(fdinfo string) string {
	f, err := os.Open(fdinfo)
	if err != nil {
		return "" // closed meanwhile
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kind, id, ok := strings.Cut(lines.Text(), ":"); ok && (kind == "link_id" || kind == "map_id") {
			return kind + ":" + strings.TrimSpace(id)
		}
	}
	return ""
}
