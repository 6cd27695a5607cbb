// Package datapath drives the kernel programs of bpf/: it loads, attaches and
// pins them, swaps the policy tables and reads what they tell. No other room
// speaks to the kernel about packets.
package datapath

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"go.uber.org/zap"

	"github.com/weirnet/weir/bpf"
)

// Config is what a datapath is opened with.
type Config struct {
	// MaxEntries is the size of the flow table in connections.
	MaxEntries uint32
	// OpeningsTold is how many connections a processor tells of in 134 ms before
	// it is known that both ends take part; 0: its share of about 30,000 a second.
	// Those beyond are counted.
	OpeningsTold uint32
	// Include and Exclude are globs of interface names. Without Include, the
	// interfaces with a route off the host are watched.
	Include, Exclude []string
	// XDP says where packets of blocked connections are dropped early.
	XDP XDP
}

// Datapath is the live instance of its network namespace.
type Datapath struct {
	config Config
	log    *zap.Logger
	lock   net.Listener
	pins   pins

	parking *time.Timer // while parked

	mapsPinned bool // under the pins' folder

	tookOver bool // the maps are an earlier process's

	// handover is what remains to be taken over from an earlier Weir, until the
	// hooks are; switched are those that have our programs already.
	handover        *handover
	switched        map[string]link.Link
	earlierVersions []Version

	objects bpf.ConnectionsObjects
	spec    *ebpf.CollectionSpec // what they were loaded from
	layouts *ebpf.Map            // describes the others
	// readable are tables of the policy that are read again, by tableSlot.
	reading  sync.Mutex
	readable map[string]*ebpf.Map
	inner    map[string]*ebpf.MapSpec // templates of the table maps
	events   *ringbuf.Reader
	readTo   atomic.Int64 // ns since 1970: all events before are handed over
	copies   *ringbuf.Reader
	// copying is locked while copies are taken out and handled.
	copying    sync.Mutex
	copyReader *copyReader // nil: nobody reads
	sweep      sync.Mutex

	looking sync.Mutex
	look    *ebpf.Program // copies packets; nil: none are wanted

	xdp xdp // guarded by attach

	holding sync.RWMutex
	hold    *hold // nil: nothing is held
	unread  heldCounts

	sshing sync.Mutex
	ssh    *sshLogins // listens to sshd; nil: nobody asks who logs in

	swap   sync.Mutex
	tables uint32 // number of the tables in force
	back   uint32 // of those that the kernel returns to by itself; 0: none
	// deadline is when it does, of CLOCK_MONOTONIC.
	deadline uint64
	latest   uint32        // the highest number so far
	slots    [slots]uint32 // what the slots hold; 0: nothing

	clsact     bool           // without tcx
	ending     chan os.Signal // with clsact: told when the process is asked to end
	attach     sync.Mutex
	attached   map[int]*watch // by interface index
	noted      noted
	paths      *paths          // the follower's, once there is one
	news       *news           // closed to end the watch for interfaces; nil without
	failed     map[string]bool // errors that were logged
	looked     time.Duration   // what the last settle took, but for attaching
	watchEnded sync.WaitGroup
	names      nameCache

	// Since is when the counters began: with the maps, not with the process.
	Since time.Time

	breakSwap bool // tests: fill the tables in force in place
}

// These are replaced by tests, with programs that have a fault or another layout.
var (
	loadPrograms = bpf.LoadConnections
	loadLook     = bpf.LoadLook
	loadHold     = bpf.LoadHold
	loadXDP      = bpf.LoadXDP
)

