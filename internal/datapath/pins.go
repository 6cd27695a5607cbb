package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
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
		if tcx := info.TCX(); tcx == nil || tcx.Ifindex != 0 {
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

func (p pins) mapPath(name string) string { return filepath.Join(p.folder, "map-"+name) }

func (p pins) linkPath(ifindex int, hook string) string {
	return filepath.Join(p.folder, fmt.Sprintf("link-%d-%s", ifindex, hook))
}

// linkIndex is the interface index in a link's file name.
func linkIndex(name string) (int, bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 || parts[0] != "link" {
		return 0, false
	}
	index, err := strconv.Atoi(parts[1])
	return index, err == nil
}

// loadMaps opens the maps an earlier instance left, by name. If one does not fit
// the programs, all are given up: they refer to each other.
func (p pins) loadMaps(spec *ebpf.CollectionSpec, log *zap.Logger) map[string]*ebpf.Map {
	kept := map[string]*ebpf.Map{}
	for name, ms := range spec.Maps {
		if strings.HasPrefix(name, ".") {
			continue // constants: each load has its own
		}
		m, err := ebpf.LoadPinnedMap(p.mapPath(name), nil)
		if err == nil {
			kept[name] = m
			err = ms.Compatible(m)
		}
		if err == nil {
			continue
		}
		if !isAbsent(err) || len(kept) > 0 {
			log.Warn("Maps of an earlier Weir do not fit and are replaced; its connections are forgotten.",
				zap.String("map", name), zap.Error(err))
		}
		closeMaps(kept)
		return nil
	}
	return kept
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

// Pinned says whether an earlier instance left anything, or this one will.
func (d *Datapath) Pinned() (bool, error) {
	names, err := d.pins.entries()
	return len(names) > 0, err
}

// SetKeep pins everything, so that enforcement outlives the process, or takes
// the pins away.
func (d *Datapath) SetKeep(keep bool) error {
	d.attach.Lock()
	defer d.attach.Unlock()
	if !keep {
		for _, w := range d.attached {
			w.release()
		}
		return d.pins.remove()
	}
	if err := d.pins.create(d.log); err != nil {
		return err
	}
	for name, m := range d.pinnedMaps() {
		path := d.pins.mapPath(name)
		if m.IsPinned() {
			continue
		}
		os.Remove(path) // of maps that did not fit
		if err := m.Pin(path); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	for index, w := range d.attached {
		if err := w.keep(d.pins, index); err != nil {
			return err
		}
	}
	return nil
}

// pinnedMaps are all maps, by name.
func (d *Datapath) pinnedMaps() map[string]*ebpf.Map {
	all := map[string]*ebpf.Map{}
	maps := reflect.ValueOf(d.objects.ConnectionsMaps)
	for i := range maps.NumField() {
		all[maps.Type().Field(i).Tag.Get("ebpf")] = maps.Field(i).Interface().(*ebpf.Map)
	}
	return all
}
