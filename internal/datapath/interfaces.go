package datapath

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// Attach watches the chosen interfaces, and from then on those that appear and
// are chosen. That none is there yet is no error.
func (d *Datapath) Attach() error {
	if err := d.checkGlobs(); err != nil {
		return err
	}
	d.watching = make(chan struct{})
	links := make(chan netlink.LinkUpdate, 64)
	routes := make(chan netlink.RouteUpdate, 64)
	watching := d.watching
	report := func(err error) {
		select {
		case <-watching: // the end of the subscription is told as an error
		default:
			d.log.Warn("The kernel's news of interfaces were interrupted.", zap.Error(err))
		}
	}
	err := netlink.LinkSubscribeWithOptions(links, d.watching, netlink.LinkSubscribeOptions{ErrorCallback: report})
	if err != nil {
		return fmt.Errorf("follow interfaces: %w", err)
	}
	err = netlink.RouteSubscribeWithOptions(routes, d.watching, netlink.RouteSubscribeOptions{ErrorCallback: report})
	if err != nil {
		close(d.watching)
		d.watching = nil
		return fmt.Errorf("follow routes: %w", err)
	}
	if err := d.firstRefresh(); err != nil {
		d.stopWatching()
		drain(links, routes)
		return err
	}
	d.watchEnded.Add(1)
	go d.follow(links, routes)
	return nil
}

// firstRefresh attaches to the interfaces that are there. Where nothing was
// watched before, by nobody, it takes over the connections that are open.
func (d *Datapath) firstRefresh() error {
	if !d.tookOver && len(d.attached) == 0 {
		if err := d.adopt(); err != nil {
			return fmt.Errorf("take over open connections: %w", err)
		}
	}
	if d.handover != nil {
		return d.takeOver(func() error { return d.refresh(true) })
	}
	return d.refresh(true)
}

// settle is how long news are collected before the interfaces are looked at.
const settle = 50 * time.Millisecond

// follow looks again whenever an interface or a route changed. News may be lost
// under load, so it looks now and then of its own accord.
func (d *Datapath) follow(links chan netlink.LinkUpdate, routes chan netlink.RouteUpdate) {
	defer d.watchEnded.Done()
	defer drain(links, routes)
	const anyway = 30 * time.Second
	timer := time.NewTimer(anyway)
	defer timer.Stop()
	for {
		select {
		case <-d.watching:
			return
		case _, ok := <-links:
			if !ok {
				links = nil
			}
			timer.Reset(settle)
		case _, ok := <-routes:
			if !ok {
				routes = nil
			}
			timer.Reset(settle)
		case <-timer.C:
			timer.Reset(anyway)
			if err := d.refresh(false); err != nil {
				d.log.Warn("The interfaces could not be looked at.", zap.Error(err))
			}
		}
	}
}

// drain lets the subscriptions' goroutines end.
func drain(links chan netlink.LinkUpdate, routes chan netlink.RouteUpdate) {
	if links != nil {
		go func() {
			for range links {
			}
		}()
	}
	if routes != nil {
		go func() {
			for range routes {
			}
		}()
	}
}

func (d *Datapath) stopWatching() {
	if d.watching == nil {
		return
	}
	close(d.watching)
	d.watchEnded.Wait()
	d.watching = nil
}

// refresh attaches to the interfaces that are chosen now and leaves the others.
// At the start an interface that cannot be watched is an error.
func (d *Datapath) refresh(first bool) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	routed, err := routedInterfaces()
	if err != nil {
		return err
	}
	d.attach.Lock()
	defer d.attach.Unlock()
	var errs []error
	present := map[int]bool{}
	for _, l := range links {
		attrs := l.Attrs()
		present[attrs.Index] = d.isChosen(attrs, routed)
		d.names.set(uint32(attrs.Index), attrs.Name)
		w := d.attached[attrs.Index]
		if !present[attrs.Index] {
			continue
		}
		if w != nil {
			w.name = attrs.Name
			continue
		}
		if err := d.attachTo(l); err != nil {
			errs = append(errs, err)
			continue
		}
		d.log.Info("Watching an interface.", zap.String("interface", attrs.Name), zap.Int("index", attrs.Index))
	}
	for index := range d.attached {
		if !present[index] {
			d.log.Info("No longer watching an interface.", zap.String("interface", d.attached[index].name))
			d.detachFrom(index)
		}
	}
	if first {
		errs = append(errs, d.leaveStale())
		return errors.Join(errs...)
	}
	for _, err := range errs {
		d.log.Error("An interface could not be watched.", zap.Error(err))
	}
	return nil
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
	noted, err := d.notedInterfaces()
	if err != nil {
		return err
	}
	for _, index := range noted {
		if d.attached[index] != nil {
			continue
		}
		if err := d.noteInterface(index, 0); err != nil {
			return fmt.Errorf("forget interface %d: %w", index, err)
		}
	}
	return nil
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