// Open gives the datapath of the network namespace: the one this process has
// parked, or a new one, which takes the namespace's lock, loads the programs and
// takes over the maps that an earlier process left pinned. A new one is not
// attached yet.
func Open(cfg Config, log *zap.Logger) (*Datapath, error) {
	pins, err := openPins()
	if err != nil {
		return nil, err
	}
	if d := unpark(pins.folder, nil); d != nil {
		if d.config.MaxEntries == cfg.MaxEntries {
			d.config, d.log = cfg, log
			return d, nil
		}
		if err := d.Close(); err != nil {
			return nil, fmt.Errorf("close the datapath whose flow table has another size: %w", err)
		}
	}
	lock, err := takeLock()
	if err != nil {
		return nil, err
	}
	d := &Datapath{
		config: cfg, log: log, lock: lock, pins: pins, attached: map[int]*watch{}, readable: map[string]*ebpf.Map{},
	}
	d.noted = noted{flags: map[int]uint32{}, vlans: map[bpf.ConnectionsVlanKey]uint32{}}
	if err := d.load(); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

func (d *Datapath) load() error {
	// Kernels before 5.11 charge maps to this limit.
	if err := rlimit.RemoveMemlock(); err != nil {
		return needsPrivilege("raise the locked-memory limit", err)
	}
	spec, err := loadPrograms()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	spec.Maps["flows"].MaxEntries = d.config.MaxEntries
	spec.Maps["openings"].MaxEntries = openingSlots(d.config.MaxEntries)
	spec.Maps["looks"].MaxEntries = max(1, d.config.MaxEntries/4)
	if err := adapt(spec, d.log); err != nil {
		return err
	}
	if err := setConstants(spec, d.config); err != nil {
		return err
	}
	d.inner = map[string]*ebpf.MapSpec{}
	for _, name := range tableMaps {
		d.inner[name] = spec.Maps[name].InnerMap
	}
	ours, err := layoutsOf(spec)
	if err != nil {
		return err
	}
	if err := errors.Join(d.pins.check(), d.pins.settleMaps()); err != nil {
		return fmt.Errorf("take over what is pinned: %w", err)
	}
	found, err := d.pins.openEarlier(spec, ours, d.log)
	if err != nil {
		return err
	}
	if found == nil {
		found = &earlier{}
	}
	if err := d.loadFirst(spec, found.kept); err != nil {
		found.close()
		return errors.Join(explainLoad(err), d.objects.Close())
	}
	if err := d.continueFrom(found, ours); err != nil {
		return errors.Join(err, d.closeObjects())
	}
	return nil
}

// continueFrom goes on where an earlier instance ended, if there was one.
func (d *Datapath) continueFrom(e *earlier, ours layouts) (err error) {
	defer func() {
		if d.handover == nil {
			e.close() // the collection holds clones of what is kept
		}
	}()
	d.tookOver = len(e.kept)+len(e.differ) > 0
	d.mapsPinned = d.tookOver && len(e.differ) == 0 && len(e.kept) == len(mapsByName(&d.objects.ConnectionsMaps))
	if d.mapsPinned {
		d.layouts, err = e.described.Clone()
	} else {
		d.layouts, err = ours.store()
	}
	if err != nil {
		return err
	}
	if e.kept["labels"] != nil {
		for name, m := range e.readable {
			if d.readable[name], err = m.Clone(); err != nil {
				return err
			}
		}
	}
	if d.events, err = ringbuf.NewReader(d.objects.Events); err != nil {
		return fmt.Errorf("read the events' ring buffer: %w", err)
	}
	if d.copies, err = ringbuf.NewReader(d.objects.Copies); err != nil {
		return fmt.Errorf("read the copies' ring buffer: %w", err)
	}
	if d.tookOver && !d.mapsPinned {
		err = d.prepareHandover(e, ours)
	} else {
		err = d.setHandover(0) // an earlier one may not have come to its end
	}
	if err != nil {
		return err
	}
	if err := d.readState(); err != nil {
		return err
	}
	d.latest = max(d.latest, e.policyNumber())
	return nil
}

func (d *Datapath) closeObjects() error {
	errs := []error{d.endHold(d.mapsPinned), d.SetSSHLogins(false), d.objects.Close()}
	closeMaps(d.readable)
	if d.layouts != nil {
		errs = append(errs, d.layouts.Close())
	}
	for _, r := range []*ringbuf.Reader{d.events, d.copies} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	if d.xdp.program != nil {
		errs = append(errs, d.xdp.program.Close())
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	if d.look != nil {
		errs = append(errs, d.look.Close())
		d.look = nil
	}
	return errors.Join(errs...)
}

// readState finds out where the maps' earlier life, if they had one, ended.
func (d *Datapath) readState() error {
	if err := d.readSlots(); err != nil {
		return err
	}
	var created int64
	if err := d.objects.Created.Lookup(uint32(0), &created); err != nil {
		return fmt.Errorf("read when the maps were made: %w", err)
	}
	if created == 0 {
		created = time.Now().UnixNano()
		if err := d.objects.Created.Put(uint32(0), created); err != nil {
			return fmt.Errorf("note when the maps were made: %w", err)
		}
	}
	d.Since = time.Unix(0, created)
	return nil
}

// setConstants fills in what differs between two loads.
func setConstants(spec *ebpf.CollectionSpec, c Config) error {
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("draw the mark of answers: %w", err)
	}
	mark := binary.NativeEndian.Uint32(random[:]) | 1 // never 0
	if err := spec.Variables["reject_mark"].Set(mark); err != nil {
		return fmt.Errorf("set the mark of answers: %w", err)
	}
	if err := spec.Variables["opening_slots"].Set(openingSlots(c.MaxEntries)); err != nil {
		return fmt.Errorf("set the room for connections that are opening: %w", err)
	}
	if c.OpeningsTold == 0 {
		c.OpeningsTold = max(256, uint32(4096/runtime.NumCPU()))
	}
	if err := spec.Variables["openings_told"].Set(c.OpeningsTold); err != nil {
		return fmt.Errorf("set the rate of connections that are told of one by one: %w", err)
	}
	return nil
}

// openingSlots is the share of the flow table that connections may have which are
// not settled.
func openingSlots(maxEntries uint32) uint32 { return max(1, maxEntries/4) }

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		m.Close()
	}
}

// Close ends the watch. Unless the datapath is pinned, the kernel forgets it.
func (d *Datapath) Close() error {
	d.stopWatching()
	if d.ending != nil {
		signal.Stop(d.ending)
	}
	d.attach.Lock()
	defer d.attach.Unlock()
	var errs []error
	for index, w := range d.attached {
		errs = append(errs, w.close())
		delete(d.attached, index)
	}
	if d.handover != nil {
		d.handover.earlier.close()
	}
	errs = append(errs, d.closeObjects(), d.lock.Close())
	return errors.Join(errs...)
}
