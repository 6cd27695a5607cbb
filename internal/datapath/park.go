package datapath

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// parkTime is how long a datapath waits for its next user.
const parkTime = 10 * time.Second

// The Collector's reload (SIGHUP) ends all components and then makes new ones in
// the same process. What is not pinned would be gone in between, so a datapath
// that is given up stays attached for a while, by the folder of its pins.
var parked = struct {
	sync.Mutex
	byFolder map[string]*Datapath
}{byFolder: map[string]*Datapath{}}

// Park gives the datapath up: it goes on judging packets, without a reader, until
// the process opens it again, or parkTime has passed and it is closed. Where the
// process ends before, the kernel forgets what is not pinned.
func (d *Datapath) Park() {
	if len(d.ending) > 0 { // filters do not go with the process
		d.closeParked()
		return
	}
	d.stopWatching()
	parked.Lock()
	defer parked.Unlock()
	parked.byFolder[d.pins.folder] = d
	d.parking = time.AfterFunc(parkTime, func() {
		if unpark(d.pins.folder, d) != nil {
			d.closeParked()
		}
	})
}

// unpark takes the folder's datapath out of the park: d, or any if d is nil.
func unpark(folder string, d *Datapath) *Datapath {
	parked.Lock()
	defer parked.Unlock()
	found := parked.byFolder[folder]
	if found == nil || d != nil && found != d {
		return nil
	}
	found.parking.Stop()
	delete(parked.byFolder, folder)
	return found
}

// CloseParked closes what is parked at once.
func CloseParked() {
	parked.Lock()
	var all []*Datapath
	for folder, d := range parked.byFolder {
		d.parking.Stop()
		delete(parked.byFolder, folder)
		all = append(all, d)
	}
	parked.Unlock()
	for _, d := range all {
		d.closeParked()
	}
}

func (d *Datapath) closeParked() {
	if err := d.Close(); err != nil {
		d.log.Warn("A datapath that nobody took over could not be closed.", zap.Error(err))
	}
}
