package datapath

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weirnet/weir/bpf"
)

// The BPF file system, and Weir's folder in it.
const (
	bpffs   = "/sys/fs/bpf"
	pinRoot = bpffs + "/weir"
)

// pins is a network namespace's folder in the BPF file system. What is pinned
// there outlives the process.
type pins struct{ folder string }

// openPins finds the folder of the current network namespace. It makes nothing.
func openPins() (pins, error) {
	cookie, err := namespaceCookie()
	if errors.Is(err, unix.ENOPROTOOPT) {
		return pins{}, tooOld(requirements)
	}
	if err != nil {
		return pins{}, fmt.Errorf("identify the network namespace: %w", err)
	}
	return pins{filepath.Join(pinRoot, fmt.Sprintf("net-%d", cookie))}, nil
}

// namespaceCookie names the network namespace for as long as the kernel runs
// (Linux 5.14). Inode numbers do not: those of the dead are used again.
func namespaceCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// removeDead removes the folders of network namespaces that are gone: all their
// links have lost their interface. Nobody else would ever come back to them.
func (p pins) removeDead(log *zap.Logger) {
	folders, err := filepath.Glob(filepath.Join(pinRoot, "net-*"))
	if err != nil {
		return // the pattern is well formed
	}
	for _, folder := range folders {
		if folder == p.folder || !isDead(pins{folder}) {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			log.Warn("Pins of a network namespace that is gone could not be removed.", zap.String("folder", folder), zap.Error(err))
		}
	}
}

func isDead(p pins) bool {
	names, err := p.entries()
	if err != nil {
		return false
	}
	links := 0
	for _, name := range names {
		if _, ok := linkIndex(name); !ok {
			continue
		}
		links++
		l, err := link.LoadPinnedLink(filepath.Join(p.folder, name), nil)
		if err != nil {
			return false
		}
		info, err := l.Info()
		l.Close()
		if err != nil {
			return false
		}
		if index, ok := linkedTo(info); !ok || index != 0 {
			return false
		}
	}
	return links > 0
}

// create makes the folder, and mounts the file system where it is missing.
func (p pins) create(log *zap.Logger) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffs, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", bpffs, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"); err != nil {
			return needsPrivilege("mount the BPF file system at "+bpffs, err)
		}
	}
	p.removeDead(log)
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return fmt.Errorf("make the folder for pins, without which enforcement ends with the process (on_shutdown: unload): %w; let root make %s for this user", err, p.folder)
	}
	return nil
}

// maps is the folder of the maps, next that of maps which are about to take their
// place.
func (p pins) maps() string { return filepath.Join(p.folder, "maps") }
func (p pins) next() string { return filepath.Join(p.folder, "next-maps") }

func (p pins) mapPath(name string) string { return filepath.Join(p.maps(), name) }

func (p pins) linkPath(ifindex int, hook string) string {
	return p.link(fmt.Sprintf("link-%d-%s", ifindex, hook))
}

func (p pins) link(name string) string { return filepath.Join(p.folder, name) }

// linkIndex is the interface index in a link's file name.
func linkIndex(name string) (int, bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 || parts[0] != "link" {
		return 0, false
	}
	index, err := strconv.Atoi(parts[1])
	return index, err == nil
}

// remove deletes the folder and with it what only the pins keep alive.
func (p pins) remove() error {
	if err := os.RemoveAll(p.folder); err != nil && !isAbsent(err) {
		return fmt.Errorf("remove pins: %w", err)
	}
	os.Remove(pinRoot) // stays while other namespaces have pins
	return nil
}

func unpinFile(folder, name string) error {
	if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove pin %s: %w", name, err)
	}
	return nil
}

// isAbsent says that nothing is pinned: neither where there is no folder, nor,
// for a service user, where it may not even look.
func isAbsent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)
}

// entries lists the folder; a missing one is empty.
func (p pins) entries() ([]string, error) {
	list, err := os.ReadDir(p.folder)
	if err != nil && !isAbsent(err) {
		return nil, fmt.Errorf("list pins: %w", err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, nil
}

// Pinned says whether there are pins, an earlier instance's or this one's.
func (d *Datapath) Pinned() (bool, error) {
	names, err := d.pins.entries()
	return len(names) > 0, err
}

// hookName is that of a link's file name.
func hookName(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// SetKeep pins everything, so that enforcement outlives the process, or takes
// the pins away.
func (d *Datapath) SetKeep(keep bool) error {
	d.attach.Lock()
	defer d.attach.Unlock()
	if !keep {
		for _, w := range d.attached {
			w.release()
		}
		d.mapsPinned = false
		if d.handover != nil {
			d.handover.pin = false
		}
		return d.pins.remove()
	}
	if err := d.pins.create(d.log); err != nil {
		return err
	}
	switch {
	case d.handover != nil:
		d.handover.pin = true // not before they are filled
	case !d.mapsPinned:
		if err := errors.Join(d.pinNext(), d.pins.replaceMaps()); err != nil {
			return err
		}
	}
	d.mapsPinned = true
	for index, w := range d.attached {
		if err := w.keep(d.pins, index); err != nil {
			return err
		}
	}
	return nil
}

// pinNext pins all maps beside those that are in force.
func (d *Datapath) pinNext() error {
	next := d.pins.next()
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("remove what an earlier attempt left: %w", err)
	}
	if err := os.Mkdir(next, 0o700); err != nil {
		return fmt.Errorf("make the folder for maps: %w", err)
	}
	for name, m := range d.pinnedMaps() {
		clone, err := m.Clone() // one that is pinned already would be moved
		if err == nil {
			err = errors.Join(clone.Pin(filepath.Join(next, name)), clone.Close())
		}
		if err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	return nil
}

// replaceMaps puts the next maps into the place of those in force, in one step.
func (p pins) replaceMaps() error {
	err := unix.Renameat2(unix.AT_FDCWD, p.next(), unix.AT_FDCWD, p.maps(), unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		err = os.Rename(p.next(), p.maps()) // there were none
	}
	if err == nil {
		err = os.RemoveAll(p.next())
	}
	if err != nil {
		return fmt.Errorf("replace the pinned maps: %w", err)
	}
	return nil
}

// settleMaps decides which maps are in force where a process died while it took
// over: the next ones as soon as their programs were about to enter the hooks.
func (p pins) settleMaps() error {
	if _, err := os.Stat(p.next()); err != nil {
		return nil
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.next(), "handover_until"), nil)
	if err == nil {
		defer m.Close()
		var until uint64
		if m.Lookup(uint32(0), &until) == nil && until != 0 {
			return p.replaceMaps()
		}
	}
	if err := os.RemoveAll(p.next()); err != nil {
		return fmt.Errorf("remove what an earlier attempt left: %w", err)
	}
	return nil
}

// pinnedMaps are all maps, by name.
func (d *Datapath) pinnedMaps() map[string]*ebpf.Map {
	all := mapsByName(&d.objects.ConnectionsMaps)
	all[layoutsName] = d.layouts
	d.reading.Lock()
	defer d.reading.Unlock()
	maps.Copy(all, d.readable)
	return all
}

func mapsByName(list *bpf.ConnectionsMaps) map[string]*ebpf.Map {
	all := map[string]*ebpf.Map{}
	fields := reflect.ValueOf(list).Elem()
	for i := range fields.NumField() {
		all[fields.Type().Field(i).Tag.Get("ebpf")] = fields.Field(i).Interface().(*ebpf.Map)
	}
	return all
}
