package datapath

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Attach watches the chosen interfaces, and from then on those that appear and
// are chosen. That none is there yet is no error.
func (d *Datapath) Attach() error {
	if err := d.checkGlobs(); err != nil {
		return err
	}
	ofRoutes := len(d.config.Include) == 0
	news, err := openNews(ofRoutes) // before they are listed: nothing is missed
	if err != nil {
		return err
	}
	d.paths = newPaths(ofRoutes)
	d.chooseHooks()
	if err := d.firstSettle(); err != nil {
		return errors.Join(err, news.close())
	}
	d.news = news
	d.watchEnded.Add(1)
	go d.follow(news)
	return nil
}

// firstSettle attaches to the interfaces that are there. Where nothing was
// watched before, by nobody, it takes over the connections that are open.
func (d *Datapath) firstSettle() error {
	if err := d.paths.read(); err != nil {
		return err
	}
	if !d.tookOver && len(d.attached) == 0 {
		if err := d.adopt(); err != nil {
			return fmt.Errorf("take over open connections: %w", err)
		}
	}
	attach := func() error {
		errs := d.settle()
		return errors.Join(append(errs, d.leaveStale())...)
	}
	if d.handover != nil {
		return d.takeOver(attach)
	}
	return attach()
}

// follow takes in the kernel's news. They may be lost under load, so it looks
// now and then of its own accord.
func (d *Datapath) follow(n *news) {
	defer d.watchEnded.Done()
	const (
		anyway  = 30 * time.Second
		collect = 50 * time.Millisecond // what is withdrawn is often put back at once
		retry   = time.Second
	)
	var links, routes, settling chore
	links.call(anyway)
	routes.call(anyway)
	for {
		until := links.at
		for _, c := range []*chore{&routes, &settling} {
			if !c.at.IsZero() && c.at.Before(until) {
				until = c.at
			}
		}
		messages, err := n.read(until)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, errMissed):
			links.call(0)
			routes.call(0)
		case err != nil:
			d.log.Warn("The kernel's news of interfaces were interrupted.", zap.Error(err))
			time.Sleep(retry)
			links.call(0)
			routes.call(0)
		}
		if d.paths.learn(messages) {
			settling.call(0)
		}
		if d.paths.doubtful {
			routes.call(collect)
		}
		d.doChore(&links, d.readLinks, &settling, anyway)
		d.doChore(&routes, d.paths.readRoutes, &settling, anyway)
		if settling.isDue() {
			settling.do(d.settleAgain)
			settling.took = d.looked // what hooks take, the kernel waits
		}
	}
}

// readLinks lists the interfaces, and finds those whose hooks were lost: they are
// attached to again.
func (d *Datapath) readLinks() error {
	d.attach.Lock()
	defer d.attach.Unlock()
	for _, w := range d.attached {
		if w.isLost() {
			w.life = 0
		}
	}
	return d.paths.readLinks()
}

// doChore reads a list again where it is time, and what follows from it.
func (d *Datapath) doChore(c *chore, read func() error, settling *chore, anyway time.Duration) {
	if !c.isDue() {
		return
	}
	c.do(func() {
		if err := read(); err != nil {
			d.log.Warn("The interfaces could not be looked at.", zap.Error(err))
		}
	})
	c.call(anyway)
	settling.call(0)
}

func (d *Datapath) stopWatching() {
	if d.news == nil {
		return
	}
	if err := d.news.close(); err != nil {
		d.log.Warn("The kernel's news of interfaces could not be closed.", zap.Error(err))
	}
	d.watchEnded.Wait()
	d.news = nil
}

// settle attaches to the interfaces that are chosen now, leaves the others, and
// tells the programs what they are to know of them. What it returns are the
// interfaces that could not be watched.
func (d *Datapath) settle() []error {
	d.attach.Lock()
	defer d.attach.Unlock()
	began, hooks := time.Now(), time.Duration(0)
	timed := func(began time.Time) { hooks += time.Since(began) }
	defer func() { d.looked = time.Since(began) - hooks }()
	zones := d.paths.zones()
	for index, w := range d.attached {
		i := d.paths.interfaces[index]
		if i != nil && w.life == i.life && d.isChosen(i) {
			if w.name != i.name {
				d.log.Info("A watched interface was renamed.", zap.String("interface", i.name), zap.String("before", w.name))
				w.name = i.name
			}
			from := time.Now()
			d.settleXDP(w, i)
			timed(from)
			continue
		}
		d.log.Info("No longer watching an interface.", zap.String("interface", w.name))
		from := time.Now()
		d.detachFrom(index)
		timed(from)
	}
	errs := []error{d.note(zones)}
	attachedAny := false
	for _, index := range slices.Sorted(maps.Keys(d.paths.interfaces)) {
		i := d.paths.interfaces[index]
		d.names.set(uint32(i.index), i.name)
		if d.attached[i.index] != nil || !d.isChosen(i) {
			continue
		}
		if d.news != nil && d.news.closed.Load() {
			break // hundreds take seconds: the kernel waits at each until no packet is on its way
		}
		from := time.Now()
		err := d.attachTo(i, zones[i.index])
		if err == nil {
			d.settleXDP(d.attached[i.index], i)
		}
		timed(from)
		switch {
		case errors.Is(err, unix.ENODEV): // gone meanwhile; the news of it come
		case err != nil:
			errs = append(errs, err)
		default:
			attachedAny = true
			d.log.Info("Watching an interface.", zap.String("interface", i.name), zap.Int("index", i.index))
		}
	}
	if attachedAny {
		errs = append(errs, d.note(zones))
	}
	return errs
}

// settleAgain logs what fails, once.
func (d *Datapath) settleAgain() {
	told := map[string]bool{}
	for _, err := range d.settle() {
		if err == nil {
			continue
		}
		told[err.Error()] = true
		if !d.failed[err.Error()] {
			d.log.Error("An interface could not be watched.", zap.Error(err))
		}
	}
	d.failed = told
}

// leaveStale forgets the interfaces of an earlier instance that are no longer
// chosen: what comes in by them counts as judged otherwise.
func (d *Datapath) leaveStale() error {
	names, err := d.pins.entries()
	if err != nil {
		return err
	}
	for _, name := range names {
		if index, ok := linkIndex(name); ok && d.attached[index] == nil {
			if err := unpinFile(d.pins.folder, name); err != nil {
				return err
			}
		}
	}
	if err := d.leaveStaleFilters(); err != nil {
		return err
	}
	if !d.tookOver {
		return nil
	}
	return d.forgetStale()
}

// Interfaces are the names of those watched.
func (d *Datapath) Interfaces() []string {
	d.attach.Lock()
	defer d.attach.Unlock()
	var names []string
	for _, w := range d.attached {
		names = append(names, w.name)
	}
	return names
}
